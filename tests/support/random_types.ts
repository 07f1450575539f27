/**
 * Random Arrow columns of every type of the format, as nodes and buffers, also of those that apache-arrow does not have. Built by code
 * that shares nothing with dipc's encoder.
 *
 * @module
 */
import { field, type FlatObject, type Slot } from "./ipc_flatbuffer.ts";
import type { Random } from "./random.ts";

/** Nodes and buffers of one message. */
export class Parts {
  readonly nodes: number[] = [];
  readonly buffers: Uint8Array[] = [];
  readonly variadicCounts: number[] = [];
}

/** A type, and how to make values of it. */
export interface RandomType {
  /** Adds a column of so many values; those of a field that is not nullable are not null. */
  fill(length: number, nullable: boolean, parts: Parts): void;
  /** The field of the schema. */
  field(name: string, nullable?: boolean): FlatObject;
}

/** Dictionaries of a schema under construction. */
export interface Dictionaries {
  /** A new dictionary of values of a type. @returns its id, and a function for its number of values at any time */
  add(values: RandomType, isSimple: boolean): { id: bigint; length: () => number };
}

/** Deepest nesting. */
const MAX_DEPTH = 3;
const DAY_MS = 86_400_000;

/** Makes random types and their values. */
export class RandomTypes {
  readonly #random: Random;
  readonly #dictionaries: Dictionaries;

  constructor(random: Random, dictionaries: Dictionaries) {
    this.#random = random;
    this.#dictionaries = dictionaries;
  }

  /** Any type; nested ones only at the depths that are left. */
  any(depth = 0): RandomType {
    const random = this.#random;
    const pick = random.below(100);
    if (depth < MAX_DEPTH && pick < 30) return this.#nested(depth);
    if (depth < MAX_DEPTH && pick < 42) return this.#dictionary(depth);
    if (depth === 0 && pick < 45) return this.#runEnds();
    return this.#flat();
  }

  #flat(): RandomType {
    const random = this.#random;
    const unit = random.below(4), bits = random.pick([8, 16, 32, 64]);
    const kinds: (() => RandomType)[] = [
      () => this.#of(1, [], (length, _, parts) => parts.nodes.push(length, length)),
      () => this.#fixed(6, [], 1, (view, at) => view.setUint8(at, random.below(256))),
      () => {
        const isSigned = random.below(2);
        return this.#fixed(2, [{ i32: bits }, { u8: isSigned }], bits, (view, at) => this.#bytes(view, at, bits / 8));
      },
      () => this.#float(random.below(3)),
      () => this.#decimal(random.pick([32, 64, 128, 256])),
      () =>
        this.#fixed(8, [{ i16: 0 }], 32, (view, at) => view.setInt32(at, random.between(-700_000, 2_900_000), true)),
      () => this.#long(8, [{ i16: 1 }], () => random.between(-700_000, 2_900_000) * DAY_MS),
      () =>
        unit < 2
          ? this.#fixed(
            9,
            [{ i16: unit }, { i32: 32 }],
            32,
            (view, at) => view.setInt32(at, random.below(86_400 * 1000 ** unit), true),
          )
          : this.#long(9, [{ i16: unit }, { i32: 64 }], () => Math.floor(random.fraction() * 86_400 * 1000 ** unit)),
      () => {
        const zone = random.pick([null, "UTC", "Europe/Berlin", "+05:30"]);
        const slots: Slot[] = [{ i16: unit }, zone === null ? null : { ref: { text: zone } }];
        // Nanoseconds of 64 bits reach from 1677 to 2262.
        return this.#long(
          10,
          slots,
          () => Math.floor((random.fraction() - 0.5) * 1.8e10 * Math.min(1000 ** unit, 1e9)),
        );
      },
      () => this.#long(18, [{ i16: unit }], () => Math.floor((random.fraction() - 0.5) * 1e9)),
      () => this.#interval(random.below(3)),
      () => this.#binary(random.pick([4, 5, 19, 20])),
      () => this.#view(random.pick([23, 24])),
      () => {
        const width = random.pick([1, 5, 16]);
        return this.#fixed(15, [{ i32: width }], 8 * width, (view, at) => this.#bytes(view, at, width));
      },
    ];
    return random.pick(kinds)();
  }

  #nested(depth: number): RandomType {
    const random = this.#random;
    const child = (): RandomType => this.any(depth + 1);
    const kinds: (() => RandomType)[] = [
      () => this.#list(random.pick([12, 21]), child()),
      () => this.#list(12, child()),
      () => this.#listView(random.pick([25, 26]), child()),
      () => this.#fixedSizeList(random.below(4), child()),
      () => this.#struct(Array.from({ length: random.below(4) }, child)),
      () => this.#struct([child(), child()]),
      () =>
        this.#map(
          random.pick([
            this.#binary(5),
            this.#fixed(2, [{ i32: 32 }, { u8: 1 }], 32, (view, at) => this.#bytes(view, at, 4)),
          ]),
          child(),
        ),
      () => this.#union(random.below(2) as 0 | 1, [child(), child()]),
    ];
    return random.pick(kinds)();
  }

  #of(
    number: number,
    slots: Slot[],
    fill: RandomType["fill"],
    children: readonly [name: string, type: RandomType, nullable: boolean][] = [],
  ): RandomType {
    return {
      fill,
      field: (name, nullable = true) =>
        notNullable(
          field(name, number, slots, children.map(([each, type, isNullable]) => type.field(each, isNullable))),
          nullable,
        ),
    };
  }

  /** Node and validity bitmap. @returns which values are null */
  #validity(length: number, nullable: boolean, parts: Parts): boolean[] {
    const random = this.#random;
    const share = nullable ? random.pick([0, 0, 0.2, 1]) : 0;
    const nulls = Array.from({ length }, () => random.chance(share));
    const count = nulls.filter((isNull) => isNull).length;
    parts.nodes.push(length, count);
    // A bitmap without nulls may be there, too.
    if (count === 0 && random.chance(0.7)) parts.buffers.push(new Uint8Array(0));
    else {
      const bitmap = new Uint8Array(Math.ceil(length / 8));
      nulls.forEach((isNull, i) => isNull || (bitmap[i >> 3] |= 1 << (i & 7)));
      parts.buffers.push(bitmap);
    }
    return nulls;
  }

  #bytes(view: DataView, at: number, count: number): void {
    const edge = this.#random.below(8);
    for (let i = 0; i < count; i++) {
      view.setUint8(
        at + i,
        edge === 0 ? 0xff : edge === 1 ? 0 : edge === 2 && i === count - 1 ? 0x7f : this.#random.below(256),
      );
    }
  }

  #fixed(number: number, slots: Slot[], bits: number, write: (view: DataView, at: number) => void): RandomType {
    return this.#of(number, slots, (length, nullable, parts) => {
      this.#validity(length, nullable, parts);
      const bytes = new Uint8Array(Math.ceil(length * bits / 8)), view = new DataView(bytes.buffer);
      for (let at = 0; at < bytes.byteLength; at += Math.max(1, bits / 8)) write(view, at);
      parts.buffers.push(bytes);
    });
  }

  #long(number: number, slots: Slot[], make: () => number): RandomType {
    return this.#fixed(number, slots, 64, (view, at) => view.setBigInt64(at, BigInt(make()), true));
  }

  #float(precision: number): RandomType {
    const random = this.#random;
    const special = [NaN, Infinity, -Infinity, -0, 0, 1.5];
    const value = (): number => random.chance(0.2) ? random.pick(special) : (random.fraction() - 0.5) * 1000;
    return this.#fixed(3, [{ i16: precision }], 16 << precision, (view, at) => {
      if (precision === 0) view.setFloat16(at, value(), true);
      else if (precision === 1) view.setFloat32(at, value(), true);
      else view.setFloat64(at, value(), true);
    });
  }

  #decimal(bits: number): RandomType {
    const most = { 32: 9, 64: 18, 128: 38, 256: 76 }[bits]!;
    const precision = this.#random.between(1, most), scale = this.#random.below(precision + 1);
    return this.#fixed(7, [{ i32: precision }, { i32: scale }, { i32: bits }], bits, (view, at) => {
      const digits = Array.from({ length: this.#random.between(1, precision) }, () => this.#random.below(10)).join("");
      let value = BigInt.asUintN(bits, BigInt(digits) * (this.#random.below(2) === 0 ? 1n : -1n));
      for (let i = 0; i < bits / 32; i++, value >>= 32n) view.setUint32(at + 4 * i, Number(value & 0xffff_ffffn), true);
    });
  }

  #interval(unit: number): RandomType {
    const random = this.#random;
    const small = (): number => random.between(-1000, 1000);
    return this.#fixed(11, [{ i16: unit }], [32, 64, 128][unit], (view, at) => {
      view.setInt32(at, small(), true);
      if (unit > 0) view.setInt32(at + 4, small(), true);
      if (unit === 2) view.setBigInt64(at + 8, BigInt(small()) * 1_000_000n, true);
    });
  }

  /** Text or bytes. */
  #value(isText: boolean): Uint8Array {
    const random = this.#random;
    const length = random.pick([0, 1, 5, 12, 13, 30]);
    if (!isText) return Uint8Array.from({ length }, () => random.below(256));
    return new TextEncoder().encode(Array.from({ length }, () => random.pick([...'ab,"\n é値😀\0'])).join(""));
  }

  #binary(number: number): RandomType {
    const isLarge = number === 19 || number === 20, isText = number === 5 || number === 20;
    return this.#of(number, [], (length, nullable, parts) => {
      this.#validity(length, nullable, parts);
      // Values of a slice do not begin at byte 0.
      const before = this.#random.pick([0, 0, 3]);
      const values = Array.from({ length }, () => this.#value(isText));
      this.#offsets(length, before, (i) => values[i].byteLength, isLarge, parts);
      parts.buffers.push(concat([new Uint8Array(before).fill(97), ...values, new Uint8Array(before)]));
    });
  }

  #offsets(length: number, start: number, sizeOf: (i: number) => number, isLarge: boolean, parts: Parts): number {
    const offsets = [start];
    for (let i = 0; i < length; i++) offsets.push(offsets[i] + sizeOf(i));
    parts.buffers.push(isLarge ? bytesOf(BigInt64Array.from(offsets, BigInt)) : bytesOf(Int32Array.from(offsets)));
    return offsets[length];
  }

  #view(number: number): RandomType {
    return this.#of(number, [], (length, nullable, parts) => {
      this.#validity(length, nullable, parts);
      const count = this.#random.below(3);
      const data: Uint8Array[][] = Array.from({ length: count }, () => []), ends = new Array(count).fill(0);
      const views = new Uint8Array(16 * length), view = new DataView(views.buffer);
      for (let i = 0; i < length; i++) {
        let value = this.#value(number === 24);
        if (count === 0 && value.byteLength > 12) value = new Uint8Array(0);
        view.setInt32(16 * i, value.byteLength, true);
        views.set(value.subarray(0, value.byteLength > 12 ? 4 : 12), 16 * i + 4);
        if (value.byteLength <= 12) continue;
        const buffer = this.#random.below(count);
        view.setInt32(16 * i + 8, buffer, true);
        view.setInt32(16 * i + 12, ends[buffer], true);
        data[buffer].push(value);
        ends[buffer] += value.byteLength;
      }
      parts.buffers.push(views, ...data.map(concat));
      parts.variadicCounts.push(count);
    });
  }

  #list(number: number, child: RandomType): RandomType {
    return this.#of(number, [], (length, nullable, parts) => {
      this.#validity(length, nullable, parts);
      const before = this.#random.pick([0, 0, 2]);
      const end = this.#offsets(length, before, () => this.#random.below(4), number === 21, parts);
      child.fill(end + before, true, parts);
    }, [["item", child, true]]);
  }

  /** Ranges in any order, which may overlap. */
  #listView(number: number, child: RandomType): RandomType {
    return this.#of(number, [], (length, nullable, parts) => {
      this.#validity(length, nullable, parts);
      const total = this.#random.below(10);
      const starts = Array.from({ length }, () => this.#random.below(total + 1));
      const sizes = starts.map((start) => this.#random.below(Math.min(4, total - start + 1)));
      for (const numbers of [starts, sizes]) {
        parts.buffers.push(
          number === 26 ? bytesOf(BigInt64Array.from(numbers, BigInt)) : bytesOf(Int32Array.from(numbers)),
        );
      }
      child.fill(total, true, parts);
    }, [["item", child, true]]);
  }

  #fixedSizeList(size: number, child: RandomType): RandomType {
    return this.#of(16, [{ i32: size }], (length, nullable, parts) => {
      this.#validity(length, nullable, parts);
      child.fill(length * size, true, parts);
    }, [["item", child, true]]);
  }

  #struct(children: readonly RandomType[]): RandomType {
    return this.#of(13, [], (length, nullable, parts) => {
      this.#validity(length, nullable, parts);
      for (const child of children) child.fill(length, true, parts);
    }, children.map((child, i) => [`f${i}`, child, true]));
  }

  #map(key: RandomType, value: RandomType): RandomType {
    const entries = this.#of(13, [], (length, _, parts) => {
      parts.nodes.push(length, 0);
      parts.buffers.push(new Uint8Array(0));
      key.fill(length, false, parts);
      value.fill(length, true, parts);
    }, [["key", key, false], ["value", value, true]]);
    return this.#of(17, [{ u8: 0 }], (length, nullable, parts) => {
      this.#validity(length, nullable, parts);
      const end = this.#offsets(length, 0, () => this.#random.below(3), false, parts);
      entries.fill(end, false, parts);
    }, [["entries", entries, false]]);
  }

  #union(mode: 0 | 1, children: readonly RandomType[]): RandomType {
    const ids = [3, 7];
    return this.#of(14, [{ i16: mode }, { ref: { ints: ids } }], (length, _, parts) => {
      parts.nodes.push(length, 0);
      const chosen = Array.from({ length }, () => this.#random.below(children.length));
      parts.buffers.push(Uint8Array.from(chosen, (child) => ids[child]));
      const counts = children.map(() => 0);
      const places = chosen.map((child) => counts[child]++);
      if (mode === 1) parts.buffers.push(bytesOf(Int32Array.from(places)));
      children.forEach((child, i) => child.fill(mode === 0 ? length : counts[i], true, parts));
    }, children.map((child, i) => [`u${i}`, child, true]));
  }

  #runEnds(): RandomType {
    const value = this.#flat();
    const ends = this.#of(2, [{ i32: 32 }, { u8: 1 }], () => {});
    return this.#of(22, [], (length, _, parts) => {
      parts.nodes.push(length, 0);
      const runs: number[] = [];
      for (let end = 0; end < length;) runs.push(end += this.#random.between(1, 4));
      if (runs.length > 0 && this.#random.chance(0.7)) runs[runs.length - 1] = length;
      parts.nodes.push(runs.length, 0);
      parts.buffers.push(new Uint8Array(0), bytesOf(Int32Array.from(runs)));
      value.fill(runs.length, true, parts);
    }, [["run_ends", ends, false], ["values", value, true]]);
  }

  #dictionary(depth: number): RandomType {
    const isSimple = this.#random.chance(0.8);
    const values = isSimple ? this.#flat() : this.#nested(depth + 1);
    const { id, length: valuesNow } = this.#dictionaries.add(values, isSimple);
    const bits = this.#random.pick([8, 16, 32, 64]), isSigned = this.#random.below(2);
    const index: FlatObject = { table: [{ i32: bits }, { u8: isSigned }] };
    return {
      // Always nullable: a dictionary without values leaves nothing but nulls.
      field: (name) => {
        const plain = values.field(name) as { table: Slot[] };
        const table = plain.table.slice();
        table[4] = { ref: { table: [{ i64: id }, { ref: index }, { u8: 0 }] } };
        return { table };
      },
      fill: (length, nullable, parts) => {
        const count = valuesNow();
        // Without values there are only nulls.
        this.#validityOf(length, nullable, count === 0, parts);
        const bytes = new Uint8Array(length * bits / 8), view = new DataView(bytes.buffer);
        const most = Math.min(count, 127);
        for (let i = 0; i < length; i++) if (most > 0) view.setUint8(i * bits / 8, this.#random.below(most));
        parts.buffers.push(bytes);
      },
    };
  }

  #validityOf(length: number, nullable: boolean, mustBeNull: boolean, parts: Parts): void {
    if (!mustBeNull) return void this.#validity(length, nullable, parts);
    parts.nodes.push(length, length);
    parts.buffers.push(new Uint8Array(Math.ceil(length / 8)));
  }
}

function notNullable(object: FlatObject, nullable: boolean): FlatObject {
  const table = (object as { table: Slot[] }).table.slice();
  table[1] = { u8: nullable ? 1 : 0 };
  return { table };
}

function bytesOf(array: Int32Array | BigInt64Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function concat(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.byteLength;
  }
  return all;
}
