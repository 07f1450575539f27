/**
 * Arrays in guarded memory, one for each column of a batch, whose structures and contents are damaged and repaired again.
 *
 * The C data interface carries no sizes of buffers. So nothing is damaged in a way that only a size could show: lengths and offsets
 * become smaller or absurd, but not a little larger, and the last offset of a text does not grow.
 *
 * @module
 */
import { encodeSchemaMessage } from "../../../src/ipc/schema_writer.ts";
import { HeaderReader, type VerifiedHeader } from "../../../src/ipc/header.ts";
import { NodeKind } from "../../../src/ipc/buffers.ts";
import { C_LAYOUT } from "../../../src/c_data/structs.ts";
import type { Guard } from "../../support/c_peers.ts";
import type { Random } from "../../support/random.ts";

const AT = C_LAYOUT.ArrowArray;
const WORDS = AT.size / 8;

/** Native memory as words. */
export function wordsAt(address: bigint, count: number): BigInt64Array<ArrayBuffer> {
  const pointer = Deno.UnsafePointer.create(address)!;
  return new BigInt64Array(Deno.UnsafePointerView.getArrayBuffer(pointer, 8 * count) as ArrayBuffer);
}

/** Integers that no length, offset or count may be, and some that it may. */
const NUMBERS = [-1n, -2n, -(2n ** 63n), 2n ** 63n - 1n, 2n ** 62n, 2n ** 53n, 2n ** 40n, 0n, 1n, 2n, 3n];

/** Undoes one damage. */
type Repair = () => void;

/** A column that is imported as a batch of its own. */
export class Victim {
  readonly header: VerifiedHeader;
  readonly name: string;
  /** A structure with the column as its only child. */
  readonly root: BigInt64Array<ArrayBuffer>;
  readonly #structs: BigInt64Array<ArrayBuffer>[];
  readonly #kinds: NodeKind[];
  readonly #keep: unknown[] = [];

  /**
   * @param guard Sets a release that does nothing
   * @param whole The schema of the batch
   * @param index Number of the column
   * @param column Address of its `ArrowArray`
   */
  constructor(guard: Guard, whole: VerifiedHeader, index: number, column: bigint) {
    const field = whole.layout.fields[index];
    this.name = field.name;
    this.header = new HeaderReader().read(encodeSchemaMessage([field], new Map()));
    const found = new BigUint64Array(100);
    const count = Number(guard.guard_structs(column, new Uint8Array(found.buffer), 100n));
    this.#structs = Array.from(found.subarray(0, count), (address) => {
      guard.guard_set_static_release(address);
      return wordsAt(address, WORDS);
    });
    this.#kinds = this.#structs.map((_, i) => this.header.plan.kinds[i] ?? NodeKind.none);
    const lists = new BigUint64Array(32);
    lists[0] = column; // children
    lists[1] = 0n; // buffers
    const address = BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(lists)));
    const root = new BigInt64Array(32);
    root[AT.length / 8] = this.#structs[0][AT.length / 8];
    root[AT.n_buffers / 8] = 1n;
    root[AT.n_children / 8] = 1n;
    root[AT.buffers / 8] = address + 8n;
    root[AT.children / 8] = address;
    root[AT.release / 8] = this.#structs[0][AT.release / 8];
    this.root = root;
    this.#keep.push(lists);
  }

  /** Address of a copy of the root, which may be taken over. */
  copyRoot(target: BigInt64Array<ArrayBuffer>): void {
    target.set(this.root.subarray(0, WORDS));
  }

  /** Damages something. @returns what undoes it, and what it was */
  damage(random: Random): { repair: Repair; what: string } {
    const at = random.below(this.#structs.length + 1);
    const struct = at === 0 ? this.root : this.#structs[at - 1];
    if (at > 0 && random.chance(0.5)) return this.#damageContent(struct, this.#kinds[at - 1], random);
    return damageStruct(struct, random);
  }

  #damageContent(struct: BigInt64Array, kind: NodeKind, random: Random): { repair: Repair; what: string } {
    const count = Number(struct[AT.n_buffers / 8]);
    const length = Number(struct[AT.length / 8]);
    const none = { repair: () => {}, what: "nothing" };
    if (count === 0 || length === 0) return none;
    const list = wordsAt(BigInt.asUintN(64, struct[AT.buffers / 8]), count);
    if (random.chance(0.3)) return change(list, random.below(count), 0n, "a buffer that is missing");
    // The buffer whose content leads somewhere.
    const isOffsets = kind === NodeKind.binary32 || kind === NodeKind.list32 || kind === NodeKind.denseUnion;
    const isWide = kind === NodeKind.binary64 || kind === NodeKind.list64;
    const isView = kind === NodeKind.view;
    const index = kind === NodeKind.sparseUnion ? 0 : isView && count > 3 && random.chance(0.3) ? count - 1 : 1;
    if (index >= count || list[index] === 0n) return none;
    const address = BigInt.asUintN(64, list[index]);
    if (isView && index === count - 1) {
      // Sizes of the data buffers: larger ones could not be noticed.
      return change(
        wordsAt(address, count - 3),
        random.below(count - 3),
        random.pick([-1n, -(2n ** 63n), 0n, 1n]),
        "a size",
      );
    }
    if (isWide) {
      const isLast = random.chance(0.3);
      const row = isLast ? length : random.below(length);
      return change(wordsAt(address, length + 1), row, isLast ? -1n : random.pick(NUMBERS), `offset ${row}`);
    }
    if (isOffsets) {
      const last = kind === NodeKind.denseUnion ? length - 1 : length;
      const words = new Int32Array(
        Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(address)!, 4 * (last + 1)),
      );
      const row = random.below(last + 1);
      const isText = kind === NodeKind.binary32 && row === last;
      const old = words[row];
      words[row] = random.pick(isText ? [-1, 0, -(2 ** 31)] : [-1, 0, 5, 2 ** 31 - 1, -(2 ** 31)]);
      return { repair: () => words[row] = old, what: `offset ${row}` };
    }
    if (!isView && kind !== NodeKind.fixed && kind !== NodeKind.sparseUnion) return none;
    // The first bytes of views, indices, run ends and type ids.
    const bytes = new Uint8Array(
      Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(address)!, 1 + (length - 1 >> 3)),
    );
    const byte = random.below(bytes.length);
    const old = bytes[byte];
    bytes[byte] = random.below(256);
    return { repair: () => bytes[byte] = old, what: `byte ${byte} of buffer ${index}` };
  }
}

function change(words: BigInt64Array, at: number, value: bigint, what: string): { repair: Repair; what: string } {
  const old = words[at];
  words[at] = value;
  return { repair: () => words[at] = old, what: `${what}: ${value} for ${old}` };
}

function damageStruct(struct: BigInt64Array, random: Random): { repair: Repair; what: string } {
  const field = random.pick(
    [
      "length",
      "null_count",
      "offset",
      "n_buffers",
      "n_children",
      "buffers",
      "children",
      "dictionary",
      "release",
    ] as const,
  );
  const at = AT[field] / 8;
  switch (field) {
    case "buffers":
    case "children":
    case "release":
      return change(struct, at, 0n, field);
    case "dictionary":
      return change(struct, at, struct[at] === 0n ? 8n : 0n, field);
    case "length":
      return change(
        struct,
        at,
        random.chance(0.5)
          ? struct[at] - 1n
          : random.pick(NUMBERS.filter((n) => n < 0n || n > 2n ** 50n || n < struct[at])),
        field,
      );
    case "offset":
      return change(struct, at, random.pick(NUMBERS.filter((n) => n < 0n || n > 2n ** 50n)), field);
    default:
      return change(struct, at, random.pick(NUMBERS), field);
  }
}
