/**
 * The order of a stream's metadata: frames that come before their turn are kept until then, and the end of stream may come
 * before the last of them.
 *
 * @module
 */
import type { DipcError } from "../errors.ts";
import { PREFIX_BYTES } from "./prefix.ts";
import type { ReceiverLimits } from "./receiver_options.ts";
import { nextSequence, sequenceDistance } from "./sequence.ts";
import type { StreamFailure } from "./stream_failure.ts";
import { formatTag } from "./tag.ts";

/** Knows which metadata is due. It counts positions in the stream, which unlike sequence numbers never wrap. */
export class MetadataOrder {
  /** Position of the message whose metadata is expected next. */
  due = 0;
  /** Its sequence number. */
  dueSequence: number;
  /** Position of the end of stream, once it was seen: the number of messages. */
  end = Infinity;
  /** Frames held because an earlier one is missing. */
  heldFrames = 0;
  readonly #limits: Required<ReceiverLimits>;
  readonly #failure: StreamFailure;
  /** Their metadata, by position. */
  readonly #held = new Map<number, Uint8Array<ArrayBuffer>>();
  #heldBytes = 0;
  #highestHeld = -1;

  /**
   * @param limits How far and with how many bytes frames may run ahead, and the first sequence number
   * @param failure What is lost if the order is violated
   */
  constructor(limits: Required<ReceiverLimits>, failure: StreamFailure) {
    this.#limits = limits;
    this.#failure = failure;
    this.dueSequence = limits.firstSequence;
  }

  /** The position nearest to the message that is due; negative before the start of the stream. */
  positionOf(sequence: number): number {
    return this.due + sequenceDistance(this.dueSequence, sequence);
  }

  /** The sequence number of a position. */
  sequenceAt(position: number): number {
    return (this.#limits.firstSequence + position) % 0x100000000;
  }

  /**
   * The position of metadata that has arrived.
   *
   * @throws {DipcError} `protocol` if it follows the end of stream
   */
  place(sequence: number): number {
    const position = this.positionOf(sequence);
    if (position < this.end) return position;
    const end = this.sequenceAt(this.end);
    throw this.#failure.lose(
      "protocol",
      `metadata of sequence number ${sequence} follows the end of stream, which has number ${end}`,
    );
  }

  /** The metadata that was due has been read. */
  advance(): void {
    this.due++;
    this.dueSequence = nextSequence(this.dueSequence);
  }

  /**
   * Keeps a copy of metadata that came before its turn.
   *
   * @throws {DipcError} `protocol` if it came twice or too early, `limit_exceeded`
   */
  hold(metadata: Uint8Array, position: number, sequence: number): void {
    const { reorderWindow, maxHeldBytes } = this.#limits;
    if (position < this.due) {
      throw this.#failure.lose(
        "protocol",
        `metadata of sequence number ${sequence} arrived twice, or belongs to no message of this stream`,
      );
    }
    if (position - this.due >= reorderWindow) {
      throw this.#failure.lose(
        "protocol",
        `metadata of sequence number ${sequence} arrived while ${this.dueSequence} was due, it may be at most ${
          reorderWindow - 1
        } ahead`,
      );
    }
    if (this.#held.has(position)) {
      throw this.#failure.lose("protocol", `metadata of sequence number ${sequence} arrived twice`);
    }
    if (this.#heldBytes + metadata.byteLength > maxHeldBytes) {
      throw this.#failure.lose(
        "limit_exceeded",
        `metadata of sequence number ${this.dueSequence} is missing while later metadata of more than ${maxHeldBytes} bytes (maxHeldBytes) has arrived`,
      );
    }
    this.#held.set(position, new Uint8Array(metadata));
    this.heldFrames++;
    this.#heldBytes += metadata.byteLength;
    if (position > this.#highestHeld) this.#highestHeld = position;
  }

  /** Takes the metadata that is due, if it was held. */
  takeHeld(): Uint8Array<ArrayBuffer> | null {
    const held = this.#held.get(this.due);
    if (held === undefined) return null;
    this.#held.delete(this.due);
    this.heldFrames--;
    this.#heldBytes -= held.byteLength;
    return held;
  }

  /**
   * Takes the end of stream.
   *
   * @param sequence Its sequence number
   * @param size Its size in bytes, with the prefix
   * @throws {DipcError} `protocol`
   */
  endAt(sequence: number, size: number): void {
    if (size !== PREFIX_BYTES) {
      throw this.#failure.lose(
        "protocol",
        `expected an end of stream of ${PREFIX_BYTES} bytes, found ${size} with sequence number ${sequence}`,
      );
    }
    if (this.end !== Infinity) {
      throw this.#failure.lose("protocol", `a second end of stream arrived with sequence number ${sequence}`);
    }
    const position = this.positionOf(sequence);
    if (position < 1) {
      throw this.#failure.lose(
        "protocol",
        `an end of stream arrived with sequence number ${sequence} before the schema`,
      );
    }
    if (position < this.due || position <= this.#highestHeld) {
      throw this.#failure.lose(
        "protocol",
        `the end of stream has sequence number ${sequence}, but metadata of number ${
          this.sequenceAt(Math.max(this.due - 1, this.#highestHeld))
        } had arrived`,
      );
    }
    if (position - this.due > this.#limits.reorderWindow) {
      throw this.#failure.lose(
        "protocol",
        `the end of stream has sequence number ${sequence}, but ${this.dueSequence} was due, so messages are missing`,
      );
    }
    this.end = position;
  }

  /** Loses the stream because of a body that belongs to none of its messages. @returns the error to throw */
  stray(tag: bigint, sequence: number): DipcError {
    const range = this.end === Infinity
      ? `${this.dueSequence} was due`
      : `the stream ends at ${this.sequenceAt(this.end)}`;
    return this.#failure.lose(
      "protocol",
      `a tagged message of sequence number ${sequence} (tag ${
        formatTag(tag)
      }) arrived that belongs to no message of this stream, ${range}`,
    );
  }

  /** What is missing, in words. */
  describe(): string {
    return this.end === Infinity && this.heldFrames === 0
      ? `metadata of sequence number ${this.dueSequence} or the end of stream was still missing`
      : `metadata of sequence number ${this.dueSequence} was missing though later frames had arrived`;
  }
}
