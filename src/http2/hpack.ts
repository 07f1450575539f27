/**
 * Header compression (RFC 7541): a bounded decoder, and an encoder that keeps no state.
 *
 * @module
 */
import { Http2Code, Http2Error } from "./errors.ts";
import { decodeHuffman, latin1 } from "./huffman.ts";
import { type HeaderField, STATIC_TABLE } from "./static_table.ts";

/** Bytes that an entry counts besides its name and value (RFC 7541, section 4.1). */
const ENTRY_OVERHEAD = 32;
/** Size of the dynamic table, in bytes: the default of HTTP/2, which this side does not change. */
const TABLE_BYTES = 4096;
/** Largest integer accepted. Nothing that is counted in a header block can be larger. */
const MAX_INTEGER = 2 ** 24;

/** A decoded header block. */
export interface HeaderList {
  /** The fields in their order; incomplete if `isTooLong`. */
  fields: HeaderField[];
  /** Whether the fields are longer than allowed. The decoder stays usable. */
  isTooLong: boolean;
  /** The name of the first field that was left out because of that. */
  omitted?: string;
}

/** Decodes the header blocks of one connection, in their order. */
export class HpackDecoder {
  readonly #maxListBytes: number;
  readonly #mayCut: ReadonlySet<string>;
  /** Newest last. */
  #table: HeaderField[] = [];
  #tableBytes = 0;
  #limit = TABLE_BYTES;
  #block = new Uint8Array();
  #at = 0;

  /**
   * @param maxListBytes Maximum size of a list of headers, in bytes as RFC 9113 counts them
   * @param mayCut Names of fields whose value is cut if it does not fit
   */
  constructor(maxListBytes: number, mayCut: ReadonlySet<string> = new Set()) {
    this.#maxListBytes = maxListBytes;
    this.#mayCut = mayCut;
  }

  /** Size of the dynamic table, in bytes as RFC 7541 counts them. */
  get tableBytes(): number {
    return this.#tableBytes;
  }

  /**
   * Decodes one complete header block.
   *
   * @param block The block, without frame headers
   * @throws {Http2Error} COMPRESSION_ERROR; the decoder cannot be used any more
   */
  decode(block: Uint8Array): HeaderList {
    this.#block = block as Uint8Array<ArrayBuffer>;
    this.#at = 0;
    const fields: HeaderField[] = [];
    let bytes = 0;
    let omitted: string | undefined;
    let mayResize = true;
    while (this.#at < block.byteLength) {
      const first = block[this.#at];
      if ((first & 0xe0) === 0x20) {
        if (!mayResize) throw wrong("a table size update after a header field");
        this.#resize(this.#integer(5));
        continue;
      }
      mayResize = false;
      const field = this.#fitting(this.#field(first), this.#maxListBytes - bytes);
      const size = sizeOf(field);
      if (bytes + size > this.#maxListBytes) {
        omitted ??= field[0];
        continue;
      }
      bytes += size;
      fields.push(field);
    }
    this.#block = new Uint8Array();
    return omitted === undefined ? { fields, isTooLong: false } : { fields, isTooLong: true, omitted };
  }

  /** The field, cut if it may be and is too long, so that it leaves half of the room to the others. */
  #fitting(field: HeaderField, left: number): HeaderField {
    if (sizeOf(field) <= left || !this.#mayCut.has(field[0])) return field;
    return [field[0], field[1].slice(0, Math.max(0, Math.floor(left / 2) - ENTRY_OVERHEAD - field[0].length))];
  }

  #field(first: number): HeaderField {
    if ((first & 0x80) !== 0) return this.#entry(this.#integer(7));
    const isIndexed = (first & 0x40) !== 0;
    const index = this.#integer(isIndexed ? 6 : 4);
    const name = index === 0 ? this.#string() : this.#entry(index)[0];
    const field: HeaderField = [name, this.#string()];
    if (isIndexed) this.#add(field);
    return field;
  }

  #entry(index: number): HeaderField {
    if (index === 0) throw wrong("index 0");
    if (index <= STATIC_TABLE.length) return STATIC_TABLE[index - 1];
    const at = this.#table.length - (index - STATIC_TABLE.length);
    if (at < 0) throw wrong(`index ${index}, which is past the end of the table`);
    return this.#table[at];
  }

  #add(field: HeaderField): void {
    const size = sizeOf(field);
    this.#evict(this.#limit - size);
    if (size > this.#limit) return;
    this.#table.push(field);
    this.#tableBytes += size;
  }

  #resize(limit: number): void {
    if (limit > TABLE_BYTES) throw wrong(`a table size of ${limit} bytes, at most ${TABLE_BYTES} are announced`);
    this.#limit = limit;
    this.#evict(limit);
  }

  #evict(limit: number): void {
    let gone = 0;
    while (this.#tableBytes > Math.max(0, limit)) this.#tableBytes -= sizeOf(this.#table[gone++]);
    if (gone > 0) this.#table.splice(0, gone);
  }

  #integer(prefixBits: number): number {
    const mask = 2 ** prefixBits - 1;
    let value = this.#byte() & mask;
    if (value < mask) return value;
    for (let shift = 0;; shift += 7) {
      const byte = this.#byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (value > MAX_INTEGER || shift > 28) throw wrong("an integer that is too large");
      if ((byte & 0x80) === 0) return value;
    }
  }

  #byte(): number {
    if (this.#at >= this.#block.byteLength) throw wrong("an end in the middle of a field");
    return this.#block[this.#at++];
  }

  #string(): string {
    const isCompressed = this.#at < this.#block.byteLength && (this.#block[this.#at] & 0x80) !== 0;
    const length = this.#integer(7);
    if (length > this.#block.byteLength - this.#at) throw wrong("a string that is longer than its block");
    const bytes = this.#block.subarray(this.#at, this.#at += length);
    if (!isCompressed) return latin1(bytes);
    const text = decodeHuffman(bytes);
    if (text === null) throw wrong("a string that is not Huffman code");
    return text;
  }
}

function sizeOf([name, value]: HeaderField): number {
  return name.length + value.length + ENTRY_OVERHEAD;
}

function wrong(what: string): Http2Error {
  return new Http2Error(Http2Code.compressionError, `a header block has ${what}`);
}

const NAME_INDEX = new Map<string, number>();
const FIELD_INDEX = new Map<string, number>();
STATIC_TABLE.forEach(([name, value], i) => {
  if (!NAME_INDEX.has(name)) NAME_INDEX.set(name, i + 1);
  FIELD_INDEX.set(`${name}\n${value}`, i + 1);
});

/**
 * Encodes headers without the dynamic table, so that there is no state to keep in sync.
 *
 * @param fields Names in lower case and values, one character per byte
 * @param isFirst Whether it is the first block of its connection, which sets the size of the dynamic table to 0, so that any
 *   limit that the peer sets is observed
 */
export function encodeHeaders(fields: readonly HeaderField[], isFirst: boolean = false): Uint8Array {
  const out: number[] = isFirst ? [0x20] : [];
  for (const [name, value] of fields) {
    const fieldIndex = FIELD_INDEX.get(`${name}\n${value}`);
    if (fieldIndex !== undefined) {
      pushInteger(out, 0x80, 7, fieldIndex);
      continue;
    }
    const index = NAME_INDEX.get(name) ?? 0;
    // A secret is marked as never indexed, so that no intermediary puts it into a table.
    pushInteger(out, name === "authorization" || name === "set-cookie" ? 0x10 : 0, 4, index);
    if (index === 0) pushString(out, name);
    pushString(out, value);
  }
  return Uint8Array.from(out);
}

function pushInteger(out: number[], flags: number, prefixBits: number, value: number): void {
  const mask = 2 ** prefixBits - 1;
  if (value < mask) {
    out.push(flags | value);
    return;
  }
  out.push(flags | mask);
  let rest = value - mask;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) out.push((rest & 0x7f) | 0x80);
  out.push(rest);
}

function pushString(out: number[], text: string): void {
  pushInteger(out, 0, 7, text.length);
  for (let i = 0; i < text.length; i++) out.push(text.charCodeAt(i) & 0xff);
}
