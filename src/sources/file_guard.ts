/**
 * A mapped file that cannot change under its readers: the map is used while a lease on the file is held.
 *
 * @module
 */
import type { FileHandle } from "./file_handle.ts";
import { FileLease } from "./file_lease.ts";
import { FileMap } from "./file_map.ts";

/** How often the lease is checked for waiting writers, in milliseconds. */
const CHECK_MS = 100;

/**
 * Maps a file while that is safe. The lease is held while a run is open or a body in use. When a writer opens the file,
 * bodies in use become independent of it, the lease is given back, and the writer continues; from then on there is no map
 * until all runs are over.
 */
export class GuardedMap {
  readonly #file: FileHandle;
  readonly #lease: FileLease;
  /** The map, kept between runs: mapping it anew costs one page fault per page. */
  #map: FileMap | null = null;
  #isLeased = false;
  #runs = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** @param file The file; close the map before it */
  constructor(file: FileHandle) {
    this.#file = file;
    this.#lease = new FileLease(file);
  }

  /** Begins a run; takes the lease unless it is held already. @throws {DipcError} `io` if the file has changed */
  enter(): void {
    if (!this.#isLeased && this.#runs === 0 && this.#lease.take()) {
      try {
        // Only from now on can the file not change.
        this.#file.checkUnchanged();
        this.#map ??= new FileMap(this.#file, this.#rest);
      } catch (error) {
        this.#lease.giveBack();
        throw error;
      }
      this.#isLeased = true;
      this.#timer = setInterval(this.#check, CHECK_MS);
      // A server without streams must be able to end.
      Deno.unrefTimer(this.#timer);
    }
    this.#runs++;
  }

  /** Ends a run. */
  leave(): void {
    this.#runs--;
    this.#rest();
  }

  /** The map, or null if the file has to be read instead. */
  get map(): FileMap | null {
    if (!this.#isLeased) return null;
    if (!this.#lease.stands) this.#retire();
    return this.#map;
  }

  /** Releases everything; bodies in use live on as copies. Idempotent. @throws {DipcError} `out_of_memory` */
  close(): void {
    if (this.#map !== null) this.#retire();
  }

  #check = (): void => {
    try {
      void this.map;
    } catch {
      // No memory for the copies now: the lease is kept, so the writer waits, and the next check tries again.
    }
  };

  /** Makes bodies in use independent of the file, and lets writers continue. */
  #retire(): void {
    this.#map!.detach();
    this.#map = null;
    this.#giveBack();
  }

  /** Gives the lease back when nothing is read, so that writers need not wait. */
  #rest = (): void => {
    if (this.#isLeased && this.#runs === 0 && this.#map!.isIdle) this.#giveBack();
  };

  #giveBack(): void {
    this.#isLeased = false;
    clearInterval(this.#timer);
    this.#lease.giveBack();
  }
}
