/**
 * The memory of one imported structure: it was moved here, and is released once, when nothing uses it any more.
 *
 * @module
 */
import { allocate, callPointer, callPointerLater } from "../../ffi/raw_memory.ts";
import { MemoryPressure } from "../memory/pressure.ts";
import { C_LAYOUT, moveStruct, type ReleasableName, releaseStruct } from "./structs.ts";

/** Places for structures that are free; each has the size of the largest one. */
const places: bigint[] = [];
const PLACES_AT_ONCE = 64;

function takePlace(): bigint {
  const place = places.pop();
  if (place !== undefined) return place;
  const size = C_LAYOUT.ArrowDeviceArray.size;
  const first = allocate(PLACES_AT_ONCE * size);
  for (let i = PLACES_AT_ONCE - 1; i > 0; i--) places.push(first + BigInt(i * size));
  return first;
}

let bytesHeld = 0;
const pressure = new MemoryPressure(() => bytesHeld);

/** A structure that was taken over, counted by its users. */
export class ForeignMemory {
  /** Address of the structure, until it is released. */
  readonly address: bigint;
  readonly #release: bigint;
  #users = 1;
  #bytes = 0;

  /**
   * Takes a structure over. The caller is its first user.
   *
   * @param name Which structure
   * @param source Its address; marked as released there
   * @throws {DipcError} `invalid_argument` if it was released or moved before
   */
  constructor(name: ReleasableName, source: bigint) {
    const place = takePlace();
    try {
      this.#release = moveStruct(name, source, place);
    } catch (error) {
      places.push(place);
      throw error;
    }
    this.address = place;
  }

  /**
   * Accounts for the memory behind the structure, so that what is dropped is collected in time.
   *
   * @param byteLength Size of its buffers in bytes
   */
  count(byteLength: number): void {
    this.#bytes += byteLength;
    bytesHeld += byteLength;
    if (bytesHeld > pressure.threshold) pressure.press(byteLength);
  }

  /** Adds a user. */
  hold(): void {
    this.#users++;
  }

  /** Removes a user; the last one releases the memory. */
  drop(): void {
    if (--this.#users > 0) return;
    bytesHeld -= this.#bytes;
    callPointer(this.#release, this.address, this.address);
    places.push(this.address);
  }

  /** As {@linkcode drop}, but on another thread, for a release that may wait. */
  async dropLater(): Promise<void> {
    if (--this.#users > 0) return;
    bytesHeld -= this.#bytes;
    await callPointerLater(this.#release, this.address, this.address);
    places.push(this.address);
  }
}

/**
 * Takes an array over; if there is none, its schema is released, because an import takes both over.
 *
 * @param name Which structure
 * @param array Its address
 * @param schema Address of an `ArrowSchema`, or anything else
 * @throws {DipcError} `invalid_argument` if there is no such structure
 */
export function takeBoth(name: ReleasableName, array: bigint, schema: unknown): ForeignMemory {
  try {
    return new ForeignMemory(name, array);
  } catch (error) {
    if (typeof schema === "bigint" && schema !== 0n) releaseStruct("ArrowSchema", schema);
    throw error;
  }
}
