/**
 * The content of a verified schema: its fields, and the flat list of nodes and buffers that its batches must have.
 *
 * @module
 */
import { unexpected } from "../errors.ts";
import { fixedBufferCount, NodeKind } from "./buffers.ts";

/** Units of times, timestamps and durations. */
export type TimeUnitName = "s" | "ms" | "us" | "ns";

/** An Arrow data type as in the schema, apart from its children and its dictionary encoding. */
export type ArrowType =
  | { readonly id: "null" }
  | { readonly id: "bool" }
  | { readonly id: "binary" }
  | { readonly id: "utf8" }
  | { readonly id: "large_binary" }
  | { readonly id: "large_utf8" }
  | { readonly id: "binary_view" }
  | { readonly id: "utf8_view" }
  | { readonly id: "list" }
  | { readonly id: "large_list" }
  | { readonly id: "list_view" }
  | { readonly id: "large_list_view" }
  | { readonly id: "struct" }
  | { readonly id: "run_end_encoded" }
  | { readonly id: "int"; readonly bitWidth: 8 | 16 | 32 | 64; readonly signed: boolean }
  | { readonly id: "float"; readonly bitWidth: 16 | 32 | 64 }
  | {
    readonly id: "decimal";
    readonly bitWidth: 32 | 64 | 128 | 256;
    readonly precision: number;
    readonly scale: number;
  }
  | { readonly id: "date"; readonly unit: "day" | "ms" }
  | { readonly id: "time"; readonly unit: TimeUnitName; readonly bitWidth: 32 | 64 }
  | { readonly id: "timestamp"; readonly unit: TimeUnitName; readonly timezone: string | null }
  | { readonly id: "duration"; readonly unit: TimeUnitName }
  | { readonly id: "interval"; readonly unit: "year_month" | "day_time" | "month_day_nano" }
  | { readonly id: "fixed_size_binary"; readonly byteWidth: number }
  | { readonly id: "fixed_size_list"; readonly listSize: number }
  | { readonly id: "map"; readonly keysSorted: boolean }
  | { readonly id: "union"; readonly mode: "sparse" | "dense"; readonly typeIds: readonly number[] };

/** How a field's values are replaced by indices into a dictionary. */
export interface DictionaryLayout {
  /** Dictionary id, unique in the schema unless shared on purpose. */
  readonly id: bigint;
  /** Type of the indices. */
  readonly index: { readonly id: "int"; readonly bitWidth: 8 | 16 | 32 | 64; readonly signed: boolean };
  /** Whether the order of the values is meaningful. */
  readonly ordered: boolean;
}

/** One field of the schema, at any depth. */
export interface FieldLayout {
  readonly name: string;
  /** Names from the column down, joined by `.`, for messages. */
  readonly path: string;
  readonly nullable: boolean;
  /** Type of the values; for a dictionary-encoded field that of the dictionary's values. */
  readonly type: ArrowType;
  readonly children: readonly FieldLayout[];
  readonly dictionary: DictionaryLayout | null;
  /** Custom metadata in order. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** The schema of a stream. */
export interface SchemaLayout {
  /** Byte order of the bodies. */
  readonly endianness: "little" | "big";
  /** Metadata version of the schema message. */
  readonly version: 4 | 5;
  readonly fields: readonly FieldLayout[];
  readonly metadata: ReadonlyMap<string, string>;
  /** What a record batch consists of. */
  readonly plan: NodePlan;
  /** What the dictionary batches of each id consist of. */
  readonly dictionaries: ReadonlyMap<bigint, DictionaryPlan>;
}

/** The values of one dictionary id. */
export interface DictionaryPlan {
  readonly id: bigint;
  /** The first field that uses it. */
  readonly field: FieldLayout;
  readonly plan: NodePlan;
}

/** What the length of a node must be, given its parent; the numbers are used in flat arrays. */
export const LengthRule = {
  /** Any length; offsets in the body decide. */
  free: 0,
  /** Exactly the rows of the batch. */
  rows: 1,
  /** At least the parent's length times `factor`. */
  covers: 2,
  /** Run ends: at least one if the parent has rows. */
  runEnds: 3,
  /** Values of runs: at least as many as run ends. */
  runValues: 4,
} as const;

/** The nodes of a message in the order in which its metadata lists them, as flat arrays. */
export class NodePlan {
  /** Nodes that a batch must have. */
  readonly nodeCount: number;
  /** Buffers that a batch must have, without variadic ones, by the metadata version of its message. */
  readonly bufferCounts: { readonly 4: number; readonly 5: number };
  /** View columns, each of which has a variadic count. */
  readonly viewCount: number;
  /** {@linkcode NodeKind} of each node. */
  readonly kinds: NodeKinds;
  /** Bits of one value, of fixed nodes. */
  readonly bits: Float64Array;
  /** {@linkcode LengthRule} of each node. */
  readonly rules: Uint8Array;
  /** Index of each node's parent. */
  readonly parents: Int32Array;
  /** Factor of the length rule. */
  readonly factors: Float64Array;
  /** Field of each node, for messages. */
  readonly fields: readonly FieldLayout[];
  /** The top-level fields. */
  readonly roots: readonly FieldLayout[];

  /**
   * @param roots Top-level fields
   * @param asValues True for the values of a dictionary: the dictionary encoding of the roots themselves is ignored
   */
  constructor(roots: readonly FieldLayout[], asValues = false) {
    const kinds: NodeKind[] = [];
    const bits: number[] = [];
    const rules: number[] = [];
    const parents: number[] = [];
    const factors: number[] = [];
    const fields: FieldLayout[] = [];
    const visit = (field: FieldLayout, isEncoded: boolean, parent: number, length: NodeLength): void => {
      const me = kinds.length;
      const { kind, bits: valueBits, children } = storageOf(isEncoded ? field.dictionary!.index : field.type);
      kinds.push(kind);
      bits.push(valueBits);
      rules.push(length.rule);
      parents.push(parent);
      factors.push(length.factor);
      fields.push(field);
      if (isEncoded) return;
      field.children.forEach((child, index) =>
        visit(child, child.dictionary !== null, me, children[Math.min(index, children.length - 1)])
      );
    };
    for (const root of roots) visit(root, root.dictionary !== null && !asValues, -1, AS_BATCH);
    this.roots = roots;
    this.nodeCount = kinds.length;
    this.bufferCounts = { 4: countBuffers(kinds, 4), 5: countBuffers(kinds, 5) };
    this.viewCount = kinds.filter((kind) => kind === NodeKind.view).length;
    this.kinds = Uint8Array.from(kinds) as unknown as NodeKinds;
    this.bits = Float64Array.from(bits);
    this.rules = Uint8Array.from(rules);
    this.parents = Int32Array.from(parents);
    this.factors = Float64Array.from(factors);
    this.fields = fields;
  }
}

/** A flat array of node kinds: a `Uint8Array`, whose elements are known to be kinds. */
export interface NodeKinds {
  readonly length: number;
  readonly [node: number]: NodeKind;
}

function countBuffers(kinds: readonly NodeKind[], version: 4 | 5): number {
  return kinds.reduce<number>((sum, kind) => sum + fixedBufferCount(kind, version), 0);
}

/** How long a node must be. */
interface NodeLength {
  /** One of {@linkcode LengthRule}. */
  readonly rule: number;
  readonly factor: number;
}

const AS_BATCH: NodeLength = { rule: LengthRule.rows, factor: 1 };
const ANY_LENGTH: NodeLength = { rule: LengthRule.free, factor: 1 };
const AS_PARENT: NodeLength = { rule: LengthRule.covers, factor: 1 };
const RUNS: readonly NodeLength[] = [{ rule: LengthRule.runEnds, factor: 1 }, {
  rule: LengthRule.runValues,
  factor: 1,
}];

/** How the values of a type are stored. */
export interface StorageLayout {
  readonly kind: NodeKind;
  /** Bits of one value of a fixed-width type, 0 for others. */
  readonly bits: number;
  /** How long each child must be; the last rule holds for all further children. */
  readonly children: readonly NodeLength[];
}

function storage(kind: NodeKind, children: NodeLength = ANY_LENGTH): StorageLayout {
  return { kind, bits: 0, children: [children] };
}

function fixed(bits: number): StorageLayout {
  return { kind: NodeKind.fixed, bits, children: [] };
}

/** How the values of a type are stored. */
export function storageOf(type: ArrowType): StorageLayout {
  switch (type.id) {
    case "null":
      return storage(NodeKind.none);
    case "bool":
      return fixed(1);
    case "int":
    case "float":
    case "decimal":
    case "time":
      return fixed(type.bitWidth);
    case "date":
      return fixed(type.unit === "day" ? 32 : 64);
    case "timestamp":
    case "duration":
      return fixed(64);
    case "interval":
      return fixed(type.unit === "year_month" ? 32 : type.unit === "day_time" ? 64 : 128);
    case "fixed_size_binary":
      return fixed(8 * type.byteWidth);
    case "binary":
    case "utf8":
      return storage(NodeKind.binary32);
    case "large_binary":
    case "large_utf8":
      return storage(NodeKind.binary64);
    case "binary_view":
    case "utf8_view":
      return storage(NodeKind.view);
    case "list":
    case "map":
      return storage(NodeKind.list32);
    case "large_list":
      return storage(NodeKind.list64);
    case "list_view":
      return storage(NodeKind.listView32);
    case "large_list_view":
      return storage(NodeKind.listView64);
    case "struct":
      return storage(NodeKind.validity, AS_PARENT);
    case "fixed_size_list":
      return storage(NodeKind.validity, { rule: LengthRule.covers, factor: type.listSize });
    case "union":
      return type.mode === "sparse" ? storage(NodeKind.sparseUnion, AS_PARENT) : storage(NodeKind.denseUnion);
    case "run_end_encoded":
      return { kind: NodeKind.none, bits: 0, children: RUNS };
    default:
      return unexpected(type);
  }
}
