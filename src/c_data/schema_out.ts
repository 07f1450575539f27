/**
 * Writes a schema as `ArrowSchema`.
 *
 * @module
 */
import type { Schema } from "apache-arrow";
import { addressOf, libc } from "../../ffi/libc.ts";
import { allocate, libcAddress } from "../../ffi/raw_memory.ts";
import { DipcError } from "../errors.ts";
import { encodeSchema } from "../ipc/encode.ts";
import { HeaderReader, VerifiedHeader } from "../ipc/header.ts";
import type { ArrowType, FieldLayout, SchemaLayout } from "../ipc/layout.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { CELL_WORDS } from "./cells.ts";
import { formatOfType } from "./format.ts";
import { encodeMetadata } from "./metadata.ts";
import { nativeCode } from "./native_code.ts";
import { C_LAYOUT, SCHEMA_FLAGS } from "./structs.ts";

const AT = C_LAYOUT.ArrowSchema;
const STRUCT_WORDS = AT.size / 8;
const OWNER = 2;
const encoder = new TextEncoder();
let freeAddress: bigint | null = null;

/** A schema in native memory. */
export interface SchemaBlock {
  readonly address: bigint;
  readonly byteLength: number;
  /** Words at its beginning that may be addresses. */
  readonly words: number;
}

/** One structure to be written. */
interface Entry {
  readonly format: string;
  readonly name: string;
  readonly metadata: ReadonlyMap<string, string>;
  readonly flags: number;
  readonly children: readonly Entry[];
  readonly dictionary: Entry | null;
}

const encoded = new WeakMap<Schema, VerifiedHeader>();

/** The schema message of a schema, encoded once for each, or of a message that may have been made elsewhere. */
export function schemaHeaderOf(schema: Schema | MessageHeader): VerifiedHeader {
  if (schema instanceof VerifiedHeader && schema.kind === "schema") return schema;
  if ("bytes" in schema) return HeaderReader.continuing(schema).schema!;
  let header = encoded.get(schema);
  if (header === undefined) encoded.set(schema, header = encodeSchema(schema) as VerifiedHeader);
  return header;
}

/**
 * Exports a schema as that of a struct with a child for each column, as record batches have it.
 *
 * @param schema The schema of apache-arrow, or the schema message of a stream
 * @param target Address of memory for an `ArrowSchema`; the consumer releases it
 * @throws {DipcError} `unsupported` for big-endian data; `out_of_memory`
 */
export function exportSchema(schema: Schema | MessageHeader, target: bigint): void {
  exportLayout(schemaHeaderOf(schema).layout, target);
}

/** As {@linkcode exportSchema}, for a schema that was read. */
export function exportLayout(layout: SchemaLayout, target: bigint): void {
  const { address } = schemaBlock(layout);
  libc().memcpy(target, address + 8n * BigInt(CELL_WORDS), BigInt(AT.size));
}

/**
 * A schema in native memory that is freed when the last of its structures is released.
 *
 * @throws {DipcError} `unsupported` for big-endian data; `out_of_memory`
 */
export function schemaBlock(layout: SchemaLayout): SchemaBlock {
  refuseBigEndian(layout);
  const root: Entry = {
    format: "+s",
    name: "",
    metadata: layout.metadata,
    flags: 0,
    children: layout.fields.map(entryOf),
    dictionary: null,
  };
  return new BlockWriter(root).write();
}

/** @throws {DipcError} `unsupported` for data in another byte order than that of the machine */
export function refuseBigEndian({ endianness }: SchemaLayout): void {
  if (endianness === "little") return;
  throw new DipcError(
    "unsupported",
    "cannot export Arrow data: it is big-endian, expected the byte order of this machine; write it again on a machine like this",
  );
}

function entryOf(field: FieldLayout): Entry {
  const { name, metadata, dictionary } = field;
  const nullable = field.nullable ? SCHEMA_FLAGS.nullable : 0;
  const values = { format: formatOfType(field.type), children: field.children.map(entryOf) };
  const sorted = isSortedMap(field.type) ? SCHEMA_FLAGS.mapKeysSorted : 0;
  if (dictionary === null) return { ...values, name, metadata, flags: nullable | sorted, dictionary: null };
  return {
    format: formatOfType(dictionary.index),
    name,
    metadata,
    flags: nullable | (dictionary.ordered ? SCHEMA_FLAGS.dictionaryOrdered : 0),
    children: [],
    dictionary: { ...values, name: "", metadata: new Map(), flags: SCHEMA_FLAGS.nullable | sorted, dictionary: null },
  };
}

function isSortedMap(type: ArrowType): boolean {
  return type.id === "map" && type.keysSorted;
}

/** Lays out structures, then lists of children, then texts. */
class BlockWriter {
  readonly #entries: Entry[] = [];
  readonly #places = new Map<Entry, number>();
  readonly #words: number;
  readonly #texts: Uint8Array[] = [];
  #listWord: number;
  #textAt: number;

  constructor(root: Entry) {
    const visit = (entry: Entry): void => {
      this.#places.set(entry, CELL_WORDS + STRUCT_WORDS * this.#entries.length);
      this.#entries.push(entry);
      entry.children.forEach(visit);
      if (entry.dictionary !== null) visit(entry.dictionary);
    };
    visit(root);
    this.#listWord = CELL_WORDS + STRUCT_WORDS * this.#entries.length;
    this.#words = this.#listWord + this.#entries.reduce((sum, { children }) => sum + children.length, 0);
    this.#textAt = 8 * this.#words;
  }

  write(): SchemaBlock {
    const texts = this.#entries.map(({ format, name, metadata }) => ({
      format: this.#text(encoder.encode(format + "\0")),
      name: this.#text(encoder.encode(name.replaceAll("\0", "") + "\0")),
      metadata: metadata.size === 0 ? 0 : this.#text(encodeMetadata(metadata)),
    }));
    const byteLength = Math.ceil(Math.max(this.#textAt, 128) / 8) * 8;
    const bytes = new Uint8Array(byteLength);
    const words = new BigUint64Array(bytes.buffer);
    const address = allocate(byteLength);
    const at = (offset: number): bigint => offset === 0 ? 0n : address + BigInt(offset);
    words[0] = BigInt(this.#entries.length);
    words[OWNER] = freeAddress ??= libcAddress("free");
    this.#entries.forEach((entry, i) => {
      const word = this.#places.get(entry)!;
      const put = (offset: number, value: bigint): bigint => words[word + offset / 8] = value;
      put(AT.format, at(texts[i].format));
      put(AT.name, at(texts[i].name));
      put(AT.metadata, at(texts[i].metadata));
      put(AT.flags, BigInt(entry.flags));
      put(AT.n_children, BigInt(entry.children.length));
      put(AT.children, entry.children.length === 0 ? 0n : at(8 * this.#listWord));
      put(AT.dictionary, entry.dictionary === null ? 0n : at(8 * this.#places.get(entry.dictionary)!));
      put(AT.release, nativeCode().release_schema);
      put(AT.private_data, address);
      for (const child of entry.children) words[this.#listWord++] = at(8 * this.#places.get(child)!);
    });
    let end = 8 * this.#words;
    for (const text of this.#texts) {
      bytes.set(text, end);
      end += text.byteLength;
    }
    libc().memcpy(address, addressOf(bytes), BigInt(byteLength));
    return { address, byteLength, words: this.#words };
  }

  /** Adds a text. @returns its offset in bytes */
  #text(bytes: Uint8Array): number {
    const at = this.#textAt;
    this.#texts.push(bytes);
    this.#textAt += bytes.byteLength;
    return at;
  }
}
