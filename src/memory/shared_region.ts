/**
 * Memory that this process lends to others: a memfd that nobody can shrink, and into which nobody else can write.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import { errnoText } from "../../ffi/files.ts";
import { libc } from "../../ffi/libc.ts";
import {
  addSeals,
  createMemory,
  mapDescriptor,
  MEMORY_CONSTANTS,
  pageBytes,
  reopenForReading,
  unmap,
} from "../../ffi/shared_memory.ts";
import { nextGeneration } from "./generation.ts";

const { F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE } = MEMORY_CONSTANTS;

/** A region. Its owner closes it; whoever has mapped it keeps what is in it. */
export class SharedRegion implements Disposable {
  /** Differs for every region. */
  readonly generation: bigint = nextGeneration();
  /** Its size in bytes, whole pages. */
  readonly byteLength: number;
  readonly #fd: number;
  #base: bigint;
  #readOnly = -1;
  #isClosed = false;

  private constructor(fd: number, base: bigint, byteLength: number) {
    this.#fd = fd;
    this.#base = base;
    this.byteLength = byteLength;
  }

  /**
   * Makes a region that only this process can write to, now and later.
   *
   * @param byteLength Its size in bytes; its pages are provided when they are written to
   * @throws {DipcError} `out_of_memory`, `unsupported`
   */
  static create(byteLength: number): SharedRegion {
    const region = this.#open(byteLength);
    try {
      region.#seal(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
      region.#reopen();
      return region;
    } catch (error) {
      region.close();
      throw error;
    }
  }

  /**
   * Makes a region that nobody can write to any more.
   *
   * @param byteLength Its size in bytes
   * @param fill Writes its content; afterwards {@linkcode base} is another one
   * @throws {DipcError} `out_of_memory`, `unsupported`, what `fill` throws
   */
  static filled(byteLength: number, fill: (region: SharedRegion) => void): SharedRegion {
    const region = this.#open(byteLength);
    try {
      fill(region);
      unmap(region.#base, region.byteLength);
      region.#base = 0n;
      region.#seal(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
      region.#reopen();
      region.#base = region.#map("private");
      return region;
    } catch (error) {
      region.close();
      throw error;
    }
  }

  static #open(byteLength: number): SharedRegion {
    const page = pageBytes();
    const size = Math.max(1, Math.ceil(byteLength / page)) * page;
    const fd = createMemory("dipc-shared", size);
    if (fd < 0) throw cannot("out_of_memory", size, `the system has no memory for it (${errnoText(-fd)})`);
    const region = new SharedRegion(fd, 0n, size);
    try {
      region.#base = region.#map("writable");
      return region;
    } catch (error) {
      region.close();
      throw error;
    }
  }

  /** Address of its first byte in this process. */
  get base(): bigint {
    return this.#base;
  }

  /** A descriptor by which it can be read and mapped, but not written to. */
  get descriptor(): number {
    return this.#readOnly;
  }

  /**
   * Copies memory of this process into a region that can be written to.
   *
   * @param offset Where it goes; the caller has checked that it lies inside
   * @param address Address of its first byte
   * @param byteLength Its size in bytes
   */
  write(offset: number, address: bigint, byteLength: number): void {
    if (byteLength > 0) libc().memcpy(this.#base + BigInt(offset), address, BigInt(byteLength));
  }

  /** Unmaps it here. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#base !== 0n) unmap(this.#base, this.byteLength);
    if (this.#readOnly >= 0) libc().close(this.#readOnly);
    libc().close(this.#fd);
  }

  /** The same as `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }

  #map(kind: "writable" | "private"): bigint {
    const address = mapDescriptor(this.#fd, this.byteLength, kind);
    if (address === null) throw cannot("out_of_memory", this.byteLength, "the system refused to map it");
    return address;
  }

  #seal(seals: number): void {
    const status = addSeals(this.#fd, seals);
    if (status < 0) {
      throw cannot("unsupported", this.byteLength, `it cannot be sealed (${errnoText(-status)}); that needs Linux 5.1`);
    }
  }

  #reopen(): void {
    const fd = reopenForReading(this.#fd);
    if (fd < 0) {
      throw cannot("unsupported", this.byteLength, `/proc/self/fd cannot be opened (${errnoText(-fd)})`);
    }
    this.#readOnly = fd;
  }
}

function cannot(code: "out_of_memory" | "unsupported", byteLength: number, why: string): LocalError {
  return new LocalError(code, `cannot share ${byteLength} bytes of memory: ${why}`);
}
