/**
 * The columns of an imported batch by their addresses.
 *
 * @module
 */
import { type BufferRole, BUFFERS } from "../ipc/buffers.ts";
import type { ArrowType, FieldLayout, NodePlan } from "../ipc/layout.ts";
import type { ArrayNumbers } from "./numbers.ts";

/** One buffer of a column. */
export interface ForeignBuffer {
  /** Address of its first byte, in the memory of the batch's device. `0n` if it has no bytes. */
  readonly address: bigint;
  /** Size in bytes, without padding. */
  readonly byteLength: number;
}

/**
 * A column in place. Lengths are in values. Which buffers a column has follows from its type, as in Arrow's columnar format;
 * the others are `null`. A slice's offset is part of the addresses already.
 */
export interface ForeignColumn {
  /** Name of the field. */
  readonly name: string;
  /** Type of the values in the buffers: for a dictionary-encoded column that of the indices. */
  readonly type: ArrowType;
  /** Whether values may be null. */
  readonly nullable: boolean;
  /** Number of values. */
  readonly length: number;
  /** Number of nulls. */
  readonly nullCount: number;
  /** One bit per value, least significant first, 0 for nulls; `null` if the column has no nulls, or no bitmap. */
  readonly validity: ForeignBuffer | null;
  /** Binary, text, lists and maps: `length + 1` offsets; list views and dense unions: `length` offsets. */
  readonly offsets: ForeignBuffer | null;
  /** List views: `length` sizes. */
  readonly sizes: ForeignBuffer | null;
  /** Unions: `length` type ids of 8 bits. */
  readonly typeIds: ForeignBuffer | null;
  /** Values of fixed width, bytes of binary and text, or `length` views of 16 bytes. */
  readonly data: ForeignBuffer | null;
  /** View types: the buffers that hold long values. */
  readonly variadic: readonly ForeignBuffer[];
  /** Fields of a struct or union, items of a list, or run ends and values of a run-end encoded column. */
  readonly children: readonly ForeignColumn[];
  /** Dictionary id of a dictionary-encoded column, otherwise `null`. */
  readonly dictionaryId: bigint | null;
  /** The values of a dictionary-encoded column, whose `data` are indices; otherwise `null`. */
  readonly dictionary: ForeignColumn | null;
}

/** The numbers of a tree, and the address of each of its buffers. */
export interface PlacedNumbers {
  /** Its nodes. */
  readonly plan: NodePlan;
  readonly numbers: ArrayNumbers;
  /** Address of a buffer as it is to be read, 0 if it has no bytes. */
  readonly placeOf: (index: number) => number;
}

/**
 * The columns of a batch.
 *
 * @param batch Their locations
 * @param dictionaryOf Locations of the values of a dictionary
 */
export function foreignColumns(
  batch: PlacedNumbers,
  dictionaryOf: (id: bigint) => PlacedNumbers,
): ForeignColumn[] {
  const walk = new Walk(batch, dictionaryOf);
  return batch.plan.roots.map((field) => walk.column(field, field.dictionary !== null));
}

class Walk {
  readonly #placed: PlacedNumbers;
  readonly #dictionaryOf: (id: bigint) => PlacedNumbers;
  #node = 0;
  #buffer = 0;
  #view = 0;

  constructor(placed: PlacedNumbers, dictionaryOf: (id: bigint) => PlacedNumbers) {
    this.#placed = placed;
    this.#dictionaryOf = dictionaryOf;
  }

  column(field: FieldLayout, isEncoded: boolean): ForeignColumn {
    const { nodes, variadicCounts } = this.#placed.numbers;
    const node = this.#node++;
    const nullCount = nodes[2 * node + 1];
    const found: Partial<Record<BufferRole, ForeignBuffer>> = {};
    const variadic: ForeignBuffer[] = [];
    for (const { role } of BUFFERS[this.#placed.plan.kinds[node]]) {
      if (role !== "variadic") found[role] = this.#next();
      else for (let left = variadicCounts[this.#view++]; left > 0; left--) variadic.push(this.#next());
    }
    return {
      name: field.name,
      type: isEncoded ? field.dictionary!.index : field.type,
      nullable: field.nullable,
      length: nodes[2 * node],
      nullCount,
      validity: nullCount === 0 ? null : found.validity ?? null,
      offsets: found.offsets ?? null,
      sizes: found.sizes ?? null,
      typeIds: found.typeIds ?? null,
      data: found.data ?? null,
      variadic,
      children: isEncoded ? [] : field.children.map((child) => this.column(child, child.dictionary !== null)),
      dictionaryId: isEncoded ? field.dictionary!.id : null,
      dictionary: isEncoded ? this.#dictionary(field) : null,
    };
  }

  #dictionary(field: FieldLayout): ForeignColumn {
    const placed = this.#dictionaryOf(field.dictionary!.id);
    return new Walk(placed, this.#dictionaryOf).column(field, false);
  }

  #next(): ForeignBuffer {
    const { buffers, leads } = this.#placed.numbers;
    const index = this.#buffer++;
    const address = BigInt(this.#placed.placeOf(index));
    return { address, byteLength: buffers[2 * index + 1] + (leads?.get(index) ?? 0) };
  }
}
