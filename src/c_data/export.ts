/**
 * Exports record batches as `ArrowArray`.
 *
 * @module
 */
import type { RecordBatch } from "apache-arrow";
import { DipcError } from "../errors.ts";
import { dictionaryTypes } from "../ipc/batch_shape.ts";
import { checkContent } from "../ipc/content_checks.ts";
import { type BatchSource, type LentBatch, sourceOf } from "../ipc/lazy_batch.ts";
import type { SchemaLayout } from "../ipc/layout.ts";
import { type ExportedArrays, exportShape, numbersOfBody } from "./export_shape.ts";
import { locateBatch, locateDictionary } from "./data_out.ts";
import { ForeignBatch } from "./foreign_batch.ts";
import { ForeignBody } from "./foreign_body.ts";
import type { LocatedTree } from "./located_tree.ts";
import type { ArrayNumbers } from "./numbers.ts";
import { exportLayout, schemaHeaderOf } from "./schema_out.ts";
import { releaseStruct } from "./structs.ts";

/** Arrays that are ready to be exported, and the end of their use. */
export interface Exportable {
  /** The schema of the batch. */
  readonly layout: SchemaLayout;
  readonly arrays: ExportedArrays;
  /** Releases what they use. */
  readonly release: () => void;
}

/**
 * Exports a record batch, without copying it. Its memory stays in place until the consumer releases the structures, on whichever
 * thread that is, also if the batch is disposed or collected meanwhile. The values must not be changed or transferred until then.
 *
 * A `ForeignBatch` is taken over: it is exported again as it was imported.
 *
 * @example Usage
 * ```ts ignore
 * using array = new CStruct("ArrowArray");
 * using schema = new CStruct("ArrowSchema");
 * exportRecordBatch(batch, array.address, schema.address);
 * library.symbols.consume(array.address, schema.address);
 * ```
 *
 * @param batch The batch
 * @param array Address of memory for an `ArrowArray`; the consumer releases it
 * @param schema Address of memory for an `ArrowSchema`, if it is needed, too
 * @throws {DipcError} `invalid_data` if the content of a column leads out of its buffers; `unsupported` in a web worker, or for a
 * type; `closed` for a disposed batch; `out_of_memory`. Nothing is exported then
 */
export function exportRecordBatch(batch: RecordBatch | ForeignBatch, array: bigint, schema = 0n): void {
  if (array === 0n) {
    throw new DipcError(
      "invalid_argument",
      "cannot export a record batch: the address is 0; give that of an ArrowArray",
    );
  }
  exportBoth(exportableOf(batch), array, schema);
}

/** Exports arrays, and their schema if it has an address: both or, after an error, nothing. */
export function exportBoth(exportable: Exportable, array: bigint, schema: bigint): void {
  try {
    if (schema !== 0n) exportLayout(exportable.layout, schema);
  } catch (error) {
    exportable.release();
    throw error;
  }
  try {
    exportArrays(exportable, array);
  } catch (error) {
    if (schema !== 0n) releaseStruct("ArrowSchema", schema);
    throw error;
  }
}

/** Exports arrays; if that fails, they are released. */
export function exportArrays({ layout, arrays, release }: Exportable, target: bigint): void {
  try {
    exportShape(layout).export(arrays, target, release);
  } catch (error) {
    release();
    throw error;
  }
}

/** Locates what a batch consists of. The batch may be disposed afterwards. */
export function exportableOf(batch: RecordBatch | ForeignBatch): Exportable {
  if (batch instanceof ForeignBatch) return foreignExportable(batch);
  const own = sourceOf(batch);
  if (own === null || own.header.compression !== "none") return plainExportable(batch);
  // Native code reads what was checked, and must not find anything else there.
  const source = own.isChangeable ? own.copy() : own;
  const lent = source.lend();
  if (source !== own) source.dispose();
  try {
    return lentExportable(lent, batch, source);
  } catch (error) {
    lent.release();
    throw error;
  }
}

function plainExportable(batch: RecordBatch): Exportable {
  const { layout } = schemaHeaderOf(batch.schema);
  const located = locateBatch(batch, layout);
  return { layout, arrays: located, release: located.release };
}

function foreignExportable(batch: ForeignBatch): Exportable {
  const messages = batch.toMessages();
  const last = messages[messages.length - 1];
  const numbers = new Map<bigint, ArrayNumbers>();
  for (const { header, body } of messages.slice(0, -1)) {
    numbers.set(header.dictionaryId, placedNumbers(body as ForeignBody));
  }
  return {
    layout: schemaHeaderOf(batch.schemaHeader).layout,
    arrays: { batch: placedNumbers(last.body as ForeignBody), dictionary: (id) => numbers.get(id)! },
    release: () => {
      for (const { body } of messages) body?.release();
    },
  };
}

/** The numbers of a body as a reader in this process sees it. */
export function placedNumbers(body: ForeignBody): ArrayNumbers {
  const { numbers } = body;
  if (numbers.changes === null && numbers.leads === null) return numbers;
  const at = numbers.at.map((_, index) => body.placeOf(index));
  return { ...numbers, at, changes: null, leads: null };
}

/** Batches whose content was checked. */
const checked = new WeakSet<BatchSource>();

function lentExportable(lent: LentBatch, batch: RecordBatch, source: BatchSource): Exportable {
  const { header, body, dictionaries: values } = lent;
  const { layout } = header;
  const trees = new Map<bigint, LocatedTree>();
  if (layout.dictionaries.size > 0) {
    const types = dictionaryTypes(layout.fields, batch.schema.fields.map((field) => field.type));
    for (const [id, type] of types) {
      if (!trees.has(id)) trees.set(id, locateDictionary(layout, id, values.get(id), type, trees));
    }
  }
  const numbers = body instanceof ForeignBody
    ? placedNumbers(body)
    : numbersOfBody(header, body === null ? 0n : body.address);
  if (!(body instanceof ForeignBody) && !checked.has(source)) {
    const bytes = body === null ? new Uint8Array(0) : body.bytes();
    const { buffers } = header;
    checkContent({
      plan: header.plan,
      version: header.version,
      nodes: header.nodes,
      variadicCounts: header.variadicCounts,
      buffer: (index) => new Uint8Array(bytes.buffer, bytes.byteOffset + buffers[2 * index], buffers[2 * index + 1]),
      dictionaryLength: (id) => trees.get(id)?.numbers.rows ?? null,
      isDictionary: false,
    });
    checked.add(source);
  }
  return {
    layout,
    arrays: { batch: numbers, dictionary: (id) => trees.get(id)!.numbers },
    release: () => {
      trees.clear();
      lent.release();
    },
  };
}
