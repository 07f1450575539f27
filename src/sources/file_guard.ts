/**
 * A mapped file that nobody can change under its readers: the map is used while a lease on the file is held.
 *
 * @module
 */
import type { FileHandle } from "./file_handle.ts";
import { FileLease } from "./file_lease.ts";
import { FileMap } from "./file_map.ts";

/** How often it is looked whether somebody waits for the file, in milliseconds. */
const LOOK_MS = 100;

/**
 * Maps a file as long as that is safe. The lease is held while a run is open or a body in use. When somebody wants to write
 * to the file, bodies in use become independent of it, the lease is given back, and the writer goes on; there is no map
 * from then on until all runs are over.
 */
export class GuardedMap {
  readonly #file: FileHandle;
  readonly #lease: FileLease;
  /** The map, also between runs: mapping it anew costs a page fault a page. */
  #map: FileMap | null = null;
  #isLeased = false;
  #runs = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** @param file The file; close the map before it */
  constructor(file: FileHandle) {
    this.#file = file;
    this.#lease = new FileLease(file);
  }

  /** Begins a run; takes the lease where nobody holds it. @throws {DipcError} `io` where the file has changed */
  enter(): void {
    if (!this.#isLeased && this.#runs === 0 && this.#lease.take()) {
      try {
        // Only now can nobody change it any more.
        this.#file.checkUnchanged();
        this.#map ??= new FileMap(this.#file, this.#rest);
      } catch (error) {
        this.#lease.giveBack();
        throw error;
      }
      this.#isLeased = true;
      this.#timer = setInterval(this.#look, LOOK_MS);
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

  /** The map, or null where the file has to be read instead. */
  get map(): FileMap | null {
    if (!this.#isLeased) return null;
    if (!this.#lease.stands) this.#retire();
    return this.#map;
  }

  /** Gives everything back; bodies in use live on as copies. Idempotent. @throws {DipcError} `out_of_memory` */
  close(): void {
    if (this.#map !== null) this.#retire();
  }

  #look = (): void => {
    try {
      void this.map;
    } catch {
      // No memory for the copies now: the lease is kept, so the writer waits, and the next look tries again.
    }
  };

  /** Makes bodies in use independent of the file, and lets writers go on. */
  #retire(): void {
    this.#map!.detach();
    this.#map = null;
    this.#giveBack();
  }

  /** Where nobody reads, nobody has to wait. */
  #rest = (): void => {
    if (this.#isLeased && this.#runs === 0 && this.#map!.isIdle) this.#giveBack();
  };

  #giveBack(): void {
    this.#isLeased = false;
    clearInterval(this.#timer);
    this.#lease.giveBack();
  }
}
