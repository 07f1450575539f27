/**
 * Arrow streams that follow another one in the same input: which of them continue it.
 *
 * @module
 */
import { equalBytes } from "../bytes.ts";
import { type DipcError, LocalError } from "../errors.ts";
import { HeaderReader, NO_HEADER_LIMITS } from "../ipc/header.ts";
import type { FieldLayout, SchemaLayout } from "../ipc/layout.ts";
import type { MessageHeader } from "../ipc/message.ts";
import type { ReaderLimits } from "../limits.ts";
import { withName } from "./named.ts";

/** End-of-stream markers that may follow each other without a stream between them: more are not the end of a stream. */
const MAX_EMPTY = 8;

/** The streams of one input after its first one. Each defines its dictionaries anew. */
export class StreamSequel {
  readonly #name: string;
  readonly #limits: ReaderLimits;
  /** Streams that have ended. */
  #ended = 0;
  #empty = 0;
  /** Ids that had a dictionary in an earlier stream. */
  readonly #earlier = new Set<bigint>();
  /** Ids that have a dictionary in the current stream. */
  #current = new Set<bigint>();
  /** Whether a batch may still lack dictionaries: none was read since the last marker. */
  #isComplete = true;

  /**
   * @param name Name of the input, for messages
   * @param limits Limits on each schema
   */
  constructor(name: string, limits: ReaderLimits) {
    this.#name = name;
    this.#limits = limits;
  }

  /**
   * A stream has ended with its marker.
   *
   * @param isEmpty Whether there was nothing since the marker before
   * @throws {DipcError} `invalid_data` after too many markers
   */
  begin(isEmpty: boolean): void {
    if (isEmpty) {
      if (++this.#empty > MAX_EMPTY) throw this.notAStream();
      return;
    }
    this.#empty = 0;
    this.#ended++;
    for (const id of this.#current) this.#earlier.add(id);
    this.#current = new Set();
    this.#isComplete = this.#earlier.size === 0;
  }

  /**
   * Reads the schema of a stream that follows another one.
   *
   * @param metadata First message after the marker
   * @param first Schema of the first stream
   * @returns the schema
   * @throws {DipcError} `invalid_data` if it is not a schema, or not that of the first stream
   */
  readSchema(metadata: Uint8Array<ArrayBuffer>, first: MessageHeader): MessageHeader {
    const headers = new HeaderReader(this.#limits);
    let schema: MessageHeader;
    try {
      schema = headers.read(metadata);
    } catch (error) {
      throw withName(this.#what(), error);
    }
    const before = HeaderReader.continuing(first, NO_HEADER_LIMITS).layout!;
    if (equalBytes(schema.bytes, first.bytes) || columnsOf(headers.layout!) === columnsOf(before)) return schema;
    throw new LocalError(
      "invalid_data",
      `cannot read ${this.#what()}: it has other columns than the one before, and only streams with the same columns can be ` +
        "read as one; read it from an input of its own",
    );
  }

  /**
   * Checks that a message does not need a dictionary of an earlier stream.
   *
   * @param header Header of a dictionary or batch
   * @param message The message, for messages
   * @throws {DipcError} `invalid_data`
   */
  check({ kind, dictionaryId, isDelta }: MessageHeader, message: string): void {
    if (kind === "dictionary") {
      if (isDelta && this.#ended > 0 && !this.#current.has(dictionaryId)) {
        throw this.#lacks(message, "it appends to", dictionaryId);
      }
      this.#current.add(dictionaryId);
    } else if (!this.#isComplete) {
      for (const id of this.#earlier) if (!this.#current.has(id)) throw this.#lacks(message, "it needs", id);
      this.#isComplete = true;
    }
  }

  /** The error for bytes after a marker that are not an Arrow stream. */
  notAStream(): DipcError {
    return new LocalError(
      "invalid_data",
      `cannot read ${this.#what()}: it is not an Arrow stream; remove what follows the end-of-stream marker, or write the ` +
        "input again",
    );
  }

  #lacks(message: string, what: string, id: bigint): DipcError {
    return new LocalError(
      "invalid_data",
      `cannot read ${message}: ${what} dictionary ${id}, which ${this.#what()} does not define`,
    );
  }

  #what(): string {
    return `what follows the end of stream ${this.#ended} in ${this.#name}`;
  }
}

/** What two schemas must have in common for messages of both to be understood alike. */
function columnsOf({ endianness, fields }: SchemaLayout): string {
  return JSON.stringify([endianness, fields.map(bare)]);
}

function bare({ name, nullable, type, children, dictionary, metadata }: FieldLayout): unknown {
  return [
    ...[name, nullable, type, children.map(bare), [...metadata]],
    dictionary && [`${dictionary.id}`, dictionary.index, dictionary.ordered],
  ];
}
