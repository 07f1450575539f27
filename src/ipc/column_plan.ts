/**
 * How the column of a field is built, decided once per stream.
 *
 * @module
 */
import type { DataType, Dictionary } from "apache-arrow";
import type { NodeKind } from "./buffers.ts";
import { type FieldLayout, storageOf } from "./layout.ts";

/** The arrays that hold the values of fixed-width types. */
export type NumberArray =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array;

interface ArrayConstructor {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): NumberArray;
}

/** How to build the `Data` of one field. */
export interface ColumnPlan {
  readonly field: FieldLayout;
  readonly type: DataType;
  readonly kind: NodeKind;
  /** Array of the values of a fixed-width type. */
  readonly array: ArrayConstructor;
  /** Array elements of one value; 0 for booleans, which are counted in bits. */
  readonly stride: number;
  readonly children: readonly ColumnPlan[];
  /** Dictionary id, or `null` if the column is not dictionary-encoded. */
  readonly dictionaryId: bigint | null;
}

/** Plans the column of `field`, whose type in apache-arrow is `type`. */
export function planColumn(field: FieldLayout, type: DataType, asValues = false): ColumnPlan {
  const isEncoded = field.dictionary !== null && !asValues;
  const physical = isEncoded ? (type as Dictionary).indices as DataType : type;
  const layoutType = isEncoded ? field.dictionary!.index : field.type;
  const { kind, bits } = storageOf(layoutType);
  const array = (physical.ArrayType ?? Uint8Array) as unknown as ArrayConstructor;
  return {
    field,
    type,
    kind,
    array,
    stride: layoutType.id === "bool" ? 0 : bits / 8 / (array.BYTES_PER_ELEMENT ?? 1),
    children: isEncoded ? [] : field.children.map((child, index) => planColumn(child, type.children[index].type)),
    dictionaryId: isEncoded ? field.dictionary!.id : null,
  };
}
