/**
 * What the fuzzing harness (`tools/fuzz.ts`) runs: every module in `targets/` exports one target or several as its
 * default export.
 *
 * @module
 */
import type { Random } from "../support/random.ts";

/** Code that parses untrusted bytes. */
export interface FuzzTarget {
  /** Name such as `protocol/uri`; `--target` chooses by the whole name or by one part of it. */
  readonly name: string;
  /** Files under test, of which `--coverage` shows how much the target reaches. */
  readonly files: readonly string[];
  /** Valid inputs to start from, besides those in `corpus/<name>/`. */
  seeds(): Uint8Array[];
  /**
   * Processes one input, synchronously if possible.
   *
   * @returns true if the input was accepted; a rejected one may also throw a `DipcError`. Anything else thrown is a finding
   */
  run(input: Uint8Array<ArrayBuffer>): boolean | Promise<boolean>;
  /** A mutation that knows the format; otherwise bytes are changed blindly. */
  mutate?(input: Uint8Array, random: Random): Uint8Array;
  /**
   * Longest time of a run that is not a finding, in milliseconds. A target that needs more than the default has few runs.
   *
   * @default 1000
   */
  readonly slowMs?: number;
  /** Name of the target whose corpus this one uses, if its inputs are the same; default its own. */
  readonly corpusOf?: string;
  /** Bytes that the last run allocated because of its input, if the target can tell. */
  allocatedBytes?(): number;
  /**
   * Most bytes that one run may allocate.
   *
   * @default 64 MiB
   */
  readonly maxAllocatedBytes?: number;
  /**
   * Longest mutant, in bytes.
   *
   * @default 65536
   */
  readonly maxInputBytes?: number;
}

/** One thing that is wrong. */
export interface Finding {
  readonly target: string;
  /** `throw`: no DipcError, or an internal one; `slow`: over `slowMs`; `hang`: never came back; `memory`: the process grew */
  readonly kind: "throw" | "slow" | "hang" | "allocation" | "memory";
  readonly detail: string;
  readonly input: Uint8Array;
}

/** What fuzzing one target came to. */
export interface FuzzReport {
  readonly target: string;
  readonly executions: number;
  readonly seconds: number;
  /** Mutants that were accepted. */
  readonly accepted: number;
  /** Different answers seen: error messages without their numbers. */
  readonly answers: number;
  readonly findings: readonly Finding[];
}
