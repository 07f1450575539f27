/**
 * Writes flatbuffers from plain descriptions, good ones and bad ones, for tests of the verifier.
 *
 * @module
 */

/** An inline value of a table, or a reference to another object. An object used twice is written once. */
export type Slot =
  | { u8: number }
  | { i16: number }
  | { i32: number }
  | { i64: bigint }
  | { ref: FlatObject }
  | null;

/** Something with a place of its own. */
export type FlatObject =
  | { table: Slot[] }
  | { tables: FlatObject[] }
  | { text: string }
  | { ints: number[] }
  /** A vector of 64-bit integers, `width` of them an element. */
  | { longs: bigint[]; width: number };

/** Where things came to lie, for tests that damage them. */
export interface Written {
  bytes: Uint8Array<ArrayBuffer>;
  /** Position of each object. */
  at: Map<FlatObject, number>;
}

const slotSize = (slot: Slot): number =>
  slot === null ? 0 : "u8" in slot ? 1 : "i16" in slot ? 2 : "i64" in slot ? 8 : 4;

/** Writes `root`, a table, and everything it refers to. */
export function writeFlat(root: FlatObject): Written {
  // Parents come before what they refer to, because references lead forward only.
  const order: FlatObject[] = [];
  const seen = new Set<FlatObject>();
  const visit = (object: FlatObject): void => {
    if (seen.has(object)) return;
    seen.add(object);
    const inner = "table" in object
      ? object.table.flatMap((slot) => slot !== null && "ref" in slot ? [slot.ref] : [])
      : "tables" in object
      ? object.tables
      : [];
    inner.forEach(visit);
    order.unshift(object);
  };
  visit(root);

  const at = new Map<FlatObject, number>();
  const offsets = new Map<FlatObject, number[]>();
  let end = 8;
  for (const object of order) {
    end = (end + 7) & ~7;
    if ("table" in object) {
      const vtable = (4 + 2 * object.table.length + 7) & ~7;
      let size = 4;
      offsets.set(
        object,
        object.table.map((slot) => {
          const width = slotSize(slot);
          if (width === 0) return 0;
          size = Math.ceil(size / width) * width;
          size += width;
          return size - width;
        }),
      );
      at.set(object, end + vtable);
      end += vtable + size;
    } else {
      // The length stands right before elements that are aligned to 8.
      at.set(object, end + 4);
      const length = "tables" in object
        ? 4 * object.tables.length
        : "text" in object
        ? new TextEncoder().encode(object.text).byteLength + 1
        : "ints" in object
        ? 4 * object.ints.length
        : 8 * object.longs.length;
      end += 8 + length;
    }
  }
  const bytes = new Uint8Array((end + 7) & ~7);
  const view = new DataView(bytes.buffer);
  const refer = (from: number, to: FlatObject): void => view.setUint32(from, at.get(to)! - from, true);
  refer(0, root);
  for (const object of order) {
    const position = at.get(object)!;
    if ("table" in object) {
      const places = offsets.get(object)!;
      const vtable = position - ((4 + 2 * object.table.length + 7) & ~7);
      const last = Math.max(4, ...places.map((place, i) => place + slotSize(object.table[i])));
      view.setInt32(position, position - vtable, true);
      view.setUint16(vtable, 4 + 2 * object.table.length, true);
      view.setUint16(vtable + 2, last, true);
      object.table.forEach((slot, i) => {
        view.setUint16(vtable + 4 + 2 * i, places[i], true);
        const place = position + places[i];
        if (slot === null) return;
        if ("u8" in slot) view.setUint8(place, slot.u8);
        else if ("i16" in slot) view.setInt16(place, slot.i16, true);
        else if ("i32" in slot) view.setInt32(place, slot.i32, true);
        else if ("i64" in slot) view.setBigInt64(place, slot.i64, true);
        else refer(place, slot.ref);
      });
    } else if ("tables" in object) {
      view.setUint32(position, object.tables.length, true);
      object.tables.forEach((element, i) => refer(position + 4 + 4 * i, element));
    } else if ("text" in object) {
      const text = new TextEncoder().encode(object.text);
      view.setUint32(position, text.byteLength, true);
      bytes.set(text, position + 4);
    } else if ("ints" in object) {
      view.setUint32(position, object.ints.length, true);
      object.ints.forEach((value, i) => view.setInt32(position + 4 + 4 * i, value, true));
    } else {
      view.setUint32(position, object.longs.length / object.width, true);
      object.longs.forEach((value, i) => view.setBigInt64(position + 4 + 8 * i, value, true));
    }
  }
  return { bytes, at };
}

/** Parameters of {@linkcode message}. */
export interface MessageSpec {
  version?: number;
  type: number;
  header: FlatObject | null;
  bodyLength?: bigint;
  custom?: FlatObject;
}

/** A `Message` table. */
export function message(spec: MessageSpec): FlatObject {
  return {
    table: [
      { i16: spec.version ?? 4 },
      { u8: spec.type },
      spec.header === null ? null : { ref: spec.header },
      { i64: spec.bodyLength ?? 0n },
      spec.custom === undefined ? null : { ref: spec.custom },
    ],
  };
}

/** A `Schema` table in a `Message`. */
export function schemaMessage(
  fields: FlatObject[],
  spec: Partial<MessageSpec> & { endianness?: number } = {},
): FlatObject {
  return message({
    type: 1,
    header: { table: [{ i16: spec.endianness ?? 0 }, { ref: { tables: fields } }] },
    ...spec,
  });
}

/** A `Field` table: type number, type table, children, dictionary encoding. */
export function field(
  name: string,
  typeNumber: number,
  type: Slot[] | null = [],
  children: FlatObject[] | FlatObject = [],
  dictionary: FlatObject | null = null,
): FlatObject {
  return {
    table: [
      { ref: { text: name } },
      { u8: 1 },
      { u8: typeNumber },
      type === null ? null : { ref: { table: type } },
      dictionary === null ? null : { ref: dictionary },
      { ref: Array.isArray(children) ? { tables: children } : children },
    ],
  };
}

/** A field of 32-bit signed integers. */
export function int32(name = "x"): FlatObject {
  return field(name, 2, [{ i32: 32 }, { u8: 1 }]);
}

/** A `DictionaryEncoding` table with 8-bit indices. */
export function encoding(id: bigint, kind = 0): FlatObject {
  return { table: [{ i64: id }, { ref: { table: [{ i32: 8 }, { u8: 1 }] } }, { u8: 0 }, { i16: kind }] };
}

/** Parameters of {@linkcode batch}. */
export interface BatchSpec {
  rows?: bigint;
  /** Length and null count of each node. */
  nodes?: bigint[];
  /** Offset and length of each buffer. */
  buffers?: bigint[];
  /** Codec and method. */
  compression?: [number, number];
  variadic?: bigint[];
}

/** A `RecordBatch` table; by default one of 4 rows of one column of 32-bit integers without nulls. */
export function batch(spec: BatchSpec = {}): FlatObject {
  const { compression: c } = spec;
  return {
    table: [
      { i64: spec.rows ?? 4n },
      { ref: { longs: spec.nodes ?? [4n, 0n], width: 2 } },
      { ref: { longs: spec.buffers ?? [0n, 0n, 0n, 16n], width: 2 } },
      c === undefined ? null : { ref: { table: [{ u8: c[0] }, { u8: c[1] }] } },
      spec.variadic === undefined ? null : { ref: { longs: spec.variadic, width: 1 } },
    ],
  };
}

/** A `RecordBatch` in a `Message`, with a body of 64 bytes by default. */
export function batchMessage(spec: BatchSpec = {}, around: Partial<MessageSpec> = {}): FlatObject {
  return message({ type: 3, header: batch(spec), bodyLength: 64n, ...around });
}

/** A `DictionaryBatch` in a `Message`. */
export function dictionaryMessage(id: bigint, data: FlatObject | null, isDelta = false): FlatObject {
  const header: FlatObject = {
    table: [{ i64: id }, data === null ? null : { ref: data }, { u8: isDelta ? 1 : 0 }],
  };
  return message({ type: 2, header, bodyLength: 64n });
}
