/**
 * A pipe whose reader waits on another thread. No policy here.
 *
 * @module
 */
import { LocalError } from "../src/errors.ts";
import { errnoText, fileErrno } from "./files.ts";
import { libc } from "./libc.ts";
import type { CallMemory } from "./raw_memory.ts";

const SYMBOLS = {
  pipe2: {
    parameters: [
      "buffer", // int pipefd[2]
      "i32", // int flags
    ],
    result: "i32",
  },
  read: {
    parameters: [
      "i32", // int fd
      "usize", // void *buf
      "usize", // size_t count
    ],
    result: "isize",
    nonblocking: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** Of `pipe2`: not for programs that this one starts. */
const O_CLOEXEC = 0o2000000;

let symbols: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] | null = null;

/** A pipe. */
export class Pipe {
  readonly #read: number;
  #write: number;

  /** @throws {DipcError} `io` if the process has too many open files */
  constructor() {
    symbols ??= Deno.dlopen("libc.so.6", SYMBOLS).symbols;
    const ends = new Int32Array(2);
    if (symbols.pipe2(new Uint8Array(ends.buffer), O_CLOEXEC) !== 0) {
      throw new LocalError("io", `cannot open a pipe: ${errnoText(fileErrno())}`);
    }
    [this.#read, this.#write] = ends;
  }

  /** Path by which a library of this process can open the end to write to. */
  get path(): string {
    return `/proc/self/fd/${this.#write}`;
  }

  /**
   * Waits for bytes.
   *
   * @param memory Takes them
   * @returns Their number, 0 at the end
   */
  async read(memory: CallMemory): Promise<number> {
    return Math.max(0, Number(await symbols!.read(this.#read, memory.address, BigInt(memory.bytes.byteLength))));
  }

  /** Closes the end to write to: the reader comes to its end once nobody else has it open. Idempotent. */
  closeWriter(): void {
    if (this.#write >= 0) libc().close(this.#write);
    this.#write = -1;
  }

  /** Closes both ends, when no call waits. Called once. */
  close(): void {
    this.closeWriter();
    libc().close(this.#read);
  }
}
