/**
 * The conformance kit of `native/async_conformance`: builds it, names its rules, and checks them.
 *
 * @module
 */
import { cStringAt, cStringIn } from "../ffi/c_string.ts";
import { buildNative } from "./build_native.ts";
import { peersFolder, pyarrowFolder } from "./peer_places.ts";
import type { Peers } from "./peers.ts";
import { REPOSITORY } from "./repository.ts";
import { GO_BUILD, GO_TIMEOUT_MS, goCompiler } from "./setup_go.ts";
import { run } from "./setup_run.ts";

const FOLDER = `${REPOSITORY}/native/async_conformance`;
/** `DETAIL_BYTES` of kit.h; what is shorter may be moved by V8. */
const DETAIL_BYTES = 256;
/** How long one rule may take, in milliseconds; waits of the kit itself are shorter. */
const RULE_TIMEOUT_MS = 15_000;

/** Rules that are checked concurrently. */
const AT_ONCE = 8;
/** Has glibc overwrite what is freed, so that a producer that is freed too early is seen. */
const PERTURBED = { MALLOC_PERTURB_: "85", GLIBC_TUNABLES: "glibc.malloc.tcache_count=0" };

/** Who is bound by a rule. */
export type Role = "producer" | "consumer";

/** One rule. */
export interface Rule {
  readonly role: Role;
  readonly name: string;
  /** Place in `abi.h`. */
  readonly place: string;
  readonly sentence: string;
  readonly index: number;
}

/** What was found. */
export interface Finding extends Rule {
  /** `"kept"`, `"broken"`, `"crashed"`, or `"hung"`. */
  readonly result: "kept" | "broken" | "crashed" | "hung";
  /** What was seen. */
  readonly detail: string;
}

const SYMBOLS = {
  kit_rule_count: { parameters: ["i32"], result: "i32" },
  kit_rule_name: { parameters: ["i32", "i32"], result: "usize" },
  kit_rule_place: { parameters: ["i32", "i32"], result: "usize" },
  kit_rule_sentence: { parameters: ["i32", "i32"], result: "usize" },
  kit_use: {
    parameters: [
      "pointer", // produce_function *produce
      "pointer", // consume_function *consume
      "pointer", // void (*begin_read)(void *, struct reading *)
      "pointer", // close_function *close
    ],
    result: "void",
  },
  kit_check: { parameters: ["i32", "i32", "buffer"], result: "i32", nonblocking: true },
} as const satisfies Deno.ForeignLibraryInterface;

/** The kit in this process. */
export type Kit = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

const HEADERS = [`${FOLDER}/kit.h`];

function includes(): string[] {
  return [`-I${pyarrowFolder()}/include/arrow/c`, "-pthread", "-Wall", "-Wextra", "-Werror"];
}

function kitSources(...more: string[]): string[] {
  return [...more, "run.c", "producer_rules.c", "consumer_rules.c"].map((name) => `${FOLDER}/${name}`);
}

/** Loads the kit. */
export function loadKit(compiler: string): Kit {
  return Deno.dlopen(buildNative("async_kit.so", compiler, kitSources(), includes(), HEADERS), SYMBOLS).symbols;
}

/** Builds the program that checks one rule. @returns its path */
export function buildChecker(compiler: string): string {
  return buildNative("async_check", compiler, kitSources("main.c"), includes(), HEADERS);
}

/** Builds the producer and consumer in C of the kit. @returns path of the shared object */
export function buildSample(compiler: string): string {
  return buildNative("async_sample.so", compiler, [`${FOLDER}/sample.c`], includes(), HEADERS);
}

/** Builds Arrow C++ as an implementation. @returns path of the shared object */
export function buildArrowCpp({ folder, library, compiler }: NonNullable<Peers["arrowCpp"]>): string {
  const args = ["-std=c++20", `-I${folder}/include`, `-L${folder}`, `-l:${library}`, `-Wl,-rpath,${folder}`];
  return buildNative("async_arrow_cpp.so", compiler, [`${FOLDER}/arrow_cpp.cc`], args);
}

/** Builds arrow-go as an implementation, in a minute or two. @returns path of the shared object */
export async function buildArrowGo(): Promise<string> {
  const cwd = `${FOLDER}/arrow_go`;
  const output = `${REPOSITORY}/.cache/native/async_arrow_go.so`;
  const folder = peersFolder()!;
  const temporary = await Deno.makeTempDir({ dir: folder, prefix: ".async-" });
  try {
    const go = await goCompiler(folder, temporary, (line) => console.error(line));
    const args = ["build", "-mod=readonly", "-buildvcs=false", "-buildmode=c-shared", "-o", output];
    await run(go, args, { cwd, env: { ...GO_BUILD, CGO_ENABLED: "1" }, signal: AbortSignal.timeout(GO_TIMEOUT_MS) });
    return output;
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}

/** All rules, those of producers first. */
export function rulesOf(kit: Kit): Rule[] {
  return (["producer", "consumer"] as const).flatMap((role, number) =>
    Array.from({ length: kit.kit_rule_count(number) }, (_, index) => ({
      role,
      name: cStringAt(kit.kit_rule_name(number, index))!,
      place: cStringAt(kit.kit_rule_place(number, index))!,
      sentence: cStringAt(kit.kit_rule_sentence(number, index))!,
      index,
    }))
  );
}

/** Checks a rule of an implementation in this process, which was given to `kit_use`. @returns what was seen, `null` if it is kept */
export async function checkHere(kit: Kit, { role, index }: Rule): Promise<string | null> {
  const detail = new Uint8Array(DETAIL_BYTES);
  const isBroken = await kit.kit_check(role === "consumer" ? 1 : 0, index, detail);
  return isBroken === 0 ? null : cStringIn(detail);
}

/**
 * The roles that a shared object has.
 *
 * @param checker Path of the program
 * @param implementation Path of the shared object
 * @throws {Error} if it cannot be loaded
 */
export async function rolesOf(checker: string, implementation: string): Promise<Role[]> {
  const { code, stdout, stderr } = await new Deno.Command(checker, { args: [implementation] }).output();
  if (code !== 0) throw new Error(new TextDecoder().decode(stderr).trim() || `it ended with ${code}`);
  const roles = Number(new TextDecoder().decode(stdout));
  return [...(roles & 1 ? ["producer" as const] : []), ...(roles & 2 ? ["consumer" as const] : [])];
}

/**
 * Checks a rule in a process of its own.
 *
 * @param checker Path of the program
 * @param implementation Path of the shared object
 * @param rule The rule
 * @param env More of its environment
 */
export async function checkApart(
  checker: string,
  implementation: string,
  rule: Rule,
  env: Readonly<Record<string, string>> = {},
): Promise<Finding> {
  const args = [implementation, rule.role, String(rule.index)];
  const process = new Deno.Command(checker, { args, env: { ...PERTURBED, ...env }, stdout: "piped", stderr: "null" })
    .spawn();
  let hasHung = false;
  const timer = setTimeout(() => {
    hasHung = true;
    process.kill("SIGKILL");
  }, RULE_TIMEOUT_MS);
  const { code, signal, stdout } = await process.output();
  clearTimeout(timer);
  const detail = new TextDecoder().decode(stdout).trim();
  if (hasHung) return { ...rule, result: "hung", detail: `no answer within ${RULE_TIMEOUT_MS / 1000} s` };
  if (code === 0) return { ...rule, result: "kept", detail };
  if (code === 1) return { ...rule, result: "broken", detail };
  return { ...rule, result: "crashed", detail: signal ?? `it ended with ${code}` };
}

/** Checks rules, a few at a time; most of them wait most of the time. */
export async function checkAll(checker: string, implementation: string, rules: readonly Rule[]): Promise<Finding[]> {
  const findings: Finding[] = new Array(rules.length);
  let next = 0;
  const work = async (): Promise<void> => {
    for (let i = next++; i < rules.length; i = next++) {
      findings[i] = await checkApart(checker, implementation, rules[i]);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return findings;
}
