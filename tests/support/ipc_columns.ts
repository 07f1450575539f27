/**
 * Random columns of every type that apache-arrow can hold.
 *
 * @module
 */
import {
  Binary,
  BinaryView,
  Bool,
  Data,
  type DataType,
  DateDay,
  DateMillisecond,
  Decimal,
  Dictionary,
  Duration,
  Field,
  FixedSizeBinary,
  FixedSizeList,
  Float16,
  Float32,
  Float64,
  Int16,
  Int32,
  Int64,
  Int8,
  IntervalDayTime,
  IntervalMonthDayNano,
  IntervalYearMonth,
  LargeBinary,
  LargeList,
  LargeUtf8,
  List,
  Map_,
  Null,
  Struct,
  Time,
  Timestamp,
  TimeUnit,
  Type,
  Uint16,
  Uint32,
  Uint64,
  Uint8,
  Union,
  UnionMode,
  Utf8,
  Utf8View,
  Vector,
} from "apache-arrow";
import type { Random } from "./random.ts";

const item = (type: DataType, name = "item"): Field => new Field(name, type, true);

/** One type of each kind, nested ones included. */
export function allTypes(): DataType[] {
  const entries = new Struct([new Field("key", new Utf8()), item(new Int32(), "value")]);
  return [
    new Null(),
    new Bool(),
    ...[new Int8(), new Int16(), new Int32(), new Int64(), new Uint8(), new Uint16(), new Uint32(), new Uint64()],
    ...[new Float16(), new Float32(), new Float64()],
    ...[32, 64, 128, 256].map((bits) => new Decimal(2, 9, bits)),
    ...[new DateDay(), new DateMillisecond()],
    new Time(TimeUnit.MILLISECOND, 32),
    new Time(TimeUnit.NANOSECOND, 64),
    new Timestamp(TimeUnit.MICROSECOND, "Europe/Berlin"),
    new Duration(TimeUnit.SECOND),
    ...[new IntervalYearMonth(), new IntervalDayTime(), new IntervalMonthDayNano()],
    ...[new Binary(), new Utf8(), new LargeBinary(), new LargeUtf8(), new BinaryView(), new Utf8View()],
    new FixedSizeBinary(5),
    new List(item(new Utf8())),
    new LargeList(item(new Bool())),
    new FixedSizeList(3, item(new Int16())),
    new Struct([item(new Bool(), "a"), item(new List(item(new Int8())), "b")]),
    new Map_(new Field("entries", entries)),
    new Union(UnionMode.Sparse, [3, 7], [item(new Bool(), "a"), item(new Utf8(), "b")]) as DataType,
    new Union(UnionMode.Dense, [0, 5], [item(new Int32(), "a"), item(new Utf8View(), "b")]) as DataType,
    new List(item(new Struct([item(new FixedSizeList(2, item(new Bool())), "deep")]))),
    new Dictionary(new Utf8(), new Int16() as never, 77),
  ] as DataType[];
}

/** A random column; about a fifth of its values are null. */
export function randomColumn(type: DataType, length: number, random: Random): Data {
  const bitmap = new Uint8Array(Math.ceil(length / 8) + 1);
  let nulls = 0;
  for (let i = 0; i < length; i++) {
    if (random.below(5) === 0) nulls++;
    else bitmap[i >> 3] |= 1 << (i & 7);
  }
  const make = (buffers: unknown[], children: Data[] = [], dictionary?: Vector, variadic?: Uint8Array[]): Data => {
    buffers[2] = nulls > 0 ? bitmap : undefined;
    return new Data(type, 0, length, nulls, buffers as never, children, dictionary as never, variadic);
  };
  const bytes = (count: number): Uint8Array<ArrayBuffer> => Uint8Array.from({ length: count }, () => random.below(256));
  /** Letters of one to four bytes, whole at any cut that the caller makes at a boundary. */
  const ascii = (count: number): Uint8Array<ArrayBuffer> =>
    Uint8Array.from({ length: count }, () => 97 + random.below(26));
  const offsets = (most: number): number[] => {
    const list = [0];
    for (let i = 0; i < length; i++) list.push(list[i] + random.below(most));
    return list;
  };
  switch (type.typeId) {
    case Type.Null:
      return new Data(type, 0, length, length);
    case Type.Bool:
      return make([undefined, bytes(Math.ceil(length / 8))]);
    case Type.Utf8:
    case Type.Binary: {
      const list = offsets(9);
      return make([Int32Array.from(list), ascii(list[length])]);
    }
    case Type.LargeUtf8:
    case Type.LargeBinary: {
      const list = offsets(9);
      return make([BigInt64Array.from(list, BigInt), ascii(list[length])]);
    }
    case Type.Utf8View:
    case Type.BinaryView: {
      const data = [ascii(400), ascii(300)];
      const words = new Int32Array(4 * length);
      const views = new Uint8Array(words.buffer);
      for (let i = 0; i < length; i++) {
        const size = random.below(30);
        const index = random.below(2);
        const offset = random.below(data[index].length - 30);
        views.set(data[index].subarray(offset, offset + Math.min(size, 12)), 16 * i + 4);
        if (size > 12) words.set([index, offset], 4 * i + 2);
        words[4 * i] = size;
      }
      return make([undefined, views], [], undefined, data);
    }
    case Type.List:
    case Type.Map: {
      const list = offsets(4);
      return make([Int32Array.from(list)], [randomColumn(type.children[0].type, list[length], random)]);
    }
    case Type.LargeList: {
      const list = offsets(4);
      return make([BigInt64Array.from(list, BigInt)], [randomColumn(type.children[0].type, list[length], random)]);
    }
    case Type.FixedSizeList: {
      const size = (type as FixedSizeList).listSize;
      return make([], [randomColumn(type.children[0].type, length * size, random)]);
    }
    case Type.Struct:
      return make([], type.children.map((child) => randomColumn(child.type, length, random)));
    case Type.Union: {
      const { typeIds, mode } = type as Union;
      const dense = mode === UnionMode.Dense;
      const ids = Int8Array.from({ length }, () => typeIds[random.below(typeIds.length)]);
      const counts = new Array(128).fill(0);
      const places = Int32Array.from(ids, (id) => counts[id]++);
      const children = type.children.map((child, i) =>
        randomColumn(child.type, dense ? counts[typeIds[i]] : length, random)
      );
      return new Data(type, 0, length, 0, [dense ? places : undefined, undefined, undefined, ids] as never, children);
    }
    case Type.Dictionary: {
      const { dictionary, indices } = type as Dictionary;
      const values = new Vector([randomColumn(dictionary, 10, random)]);
      return make([undefined, new indices.ArrayType(Array.from({ length }, () => random.below(10)))], [], values);
    }
    default: {
      const { BYTES_PER_ELEMENT: width } = type.ArrayType;
      // As many array elements as the type's own stride says.
      const stride = new Data(type, 0, 0, 0).stride;
      const raw = bytes(length * stride * width);
      // No NaN, which would not equal itself.
      if (type.typeId === Type.Float) raw.forEach((_, i) => (i + 1) % width === 0 && (raw[i] &= 0x3f));
      return make([undefined, new type.ArrayType(raw.buffer)]);
    }
  }
}
