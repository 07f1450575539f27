/**
 * What a verified schema says: its field tree, and for each field tree the flat list of nodes and buffers that a batch must have.
 *
 * @module
 */

/** Units of times, timestamps and durations. */
export type TimeUnitName = "s" | "ms" | "us" | "ns";

/** An Arrow data type as in the schema, apart from its children and its dictionary encoding. */
export type ArrowType =
  | { readonly id: "null" | "bool" | "binary" | "utf8" | "large_binary" | "large_utf8" | "binary_view" | "utf8_view" }
  | { readonly id: "list" | "large_list" | "list_view" | "large_list_view" | "struct" | "run_end_encoded" }
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
  /** Whether the order of the dictionary means something. */
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
  /** The first field that uses it, with `dictionary` as its type says. */
  readonly field: FieldLayout;
  readonly plan: NodePlan;
}

/** Which buffers a node has; the numbers are used in flat arrays. */
export const NodeKind = {
  /** No buffers: null, run-end encoded. */
  none: 0,
  /** Validity, values of a fixed number of bits. */
  fixed: 1,
  /** Validity, n + 1 32-bit offsets, bytes. */
  binary32: 2,
  /** Validity, n + 1 64-bit offsets, bytes. */
  binary64: 3,
  /** Validity, n views of 16 bytes, any number of data buffers. */
  view: 4,
  /** Validity, n + 1 32-bit offsets; one child. */
  list32: 5,
  /** Validity, n + 1 64-bit offsets; one child. */
  list64: 6,
  /** Validity, n 32-bit offsets, n 32-bit sizes; one child. */
  listView32: 7,
  /** Validity, n 64-bit offsets, n 64-bit sizes; one child. */
  listView64: 8,
  /** Validity only: struct, fixed-size list. */
  validity: 9,
  /** Type ids; before metadata V5 an unused validity buffer comes first. */
  sparseUnion: 10,
  /** Type ids, n 32-bit offsets; before metadata V5 an unused validity buffer comes first. */
  denseUnion: 11,
} as const;

/** What the length of a node must be, given its parent; the numbers are used in flat arrays. */
export const LengthRule = {
  /** Anything; offsets in the body decide. */
  free: 0,
  /** Exactly the rows of the batch. */
  rows: 1,
  /** At least the parent's length times `factor`. */
  covers: 2,
  /** Run ends: at least one where the parent has rows. */
  runEnds: 3,
  /** Values of runs: at least as many as run ends. */
  runValues: 4,
} as const;

const BUFFERS: readonly number[] = [0, 2, 3, 3, 2, 2, 2, 3, 3, 1, 1, 2];

/** The nodes of a field tree in the order in which a batch lists them, as flat arrays. */
export class NodePlan {
  /** Nodes that a batch must have. */
  readonly nodeCount: number;
  /** Buffers that a batch must have, without variadic ones, under metadata V5. */
  readonly bufferCount: number;
  /** More buffers under metadata V4: one for each union. */
  readonly unionCount: number;
  /** View columns, and so entries of the variadic counts. */
  readonly viewCount: number;
  /** {@linkcode NodeKind} of each node. */
  readonly kinds: Uint8Array;
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
   * @param asValues True for the values of a dictionary: the roots' own dictionary encoding is taken off
   */
  constructor(roots: readonly FieldLayout[], asValues = false) {
    const kinds: number[] = [];
    const bits: number[] = [];
    const rules: number[] = [];
    const parents: number[] = [];
    const factors: number[] = [];
    const fields: FieldLayout[] = [];
    let bufferCount = 0;
    let unionCount = 0;
    let viewCount = 0;
    const visit = (field: FieldLayout, encoded: boolean, rule: number, parent: number, factor: number): void => {
      const me = kinds.length;
      const type = encoded ? field.dictionary!.index : field.type;
      const kind = kindOf(type);
      kinds.push(kind);
      bits.push(bitsOf(type));
      rules.push(rule);
      parents.push(parent);
      factors.push(factor);
      fields.push(field);
      bufferCount += BUFFERS[kind];
      if (kind === NodeKind.view) viewCount++;
      if (kind === NodeKind.sparseUnion || kind === NodeKind.denseUnion) unionCount++;
      if (encoded) return;
      field.children.forEach((child, index) => {
        let childRule: number = LengthRule.free;
        let childFactor = 1;
        if (type.id === "struct" || kind === NodeKind.sparseUnion) childRule = LengthRule.covers;
        if (type.id === "fixed_size_list") {
          childRule = LengthRule.covers;
          childFactor = type.listSize;
        }
        if (type.id === "run_end_encoded") childRule = index === 0 ? LengthRule.runEnds : LengthRule.runValues;
        visit(child, child.dictionary !== null, childRule, me, childFactor);
      });
    };
    for (const root of roots) visit(root, root.dictionary !== null && !asValues, LengthRule.rows, -1, 1);
    this.roots = roots;
    this.nodeCount = kinds.length;
    this.bufferCount = bufferCount;
    this.unionCount = unionCount;
    this.viewCount = viewCount;
    this.kinds = Uint8Array.from(kinds);
    this.bits = Float64Array.from(bits);
    this.rules = Uint8Array.from(rules);
    this.parents = Int32Array.from(parents);
    this.factors = Float64Array.from(factors);
    this.fields = fields;
  }

  /** Buffers of one node under metadata V5, without variadic ones. */
  buffersOf(node: number): number {
    return BUFFERS[this.kinds[node]];
  }

  /** Whether a node is a union, which has one buffer more under metadata V4. */
  isUnion(node: number): boolean {
    return this.kinds[node] === NodeKind.sparseUnion || this.kinds[node] === NodeKind.denseUnion;
  }
}

/** {@linkcode NodeKind} of a type. */
export function kindOf(type: ArrowType): number {
  switch (type.id) {
    case "null":
    case "run_end_encoded":
      return NodeKind.none;
    case "binary":
    case "utf8":
      return NodeKind.binary32;
    case "large_binary":
    case "large_utf8":
      return NodeKind.binary64;
    case "binary_view":
    case "utf8_view":
      return NodeKind.view;
    case "list":
    case "map":
      return NodeKind.list32;
    case "large_list":
      return NodeKind.list64;
    case "list_view":
      return NodeKind.listView32;
    case "large_list_view":
      return NodeKind.listView64;
    case "struct":
    case "fixed_size_list":
      return NodeKind.validity;
    case "union":
      return type.mode === "sparse" ? NodeKind.sparseUnion : NodeKind.denseUnion;
    default:
      return NodeKind.fixed;
  }
}

/** Bits of one value of a fixed-width type, 0 for others. */
export function bitsOf(type: ArrowType): number {
  switch (type.id) {
    case "bool":
      return 1;
    case "int":
    case "float":
    case "decimal":
    case "time":
      return type.bitWidth;
    case "date":
      return type.unit === "day" ? 32 : 64;
    case "timestamp":
    case "duration":
      return 64;
    case "interval":
      return type.unit === "year_month" ? 32 : type.unit === "day_time" ? 64 : 128;
    case "fixed_size_binary":
      return 8 * type.byteWidth;
    default:
      return 0;
  }
}
