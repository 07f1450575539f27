/**
 * What the batches of a schema have in common, decided once per stream.
 *
 * @module
 */
import { type DataType, type Dictionary, type Schema, Struct } from "apache-arrow";
import { fixedBufferCount, NodeKind } from "./buffers.ts";
import { type ColumnPlan, planColumn } from "./column_plan.ts";
import type { VerifiedHeader } from "./header.ts";
import { type BatchShape, lazyChildrenClass } from "./lazy_batch.ts";
import type { FieldLayout, SchemaLayout } from "./layout.ts";

/**
 * What all batches of a schema have in common.
 *
 * @param layout The schema
 * @param schema The same as apache-arrow represents it
 */
export function shapeOf(layout: SchemaLayout, schema: Schema): BatchShape {
  const columns = layout.fields.map((field, index) => planColumn(field, schema.fields[index].type));
  return { schema, struct: new Struct(schema.fields), columns, Children: lazyChildrenClass(columns.length) };
}

/** How the values of each dictionary of a schema are built. */
export function dictionaryPlans(layout: SchemaLayout, schema: Schema): Map<bigint, ColumnPlan> {
  const valueTypes = dictionaryTypes(layout.fields, schema.fields.map((field) => field.type));
  const plans = new Map<bigint, ColumnPlan>();
  for (const { id, field } of layout.dictionaries.values()) {
    plans.set(id, planColumn(field, valueTypes.get(id)!, true));
  }
  return plans;
}

/** Indices of the first node, buffer and variadic count of each top-level column. */
export function columnStarts(header: VerifiedHeader): Float64Array {
  const { plan, version, variadicCounts } = header;
  const starts = new Float64Array(3 * plan.roots.length);
  let column = 0;
  let buffer = 0;
  let view = 0;
  for (let node = 0; node < plan.nodeCount; node++) {
    if (plan.parents[node] < 0) starts.set([node, buffer, view], 3 * column++);
    buffer += fixedBufferCount(plan.kinds[node], version);
    if (plan.kinds[node] === NodeKind.view) buffer += variadicCounts[view++];
  }
  return starts;
}

/** The type of each dictionary's values in apache-arrow's schema. */
export function dictionaryTypes(
  fields: readonly FieldLayout[],
  types: readonly DataType[],
  into: Map<bigint, DataType> = new Map(),
): Map<bigint, DataType> {
  fields.forEach((field, index) => {
    let type = types[index];
    if (field.dictionary !== null) {
      type = (type as Dictionary).dictionary;
      if (!into.has(field.dictionary.id)) into.set(field.dictionary.id, type);
    }
    dictionaryTypes(field.children, (type.children ?? []).map((child) => child.type), into);
  });
  return into;
}
