/**
 * The schema of a Parquet file as a tree, and its leaves, which are the columns that have values.
 *
 * @module
 */
import type { LogicalType, ParquetType, SchemaElement } from "hyparquet";
import { MAX_DEPTH } from "../../ipc/flatbuffer.ts";
import { quoted } from "../../ipc/quote.ts";
import { damagedFooter, FooterFault } from "./fault.ts";

/** One element of the schema with those below it. */
export interface ParquetNode {
  readonly element: SchemaElement;
  readonly children: readonly ParquetNode[];
}

/** A column that has values. */
export interface LeafColumn {
  readonly element: SchemaElement;
  readonly type: ParquetType;
  /** Names from the column down. */
  readonly names: readonly string[];
  /** The same, joined by `.`, for messages. */
  readonly path: string;
  /** Whether a row may have several values. */
  readonly isRepeated: boolean;
  /** How many of its names are those of elements that may occur several times. */
  readonly repetitions: number;
}

/** The tree that the list of elements means. @throws {FooterFault} */
export function schemaTree(elements: readonly SchemaElement[]): ParquetNode {
  let next = 0;
  const read = (names: readonly string[]): ParquetNode => {
    const element = elements[next++];
    if (element === undefined) throw damagedFooter("its schema ends inside a group");
    checkElement(element);
    const path = next === 1 ? [] : [...names, element.name];
    if (path.length > MAX_DEPTH) throw damagedFooter(`its schema is nested deeper than ${MAX_DEPTH}`);
    const { num_children: count = 0 } = element;
    if (element.type !== undefined) {
      if (path.length === 0) throw damagedFooter("its schema has no root");
      return { element, children: [] };
    }
    if (count <= 0 && path.length > 0) throw emptyGroup(path);
    const children: ParquetNode[] = [];
    while (children.length < count) children.push(read(path));
    return { element, children };
  };
  const root = read([]);
  if (next !== elements.length) throw damagedFooter(`its schema has ${elements.length - next} elements too many`);
  return root;
}

/**
 * The leaves below a root, in order.
 *
 * @param mostNames Most characters of the names of all leaves, from the outermost group down
 * @throws {FooterFault}
 */
export function leavesOf(root: ParquetNode, mostNames = Infinity): LeafColumn[] {
  const leaves: LeafColumn[] = [];
  let nameLength = 0;
  const visit = ({ element, children }: ParquetNode, around: readonly string[], outer: number): void => {
    const names = [...around, element.name];
    const repetitions = outer + (element.repetition_type === "REPEATED" ? 1 : 0);
    if (element.type !== undefined) {
      const isRepeated = repetitions > 0;
      for (const name of names) nameLength += name.length;
      if (nameLength > mostNames) throw damagedFooter("the names of its columns are longer than it");
      leaves.push({ element, type: element.type, names, path: names.join("."), isRepeated, repetitions });
    }
    for (const child of children) visit(child, names, repetitions);
  };
  for (const child of root.children) visit(child, [], 0);
  return leaves;
}

/** Whether an element is an interval: 12 bytes with months, days and milliseconds. */
export function isInterval(element: SchemaElement): boolean {
  return element.converted_type === "INTERVAL" && element.type === "FIXED_LEN_BYTE_ARRAY" && element.type_length === 12;
}

function emptyGroup(path: readonly string[]): FooterFault {
  return new FooterFault(
    "unsupported",
    `its group ${quoted(path.join("."))} has no columns, which Parquet does not allow`,
  );
}

/** The reader of the footer takes any type for any field. */
function checkElement(element: SchemaElement): void {
  const { name, type_length, num_children, scale, precision, field_id } = element;
  const isGood = typeof name === "string" &&
    [type_length, num_children, scale, precision, field_id].every(isNumberOrAbsent) &&
    isGoodLogical(element.logical_type);
  if (!isGood) throw damagedFooter("an element of its schema has fields of the wrong type");
  if (element.type === "FIXED_LEN_BYTE_ARRAY" && !(type_length! >= 0)) {
    throw damagedFooter(`the length of ${quoted(name)} is ${type_length ?? "missing"}`);
  }
}

function isNumberOrAbsent(value: unknown): boolean {
  return value === undefined || Number.isInteger(value);
}

function isGoodLogical(logical: LogicalType | undefined): boolean {
  switch (logical?.type) {
    case "DECIMAL":
      return Number.isInteger(logical.scale) && Number.isInteger(logical.precision);
    case "INTEGER":
      return Number.isInteger(logical.bitWidth) && typeof logical.isSigned === "boolean";
    case "TIME":
    case "TIMESTAMP":
      return typeof logical.isAdjustedToUTC === "boolean";
    default:
      return true;
  }
}
