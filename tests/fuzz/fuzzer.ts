/**
 * Runs one target on mutants of its corpus and watches what it does.
 *
 * Made for many runs a second: mutants are made in one buffer, a run copies nothing but the input that its target gets,
 * errors carry no stack unless they are findings, and nothing is awaited that is not a promise.
 *
 * @module
 */
import { DipcError } from "../../src/errors.ts";
import { Random } from "../support/random.ts";
import { shape, shapeHash } from "./answer.ts";
import { mutateBytes } from "./mutate.ts";
import type { Finding, FuzzReport, FuzzTarget } from "./target.ts";

/** A run that takes longer is a finding by default, in milliseconds. */
const SLOW_MS = 1000;
/** Longest input, in bytes. */
export const MAX_INPUT_BYTES = 64 * 1024;
/** Growth of the process that is a finding, in bytes. */
const MAX_GROWTH = 1024 ** 3;
const MAX_ALLOCATED = 64 * 1024 ** 2;
const MAX_POOL = 4000;
const MAX_FINDINGS = 10;
/** The time and the memory are looked at after so many runs, and after each of a target with slow ones. */
const CHECK_EVERY = 512;
/** Frames of the stack of a finding. */
const STACK_FRAMES = 20;

/** Options of {@linkcode fuzz}. */
export interface FuzzOptions {
  seconds: number;
  /** Ends after so many runs if the time has not ended before; default any number. */
  executions?: number;
  seed: number;
  /** Inputs of the committed corpus. */
  corpus: readonly Uint8Array<ArrayBuffer>[];
  /** Where inputs are made, of `MAX_INPUT_BYTES`; a watcher reads the one of a run that never comes back there. */
  scratch?: Uint8Array;
  /** The time in milliseconds, looked at twice a run. Default `performance.now`, which costs more than many a run. */
  clock?(): number;
  /** Notified before each run. */
  onRun?(inputBytes: number): void;
  /** Notified of each input with an answer that was not seen before. */
  onNew?(input: Uint8Array, answer: string): void;
}

/** Fuzzes one target for some time. The corpus and the seeds run first, unchanged. */
export async function fuzz(target: FuzzTarget, options: FuzzOptions): Promise<FuzzReport> {
  const { stackTraceLimit } = Error;
  try {
    return await new Fuzzer(target, options).run();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

const ACCEPTED = -1, REFUSED = -2;

class Fuzzer {
  readonly #target: FuzzTarget;
  readonly #options: FuzzOptions;
  readonly #random: Random;
  readonly #clock: () => number;
  readonly #scratch: Uint8Array;
  readonly #longest: number;
  readonly #slowMs: number;
  readonly #maxAllocated: number;
  readonly #findings: Finding[] = [];
  /** By {@linkcode shapeHash}. */
  readonly #answers = new Map<number, string>();
  readonly #pool: Uint8Array<ArrayBuffer>[] = [];
  #length = 0;
  #executions = 0;
  #accepted = 0;

  constructor(target: FuzzTarget, options: FuzzOptions) {
    this.#target = target;
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#clock = options.clock ?? (() => performance.now());
    this.#scratch = options.scratch ?? new Uint8Array(MAX_INPUT_BYTES);
    this.#longest = Math.min(target.maxInputBytes ?? MAX_INPUT_BYTES, MAX_INPUT_BYTES);
    this.#slowMs = target.slowMs ?? SLOW_MS;
    this.#maxAllocated = target.maxAllocatedBytes ?? MAX_ALLOCATED;
  }

  async run(): Promise<FuzzReport> {
    Error.stackTraceLimit = 0;
    for (const input of [...this.#target.seeds(), ...this.#options.corpus]) {
      this.#put(input);
      this.#note(await this.#execute(), false);
      this.#pool.push(input.slice());
    }
    if (this.#pool.length === 0) this.#pool.push(new Uint8Array(0));
    const seconds = await this.#fuzz();
    return {
      ...{ target: this.#target.name, executions: this.#executions, seconds, accepted: this.#accepted },
      ...{ answers: this.#answers.size, findings: this.#findings },
    };
  }

  /** @returns the seconds that it took */
  async #fuzz(): Promise<number> {
    const { seconds, executions = Infinity } = this.#options;
    const checkEvery = this.#target.slowMs === undefined ? CHECK_EVERY : 1;
    const started = performance.now();
    const rssAtStart = Deno.memoryUsage().rss;
    for (let elapsed = 0;;) {
      if (elapsed >= seconds || this.#executions >= executions || this.#findings.length >= MAX_FINDINGS) return elapsed;
      for (let i = 0; i < checkEvery && this.#findings.length < MAX_FINDINGS; i++) {
        this.#mutate();
        const answer = this.#execute();
        this.#note(typeof answer === "number" ? answer : await answer, true);
      }
      elapsed = (performance.now() - started) / 1000;
      const growth = Deno.memoryUsage().rss - rssAtStart;
      if (growth > MAX_GROWTH) {
        this.#length = 0;
        this.#report("memory", `the process grew by ${growth} bytes`);
        return elapsed;
      }
    }
  }

  #mutate(): void {
    const random = this.#random;
    const parent = random.pick(this.#pool);
    if (this.#target.mutate !== undefined && random.chance(0.5)) {
      this.#put(this.#target.mutate(parent, random));
    } else {
      this.#put(parent);
      this.#length = mutateBytes(this.#scratch, this.#length, this.#pool, random, this.#longest);
    }
  }

  #put(input: Uint8Array): void {
    this.#length = Math.min(input.byteLength, this.#longest);
    this.#scratch.set(this.#length === input.byteLength ? input : input.subarray(0, this.#length));
  }

  /** The input, in memory of its own: a target may write to it, and what it reads outside of it shows. */
  #input(): Uint8Array<ArrayBuffer> {
    return this.#scratch.slice(0, this.#length) as Uint8Array<ArrayBuffer>;
  }

  /** Runs the target. @returns the hash of its answer */
  #execute(): number | Promise<number> {
    this.#executions++;
    this.#options.onRun?.(this.#length);
    const started = this.#clock();
    let answer: number;
    try {
      const result = this.#target.run(this.#input());
      if (typeof result !== "boolean") return this.#finish(result, started);
      answer = result ? ACCEPTED : REFUSED;
    } catch (error) {
      answer = this.#answerOf(error);
      if (answer < 0) return this.#unexpected(error).then((answer) => this.#checked(answer, started));
    }
    return this.#checked(answer, started);
  }

  async #finish(result: Promise<boolean>, started: number): Promise<number> {
    try {
      return this.#checked(await result ? ACCEPTED : REFUSED, started);
    } catch (error) {
      const answer = this.#answerOf(error);
      return this.#checked(answer < 0 ? await this.#unexpected(error) : answer, started);
    }
  }

  /** The hash of an error that is an answer; negative if it is none. */
  #answerOf(error: unknown): number {
    if (!(error instanceof DipcError) || error.code === "internal") return -1;
    const hash = shapeHash(error.code, error.message);
    if (!this.#answers.has(hash)) this.#newAnswer = `${error.code} ${shape(error.message)}`;
    return hash;
  }

  #newAnswer = "";

  /** Records a finding once for each error. */
  async #unexpected(error: unknown): Promise<number> {
    const hash = shapeHash("finding", String(error));
    if (this.#answers.has(hash)) return hash;
    this.#newAnswer = `finding ${shape(String(error))}`;
    this.#report("throw", await this.#withStack(error));
    return hash;
  }

  /** Runs once more, for the stack. */
  async #withStack(error: unknown): Promise<string> {
    Error.stackTraceLimit = STACK_FRAMES;
    let detail = String(error);
    try {
      await this.#target.run(this.#input());
    } catch (again) {
      if (again instanceof Error && String(again) === detail) detail = again.stack ?? detail;
    }
    Error.stackTraceLimit = 0;
    return detail;
  }

  /** Checks what a run has cost. */
  #checked(answer: number, started: number): number | Promise<number> {
    const allocated = this.#target.allocatedBytes?.() ?? 0;
    if (allocated > this.#maxAllocated) {
      this.#report("allocation", `${allocated} bytes allocated, at most ${this.#maxAllocated} are allowed`);
    }
    const took = this.#clock() - started;
    return took > this.#slowMs ? this.#timeAgain(took).then(() => answer) : answer;
  }

  /** On a busy machine anything may take long once: what is slow is slow again. */
  async #timeAgain(took: number): Promise<void> {
    const started = performance.now();
    try {
      await this.#target.run(this.#input());
    } catch {
      // Its answer is known already.
    }
    if (performance.now() - started > this.#slowMs) this.#report("slow", `${took.toFixed(0)} ms`);
  }

  /** Keeps what is new, and a few of those that were accepted, to be changed further. */
  #note(answer: number, isMutant: boolean): void {
    const isNew = !this.#answers.has(answer);
    if (isNew) {
      const text = answer === ACCEPTED ? "accepted" : answer === REFUSED ? "refused" : this.#newAnswer;
      this.#answers.set(answer, text);
      if (isMutant) this.#options.onNew?.(this.#input(), text);
    }
    if (!isMutant) return;
    if (answer === ACCEPTED) this.#accepted++;
    if (!isNew && !(answer === ACCEPTED && this.#random.chance(0.01))) return;
    if (this.#pool.length < MAX_POOL) this.#pool.push(this.#input());
    else this.#pool[this.#random.below(MAX_POOL)] = this.#input();
  }

  #report(kind: Finding["kind"], detail: string): void {
    this.#findings.push({ target: this.#target.name, kind, detail, input: this.#input() });
  }
}
