/**
 * The tree of a column: what each field of it becomes in Parquet's schema, and how its values get to the encoders.
 *
 * @module
 */
import { typeText } from "../../ipc/describe.ts";
import type { FieldLayout } from "../../ipc/layout.ts";
import { ChunkEncoder } from "./chunk_encoder.ts";
import { Converted, Repetition, type SchemaElement } from "./format.ts";
import { type LeafType, leafType, unsupportedField } from "./leaf_types.ts";

/** A field of the schema and of batches. */
export type ColumnNode = LeafNode | GroupNode | ListNode;

interface NodeBase {
  /** The Arrow field; inside of run-end encoding that of the values. */
  readonly field: FieldLayout;
  /** Whether nulls have a level. */
  readonly isOptional: boolean;
}

/** Values. */
export interface LeafNode extends NodeBase {
  readonly kind: "leaf";
  readonly type: LeafType;
  readonly encoder: ChunkEncoder;
}

/** A struct. */
export interface GroupNode extends NodeBase {
  readonly kind: "group";
  readonly children: readonly ColumnNode[];
}

/** A list of any layout, or a map. */
export interface ListNode extends NodeBase {
  readonly kind: "list";
  /** Repetition level of elements after the first one of a list. */
  readonly level: number;
  readonly child: ColumnNode;
}

/** The columns of a file. */
export interface ColumnTree {
  readonly columns: readonly ColumnNode[];
  /** The root first, each group before its elements. */
  readonly schema: readonly SchemaElement[];
  /** In the order of the schema. */
  readonly encoders: readonly ChunkEncoder[];
  /** Length of the names of all columns, from the outermost field down, in characters. */
  readonly nameLength: number;
}

/** Memory for the pages of all columns, in bytes, and the least and most of it for each one. */
const PAGES_BYTES = 64 * 2 ** 20, LEAST_PAGE_BYTES = 16 * 2 ** 10, MOST_PAGE_BYTES = 2 ** 20;

/**
 * Plans the columns of a file.
 *
 * @param fields Fields of the Arrow schema
 * @throws {DipcError} `unsupported` naming the column that Parquet cannot hold
 */
export function planColumns(fields: readonly FieldLayout[]): ColumnTree {
  const share = Math.floor(PAGES_BYTES / Math.max(1, countLeaves(fields)));
  const planner = new Planner(Math.max(LEAST_PAGE_BYTES, Math.min(MOST_PAGE_BYTES, share)));
  planner.schema.push({ name: "schema", repetition: null, physical: null, children: fields.length });
  const columns = fields.map((field) => planner.plan(field, { path: [], definition: 0, repetition: 0 }));
  return { columns, schema: planner.schema, encoders: planner.encoders, nameLength: planner.nameLength };
}

function countLeaves(fields: readonly FieldLayout[]): number {
  return fields.reduce((sum, { children }) => sum + (children.length === 0 ? 1 : countLeaves(children)), 0);
}

/** The place of a field in the schema. */
interface Place {
  readonly path: readonly string[];
  readonly definition: number;
  readonly repetition: number;
}

/** What a field gets in the schema, whatever its Arrow name is. */
interface Role {
  readonly name?: string;
  /** Keys of maps are never null. */
  readonly isRequired?: boolean;
}

class Planner {
  readonly schema: SchemaElement[] = [];
  readonly encoders: ChunkEncoder[] = [];
  nameLength = 0;
  readonly #pageBytes: number;

  constructor(pageBytes: number) {
    this.#pageBytes = pageBytes;
  }

  plan(field: FieldLayout, place: Place, role: Role = {}, isNullable = field.nullable): ColumnNode {
    const { type, children, dictionary } = field;
    // Runs have no nulls of their own, their values have.
    if (type.id === "run_end_encoded" && dictionary === null) {
      const name = role.name ?? field.name;
      return this.plan(children[1], place, { ...role, name }, isNullable || children[1].nullable);
    }
    if (dictionary !== null && children.length > 0) {
      throw unsupportedField(field, "it is a dictionary of nested values");
    }
    const isOptional = (isNullable || type.id === "null") && role.isRequired !== true;
    const name = role.name ?? field.name;
    const repetition = isOptional ? Repetition.optional : Repetition.required;
    const inside = { ...place, path: [...place.path, name], definition: place.definition + (isOptional ? 1 : 0) };
    const element = { name, repetition, physical: null, fieldId: fieldIdOf(field) };
    switch (type.id) {
      case "struct":
        if (children.length === 0) throw unsupportedField(field, "it is a struct without fields");
        this.schema.push({ ...element, children: children.length });
        return { kind: "group", field, isOptional, children: children.map((child) => this.plan(child, inside)) };
      case "list":
      case "large_list":
      case "list_view":
      case "large_list_view":
      case "fixed_size_list":
        return this.#list(field, isOptional, element, inside);
      case "map":
        return this.#map(field, isOptional, element, inside);
      case "union":
        throw unsupportedField(field, `its type is ${typeText(field)}`);
      default:
        return this.#leaf(field, isOptional, element, inside);
    }
  }

  #leaf(field: FieldLayout, isOptional: boolean, element: SchemaElement, place: Place): LeafNode {
    const type = leafType(field);
    const { physical, length, converted, logical } = type;
    this.schema.push({ ...element, physical, length, converted, logical });
    const { path, definition: maxDefinition, repetition: maxRepetition } = place;
    const encoder = new ChunkEncoder({ field, type, path, maxDefinition, maxRepetition, pageBytes: this.#pageBytes });
    this.encoders.push(encoder);
    for (const name of path) this.nameLength += name.length;
    return { kind: "leaf", field, isOptional, type, encoder };
  }

  #list(field: FieldLayout, isOptional: boolean, element: SchemaElement, place: Place): ListNode {
    this.schema.push({ ...element, children: 1, converted: Converted.list, logical: { id: "list" } });
    const inside = this.#repeated("list", 1, place);
    const child = this.plan(field.children[0], inside, { name: "element" });
    return { kind: "list", field, isOptional, level: inside.repetition, child };
  }

  #map(field: FieldLayout, isOptional: boolean, element: SchemaElement, place: Place): ListNode {
    const [entries] = field.children;
    if (entries.children.length !== 2) throw unsupportedField(field, "it is a map without keys and values");
    const [key, value] = entries.children;
    this.schema.push({ ...element, children: 1, converted: Converted.map, logical: { id: "map" } });
    const inside = this.#repeated("key_value", 2, place);
    const children = [
      this.plan(key, inside, { name: "key", isRequired: true }),
      this.plan(value, inside, { name: "value" }),
    ];
    const child: GroupNode = { kind: "group", field: entries, isOptional: false, children };
    return { kind: "list", field, isOptional, level: inside.repetition, child };
  }

  /** The group between a list and its elements. */
  #repeated(name: string, children: number, { path, definition, repetition }: Place): Place {
    this.schema.push({ name, repetition: Repetition.repeated, physical: null, children });
    return { path: [...path, name], definition: definition + 1, repetition: repetition + 1 };
  }
}

/** The number of a field, as Arrow's libraries keep it. */
function fieldIdOf({ metadata }: FieldLayout): number | undefined {
  const text = metadata.get("PARQUET:field_id");
  return text !== undefined && /^-?\d{1,9}$/.test(text) ? Number(text) : undefined;
}
