/**
 * Locates the columns of apache-arrow's batches in memory.
 *
 * @module
 */
import type { Data, DataType, Dictionary, RecordBatch, Vector } from "apache-arrow";
import { DipcError } from "../errors.ts";
import { columnData } from "../ipc/column_data.ts";
import { checkContent } from "../ipc/content_checks.ts";
import { BodyLayout } from "../ipc/encode_columns.ts";
import type { NodePlan, SchemaLayout } from "../ipc/layout.ts";
import { quoted } from "../ipc/quote.ts";
import { pin } from "../memory/pins.ts";
import { concatenate } from "./concatenate.ts";
import type { ExportedArrays } from "./export_shape.ts";
import { type LocatedTree, placed } from "./located_tree.ts";
import { scratch } from "./raw.ts";

/** Arrays that stay in place while they are exported. */
export interface LocatedArrays extends ExportedArrays {
  /** Ends the use of the memory, which stays in place until then. */
  readonly release: () => void;
}

/**
 * Locates a batch, and checks its content the first time.
 *
 * @param batch The batch; not copied, but for what a slice or a missing buffer requires
 * @param layout Its schema
 * @throws {DipcError} `invalid_argument` if the batch does not fit the schema, `invalid_data` if its content leads out of its
 * buffers, `unsupported`
 */
export function locateBatch(batch: RecordBatch, layout: SchemaLayout): LocatedArrays {
  const { fields } = batch.schema;
  const columns = columnData(batch);
  const located = new BodyLayout(true);
  for (const column of columns) refuseDetached(column);
  fields.forEach((field, i) => {
    if (columns[i].length !== batch.numRows) {
      throw new DipcError(
        "invalid_argument",
        `cannot export column ${quoted(field.name)}: it has ${
          columns[i].length
        } values in a batch of ${batch.numRows} rows`,
      );
    }
    located.add(columns[i], field.type, field.name);
  });
  const tree = treeOf(located, batch.numRows);
  const dictionaries = new Map<bigint, LocatedTree>();
  layout.fields.forEach((field, i) =>
    collectDictionaries(layout, field, columns[i], fields[i].type, dictionaries, field.dictionary !== null)
  );
  checkTree(tree, layout.plan, dictionaries, false, columns);
  return {
    batch: tree.numbers,
    dictionary: (id) => dictionaries.get(id)!.numbers,
    release: pinned([tree, ...dictionaries.values()]),
  };
}

/** Keeps trees in place. @returns ends that */
function pinned(trees: readonly LocatedTree[]): () => void {
  const buffers = new Set<ArrayBufferLike>();
  for (const { buffers: { length, get } } of trees) {
    for (let i = 0; i < length; i++) buffers.add(get(i).buffer);
  }
  const pins = [...buffers].map(pin);
  return () => {
    for (const unpin of pins.splice(0)) unpin();
  };
}

/** The dictionaries of a batch, by their ids: those of the schema's layout, which {@linkcode encodeSchema} takes from apache-arrow. */
function collectDictionaries(
  layout: SchemaLayout,
  field: SchemaLayout["fields"][number],
  data: Data | undefined,
  type: DataType,
  into: Map<bigint, LocatedTree>,
  isEncoded: boolean,
): void {
  if (isEncoded) {
    const { id } = field.dictionary!;
    if (!into.has(id)) {
      into.set(id, locateDictionary(layout, id, data?.dictionary, (type as Dictionary).dictionary, into));
    }
    return;
  }
  field.children.forEach((child, i) =>
    collectDictionaries(layout, child, data?.children[i], type.children[i].type, into, child.dictionary !== null)
  );
}

const known = new WeakMap<Vector, LocatedTree>();

/**
 * Locates the values of a dictionary; several chunks are put together.
 *
 * @param type Type of the values
 * @param into Takes the dictionaries that the values refer to
 * @throws {DipcError} `invalid_data` if their content leads out of its buffers, `unsupported`
 */
export function locateDictionary(
  layout: SchemaLayout,
  id: bigint,
  values: Vector | undefined | null,
  type: DataType,
  into: Map<bigint, LocatedTree>,
): LocatedTree {
  const { plan, field } = layout.dictionaries.get(id)!;
  const chunks = values?.data ?? [];
  for (const chunk of chunks.length === 0 ? [undefined] : chunks) {
    collectDictionaries(layout, field, chunk, type, into, false);
  }
  for (const chunk of chunks) refuseDetached(chunk);
  const found = values === undefined || values === null ? undefined : known.get(values);
  if (found !== undefined) return found;
  const trees = chunks.map((chunk) => {
    const located = new BodyLayout(chunks.length === 1);
    located.add(chunk, type, field.name);
    const tree = treeOf(located, chunk.length);
    checkTree(tree, plan, into, true, chunk);
    return tree;
  });
  const tree = trees.length === 1 ? trees[0] : concatenate(plan, trees);
  if (values !== undefined && values !== null) known.set(values, tree);
  return tree;
}

/** @throws {DipcError} `closed` if the memory of a column was given back, or transferred */
function refuseDetached(data: Data): void {
  for (const view of [data.values, data.valueOffsets, data.nullBitmap, data.typeIds, ...data.variadicBuffers ?? []]) {
    if (ArrayBuffer.isView(view) && (view.buffer as ArrayBuffer).detached) {
      throw new DipcError(
        "closed",
        "cannot export a batch: the memory of one of its columns was given back or transferred; export it before that",
      );
    }
  }
  for (const child of data.children) if (child) refuseDetached(child);
}

/** What was checked before: arrays of apache-arrow are not changed. */
const checked = new WeakSet<object>();

function checkTree(
  { numbers, buffers }: LocatedTree,
  plan: NodePlan,
  dictionaries: ReadonlyMap<bigint, LocatedTree>,
  isDictionary: boolean,
  origin: object,
): void {
  if (checked.has(origin)) return;
  checkContent({
    plan,
    version: 5,
    nodes: numbers.nodes,
    variadicCounts: numbers.variadicCounts,
    buffer: buffers.get,
    dictionaryLength: (id) => dictionaries.get(id)?.numbers.rows ?? null,
    isDictionary,
  });
  checked.add(origin);
}

function treeOf(located: BodyLayout, rows: number): LocatedTree {
  return placed(
    rows,
    located.nodes,
    located.variadicCounts,
    located.pieces.map((piece) => piece.bytes ?? written(piece)),
  );
}

function written(piece: BodyLayout["pieces"][number]): Uint8Array<ArrayBuffer> {
  const bytes = scratch(piece.byteLength).bytes.subarray(0, piece.byteLength);
  if (piece.byteLength > 0) piece.write(bytes);
  return bytes;
}
