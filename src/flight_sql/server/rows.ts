/**
 * Rows of plain values as tables: what metadata calls answer with.
 *
 * @module
 */
import {
  type Data,
  type DataType,
  type DenseUnion,
  Field,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  Table,
  vectorFromArray,
} from "apache-arrow";
import type { EngineInfoValue } from "../engine.ts";

/** Positions in the union of SqlInfo's values. */
const TEXT = 0, TRUTH = 1, LONG = 2, BITS = 3, TEXTS = 4, LISTS = 5;

/**
 * A table of rows.
 *
 * @param schema Its schema
 * @param rows The values of each row, by the names of the columns
 */
export function tableOf(schema: Schema, rows: readonly Readonly<Record<string, unknown>>[]): Table {
  const columns = schema.fields.map(({ name, type }) => dataOf(rows.map((row) => row[name] ?? null), type));
  return tableFrom(schema, rows.length, columns);
}

/** The table of SqlInfo. @param schema Its schema @param values The values by number */
export function infoTable(schema: Schema, values: readonly (readonly [number, EngineInfoValue])[]): Table {
  const [name, value] = schema.fields;
  const numbers = dataOf(values.map(([number]) => number), name.type);
  return tableFrom(schema, values.length, [numbers, unionOf(value.type as DenseUnion, values.map(([, each]) => each))]);
}

function tableFrom(schema: Schema, length: number, children: Data[]): Table {
  // A batch without rows has no metadata of its own.
  const batch = new RecordBatch(
    new Schema(schema.fields.map((field) => new Field(field.name, field.type, field.nullable, field.metadata))),
    makeData({ type: new Struct(schema.fields), length, nullCount: 0, children }),
  );
  return new Table(batch.schema, [batch]);
}

function dataOf(values: readonly unknown[], type: DataType): Data {
  const vector = vectorFromArray([...values], type);
  return vector.data[0] ?? makeData({ type, length: 0 } as never);
}

function unionOf(type: DenseUnion, values: readonly EngineInfoValue[]): Data {
  const children = type.children.map((): unknown[] => []);
  const typeIds = Int8Array.from(values, positionOf);
  const valueOffsets = Int32Array.from(values, (value, i) => children[typeIds[i]].push(value) - 1);
  return makeData({
    type,
    length: values.length,
    typeIds,
    valueOffsets,
    children: type.children.map((field, i) => dataOf(children[i], field.type)),
  });
}

function positionOf(value: EngineInfoValue): number {
  switch (typeof value) {
    case "string":
      return TEXT;
    case "boolean":
      return TRUTH;
    case "bigint":
      return LONG;
    case "number":
      return BITS;
    default:
      return Array.isArray(value) ? TEXTS : LISTS;
  }
}
