/**
 * Writes messages as an Arrow IPC file, bodies directly from their memory.
 *
 * @module
 */
import { codecReady, loadCodec } from "../ipc/compression.ts";
import { encodeFooter, END_OF_STREAM, frameBytes, frameMetadata, padTo8 } from "../ipc/frame.ts";
import { HeaderReader, NO_HEADER_LIMITS, verified, type VerifiedHeader } from "../ipc/header.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { FILE_HEAD_BYTES, FILE_MAGIC, type FileBlock } from "../ipc/split_file.ts";
import { widenIndices } from "../ipc/widen_indices.ts";
import { DictionaryUnifier } from "./dictionary_unifier.ts";
import { type IndexChange, remappedBatch } from "./remapped_batch.ts";
import type { ByteSink, Piece } from "./sink.ts";
import type { MessageWriter, WriterOptions } from "./writer.ts";

/** Most bytes of messages that are held back until the type of indices is settled. */
const MAX_HELD_BYTES = 64 * 2 ** 20;

/** A message, and the new indices into the dictionaries that it needs. */
interface Held {
  readonly header: VerifiedHeader;
  readonly body: IpcMessage["body"];
  readonly mappings: ReadonlyMap<bigint, Int32Array>;
}

const NOTHING = new Uint8Array(0);

/**
 * Writes an Arrow IPC file (`.arrow`, also known as Feather V2). Every type is written as it arrived.
 *
 * A file holds one dictionary for each id. Those that replace each other, and their deltas, become one, which is written again at
 * the end; indices are changed to match, and columns with indices of 8 or 16 bits get 32 bits if that shows in the first
 * 64 MiB. What cannot become one (dictionaries of nested values, or inside others) is an `unsupported` error.
 */
export class ArrowFileWriter implements MessageWriter {
  readonly #sink: ByteSink;
  readonly #reader: HeaderReader;
  readonly #metadata: ReadonlyMap<string, string>;
  readonly #unifier: DictionaryUnifier;
  #schema: VerifiedHeader;
  #dictionaries: { readonly id: bigint; readonly block: FileBlock }[] = [];
  readonly #batches: FileBlock[] = [];
  /** Messages that are held back; `null` once nothing is. */
  #held: Held[] | null;
  #heldBytes = 0;
  /** Most values that the narrowest indices into a dictionary can count, if they have less than 32 bits. */
  readonly #narrow: ReadonlyMap<bigint, number>;
  /** Dictionaries whose indices are widened. */
  readonly #wide = new Set<bigint>();
  #offset = 0;

  /**
   * @param schema Header of the schema message
   * @param sink Receives the bytes; finished or aborted with the writer
   * @param options Custom metadata of the footer
   */
  constructor(schema: MessageHeader, sink: ByteSink, options: WriterOptions = {}) {
    this.#sink = sink;
    this.#reader = HeaderReader.continuing(schema, NO_HEADER_LIMITS);
    this.#schema = this.#reader.schema!;
    this.#metadata = options.footerMetadata ?? new Map();
    this.#unifier = new DictionaryUnifier(this.#schema);
    this.#narrow = this.#narrowIds();
    this.#held = this.#narrow.size > 0 ? [] : null;
  }

  /** Writes one message and releases its body. */
  write(message: IpcMessage): void | Promise<void> {
    const { compression } = message.header;
    if (this.#schema.layout.dictionaries.size === 0 || codecReady(compression)) return this.#take(message);
    return loadCodec(compression as "lz4" | "zstd").then(() => this.#take(message), (error) => {
      message.body?.release();
      throw error;
    });
  }

  /** Writes the end of the stream and the footer. */
  async finish(): Promise<void> {
    await this.#settle();
    for (const { id, dictionary: { metadata, pieces, bodyLength } } of this.#unifier.changed()) {
      this.#dictionaries = this.#dictionaries.filter((each) => each.id !== id);
      const all = [...this.#start(), ...this.#framed(id, metadata, pieces, bodyLength)];
      await this.#sink.write(all);
    }
    const start = this.#start();
    const footer = encodeFooter({
      schema: this.#schema,
      dictionaries: this.#dictionaries.map(({ block }) => block),
      batches: this.#batches,
      metadata: this.#metadata,
    });
    const tail = new Uint8Array(4 + FILE_MAGIC.byteLength);
    new DataView(tail.buffer).setInt32(0, footer.byteLength, true);
    tail.set(FILE_MAGIC, 4);
    await this.#sink.write([...start, END_OF_STREAM, footer, tail]);
    await this.#sink.finish();
  }

  /** Aborts the output. */
  abort(): void | Promise<void> {
    for (const { body } of this.#held ?? []) body?.release();
    this.#held = null;
    return this.#sink.abort();
  }

  #narrowIds(): Map<bigint, number> {
    const narrow = new Map<bigint, number>();
    for (const { dictionary } of this.#schema.plan.fields) {
      if (dictionary === null || dictionary.index.bitWidth >= 32 || !this.#unifier.canUnify(dictionary.id)) continue;
      const { id, index: { bitWidth, signed } } = dictionary;
      narrow.set(id, Math.min(narrow.get(id) ?? Infinity, 2 ** (bitWidth - (signed ? 1 : 0))));
    }
    return narrow;
  }

  #take(message: IpcMessage): void | Promise<void> {
    const { body } = message;
    let held: Held;
    try {
      const header = verified(message.header, this.#reader);
      if (header.kind === "dictionary") {
        if (this.#unifier.take(header, body?.bytes() ?? NOTHING) === "keep") {
          body?.release();
          this.#widen(header.dictionaryId);
          return;
        }
      }
      held = { header, body, mappings: this.#unifier.mappings };
    } catch (error) {
      body?.release();
      throw error;
    }
    if (this.#held === null) return this.#emit(held);
    this.#held.push(held);
    this.#heldBytes += held.header.bytes.byteLength + (body?.byteLength ?? 0);
    if (this.#heldBytes > MAX_HELD_BYTES) return this.#settle();
  }

  /** Notices indices that are too narrow for their dictionary, as long as the schema is not written. */
  #widen(id: bigint): void {
    if (this.#held !== null && this.#unifier.countOf(id) > (this.#narrow.get(id) ?? Infinity)) this.#wide.add(id);
  }

  /** Writes what was held back: from now on the types of indices stay as they are. */
  async #settle(): Promise<void> {
    const held = this.#held;
    if (held === null) return;
    this.#held = null;
    const schema = this.#wide.size === 0 ? this.#schema : widenIndices(this.#schema, this.#wide);
    if (schema === null) this.#wide.clear();
    else this.#schema = schema;
    let at = 0;
    try {
      for (; at < held.length; at++) await this.#emit(held[at]);
    } catch (error) {
      for (const { body } of held.slice(at + 1)) body?.release();
      throw error;
    }
  }

  /** Writes one message and releases its body. */
  #emit({ header, body, mappings }: Held): void | Promise<void> {
    let pending: void | Promise<void>;
    try {
      pending = this.#sink.write([...this.#start(), ...this.#piecesOf(header, body, mappings)]);
    } catch (error) {
      body?.release();
      throw error;
    }
    if (pending instanceof Promise) return pending.finally(() => body?.release());
    body?.release();
  }

  #piecesOf(header: VerifiedHeader, body: IpcMessage["body"], mappings: Held["mappings"]): Piece[] {
    const id = header.kind === "dictionary" ? header.dictionaryId : null;
    const changed = id === null ? remappedBatch(header, body, this.#changesOf(mappings)) : null;
    if (changed !== null) return this.#framed(null, changed.metadata, changed.pieces, changed.bodyLength);
    return this.#framed(id, header.bytes, body === null ? [] : [body], body?.byteLength ?? 0);
  }

  #changesOf(mappings: Held["mappings"]): ReadonlyMap<bigint, IndexChange> {
    const changes = new Map<bigint, IndexChange>();
    for (const [id, mapping] of mappings) changes.set(id, { mapping, minBits: 0 });
    for (const id of this.#wide) changes.set(id, { mapping: mappings.get(id) ?? null, minBits: 32 });
    return changes;
  }

  /** A message with its frame and padding; its place is noted for the footer. */
  #framed(id: bigint | null, metadata: Uint8Array<ArrayBuffer>, body: readonly Piece[], bodyLength: number): Piece[] {
    const frame = frameBytes(metadata);
    const block: FileBlock = { offset: this.#offset, metadataLength: frame.byteLength, bodyLength };
    if (id === null) this.#batches.push(block);
    else this.#dictionaries.push({ id, block });
    const padding = padTo8(bodyLength) - bodyLength;
    this.#offset += frame.byteLength + bodyLength + padding;
    return padding === 0 ? [frame, ...body] : [frame, ...body, new Uint8Array(padding)];
  }

  /** The start of the file, once: magic and schema. */
  #start(): Piece[] {
    if (this.#offset > 0) return [];
    const head = new Uint8Array(FILE_HEAD_BYTES);
    head.set(FILE_MAGIC);
    const schema = frameMetadata(this.#schema);
    this.#offset = head.byteLength + schema.byteLength;
    return [head, schema];
  }
}
