/**
 * The values of a dataset in one plain form, read from its buffers: for every Arrow type, and the same for types that mean the same,
 * such as text with offsets of 32 bits, with views, or in a dictionary. Shares nothing with dipc's decoder.
 *
 * @module
 */
import { zstdDecompressSync } from "node:zlib";
import { HeaderReader, NO_HEADER_LIMITS, type VerifiedHeader } from "../../src/ipc/header.ts";
import type { ArrowType, FieldLayout } from "../../src/ipc/layout.ts";
import type { Dataset } from "../../src/sources/dataset.ts";
import { decompressLz4Frame } from "../../src/ipc/lz4.ts";

/** A value that compares with `assertEquals`. */
export type RawValue = null | string | number | boolean | RawValue[];

/** The columns of a dataset. */
export interface RawTable {
  readonly names: readonly string[];
  readonly rows: number;
  readonly columns: readonly RawValue[][];
}

type Read = (index: number) => RawValue;
/** Chunks of each dictionary: the values of each, and how many. */
type Dictionaries = Map<bigint, { read: Read; length: number }[]>;

const NS = { s: 1_000_000_000n, ms: 1_000_000n, us: 1000n, ns: 1n };

/** Reads a dataset to its end. */
export async function rawTable(dataset: Dataset): Promise<RawTable> {
  const run = await dataset.open();
  const schema = run.schema ?? dataset.schema;
  const reader = HeaderReader.continuing(schema, NO_HEADER_LIMITS);
  const { fields } = reader.layout!;
  const columns: RawValue[][] = fields.map(() => []);
  const dictionaries: Dictionaries = new Map();
  let rows = 0;
  try {
    for (let message; (message = await run.next()) !== null;) {
      const header = reader.read(message.header.bytes);
      const cursor = new Cursor(header, message.body?.bytes().slice() ?? new Uint8Array(0), dictionaries);
      message.body?.release();
      if (header.kind === "dictionary") {
        const { field } = reader.layout!.dictionaries.get(header.dictionaryId)!;
        const chunk = { read: cursor.column(field, true), length: header.rows };
        const before = header.isDelta ? dictionaries.get(header.dictionaryId) ?? [] : [];
        dictionaries.set(header.dictionaryId, [...before, chunk]);
      } else {
        fields.forEach((field, i) => {
          const read = cursor.column(field, false);
          for (let row = 0; row < header.rows; row++) columns[i].push(read(row));
        });
        rows += header.rows;
      }
    }
  } finally {
    await run.close();
  }
  return { names: fields.map(({ name }) => name), rows, columns };
}

/** Walks nodes and buffers of one message. */
class Cursor {
  readonly #header: VerifiedHeader;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #dictionaries: Dictionaries;
  #node = 0;
  #buffer = 0;
  #variadic = 0;

  constructor(header: VerifiedHeader, bytes: Uint8Array<ArrayBuffer>, dictionaries: Dictionaries) {
    this.#header = header;
    this.#bytes = bytes;
    this.#dictionaries = dictionaries;
  }

  /** The next column; `asValues`: of a dictionary, whose own encoding is left out. */
  column(field: FieldLayout, asValues: boolean): Read {
    if (field.dictionary === null || asValues) return this.#values(field);
    const nulls = this.#nulls();
    const { id, index } = field.dictionary;
    const indices = this.#integers(index.bitWidth, index.signed);
    const chunks = this.#dictionaries.get(id) ?? [];
    return (i) => {
      if (nulls(i)) return null;
      let at = Number(indices(i));
      for (const { read, length } of chunks) {
        if (at < length) return read(at);
        at -= length;
      }
      throw new Error(`row ${i} of ${field.path} has an index outside its dictionary`);
    };
  }

  #values(field: FieldLayout): Read {
    const { type, children } = field;
    const child = (i: number): Read => this.column(children[i], false);
    if (type.id === "null") {
      this.#node++;
      return () => null;
    }
    if (type.id === "union") return this.#union(type, children);
    if (type.id === "run_end_encoded") {
      this.#node++;
      const ends = child(0), values = child(1);
      return (i) => {
        let run = 0;
        while (Number(ends(run)) <= i) run++;
        return values(run);
      };
    }
    const nulls = this.#nulls();
    const read = this.#simple(type) ?? this.#nested(type, children);
    return (i) => nulls(i) ? null : read(i);
  }

  #simple(type: ArrowType): Read | null {
    switch (type.id) {
      case "bool": {
        const bits = this.#next();
        return (i) => (bits[i >> 3] & (1 << (i & 7))) !== 0;
      }
      case "int": {
        const read = this.#integers(type.bitWidth, type.signed);
        return (i) => `${read(i)}`;
      }
      case "float":
        return this.#floats(type.bitWidth);
      case "decimal": {
        const read = this.#wide(type.bitWidth / 8);
        return (i) => `${read(i)}e${-type.scale}`;
      }
      case "date": {
        const read = this.#integers(type.unit === "day" ? 32 : 64, true);
        return (i) => `day ${type.unit === "day" ? read(i) : read(i) / 86_400_000n}`;
      }
      case "time":
      case "timestamp":
      case "duration": {
        const read = this.#integers(type.id === "time" ? type.bitWidth : 64, true);
        return (i) => `${read(i) * NS[type.unit]} ns`;
      }
      case "interval":
        return this.#intervals(type.unit);
      case "fixed_size_binary": {
        const bytes = this.#next(), { byteWidth } = type;
        return (i) => `x${bytes.slice(i * byteWidth, (i + 1) * byteWidth).toHex()}`;
      }
      case "binary":
      case "utf8":
      case "large_binary":
      case "large_utf8": {
        const offsets = this.#integers(type.id.startsWith("large") ? 64 : 32, true), bytes = this.#next();
        return (i) => shown(bytes.slice(Number(offsets(i)), Number(offsets(i + 1))), type.id.endsWith("utf8"));
      }
      case "binary_view":
      case "utf8_view":
        return this.#views(type.id === "utf8_view");
      default:
        return null;
    }
  }

  #nested(type: ArrowType, children: readonly FieldLayout[]): Read {
    const list = (read: Read, start: number, end: number): RawValue =>
      Array.from({ length: end - start }, (_, i) => read(start + i));
    switch (type.id) {
      case "list":
      case "map":
      case "large_list": {
        const offsets = this.#integers(type.id === "large_list" ? 64 : 32, true),
          read = this.column(children[0], false);
        return (i) => list(read, Number(offsets(i)), Number(offsets(i + 1)));
      }
      case "list_view":
      case "large_list_view": {
        const bits = type.id === "list_view" ? 32 : 64;
        const starts = this.#integers(bits, true), sizes = this.#integers(bits, true);
        const read = this.column(children[0], false);
        return (i) => list(read, Number(starts(i)), Number(starts(i) + sizes(i)));
      }
      case "fixed_size_list": {
        const read = this.column(children[0], false), { listSize } = type;
        return (i) => list(read, i * listSize, (i + 1) * listSize);
      }
      case "struct": {
        const reads = children.map((each) => this.column(each, false));
        return (i) => reads.map((read) => read(i));
      }
      default:
        throw new Error(`there is no reader for ${type.id}`);
    }
  }

  #union(type: ArrowType & { id: "union" }, children: readonly FieldLayout[]): Read {
    this.#node++;
    const ids = this.#next();
    const offsets = type.mode === "dense" ? this.#integers(32, true) : null;
    const reads = children.map((each) => this.column(each, false));
    return (i) => {
      const at = type.typeIds.indexOf(ids[i]);
      return [children[at].name, reads[at](offsets === null ? i : Number(offsets(i)))];
    };
  }

  #nulls(): (i: number) => boolean {
    const count = this.#header.nodes[2 * this.#node++ + 1];
    const bitmap = this.#next();
    return count === 0 ? () => false : (i) => (bitmap[i >> 3] & (1 << (i & 7))) === 0;
  }

  #integers(bits: number, signed: boolean): (i: number) => bigint {
    const read = this.#wide(bits / 8);
    return signed ? read : (i) => BigInt.asUintN(bits, read(i));
  }

  /** Signed integers of any size. */
  #wide(bytes: number): (i: number) => bigint {
    const data = this.#next();
    return (i) => {
      let value = 0n;
      for (let at = bytes - 1; at >= 0; at--) value = value << 8n | BigInt(data[i * bytes + at]);
      return BigInt.asIntN(8 * bytes, value);
    };
  }

  #floats(bits: number): Read {
    const bytes = this.#next(), view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return (i) => {
      const value = bits === 16
        ? view.getFloat16(2 * i, true)
        : bits === 32
        ? view.getFloat32(4 * i, true)
        : view.getFloat64(8 * i, true);
      return Object.is(value, -0) ? "-0" : Number.isFinite(value) ? value : String(value);
    };
  }

  #intervals(unit: "year_month" | "day_time" | "month_day_nano"): Read {
    const bytes = this.#next(), view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const int = (at: number): number => view.getInt32(at, true);
    const [months, days, ns]: ((i: number) => number | bigint)[] = unit === "year_month"
      ? [(i) => int(4 * i), () => 0, () => 0n]
      : unit === "day_time"
      ? [() => 0, (i) => int(8 * i), (i) => BigInt(int(8 * i + 4)) * NS.ms]
      : [(i) => int(16 * i), (i) => int(16 * i + 4), (i) => view.getBigInt64(16 * i + 8, true)];
    return (i) => `${months(i)} months ${days(i)} days ${ns(i)} ns`;
  }

  #views(isText: boolean): Read {
    const views = this.#next(), view = new DataView(views.buffer, views.byteOffset, views.byteLength);
    const data = Array.from({ length: this.#header.variadicCounts[this.#variadic++] }, () => this.#next());
    return (i) => {
      const length = view.getInt32(16 * i, true);
      const start = view.getInt32(16 * i + 12, true);
      const value = length <= 12
        ? views.slice(16 * i + 4, 16 * i + 4 + length)
        : data[view.getInt32(16 * i + 8, true)].slice(start, start + length);
      return shown(value, isText);
    };
  }

  /** The next buffer, decompressed. */
  #next(): Uint8Array<ArrayBuffer> {
    const { buffers, compression } = this.#header;
    const at = 2 * this.#buffer++;
    const bytes = this.#bytes.subarray(buffers[at], buffers[at] + buffers[at + 1]);
    if (compression === "none" || bytes.byteLength === 0) return bytes;
    const size = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigInt64(0, true));
    const content = bytes.subarray(8);
    if (size === -1) return content;
    return new Uint8Array(compression === "zstd" ? zstdDecompressSync(content) : decompressLz4Frame(content, size));
  }
}

function shown(bytes: Uint8Array, isText: boolean): string {
  return isText ? `"${new TextDecoder().decode(bytes)}"` : `x${bytes.toHex()}`;
}
