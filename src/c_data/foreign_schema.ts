/**
 * What the batches of an imported schema have in common, decided once per stream.
 *
 * @module
 */
import { arrowSchema } from "../ipc/arrow_schema.ts";
import { columnStarts, dictionaryPlans, shapeOf } from "../ipc/batch_shape.ts";
import type { ColumnPlan } from "../ipc/column_plan.ts";
import { HeaderReader, VerifiedHeader } from "../ipc/header.ts";
import type { BatchShape } from "../ipc/lazy_batch.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { ImportShape } from "./import_shape.ts";

/** How the columns are built as apache-arrow represents them. */
export interface DecodedShape {
  readonly batch: BatchShape;
  readonly dictionaries: ReadonlyMap<bigint, ColumnPlan>;
}

/** A schema, and what is derived from it. */
export class ForeignSchema {
  /** The schema message. */
  readonly header: VerifiedHeader;
  /** What the structures must look like. */
  readonly shape: ImportShape;
  #decoded: DecodedShape | null = null;
  #starts: Float64Array | null = null;

  /** @param header The schema message */
  constructor(header: VerifiedHeader) {
    this.header = header;
    this.shape = new ImportShape(header.layout);
  }

  /** How columns are built. @throws {DipcError} `unsupported` for types that apache-arrow lacks, and for big-endian data */
  get decoded(): DecodedShape {
    if (this.#decoded !== null) return this.#decoded;
    const { layout } = this.header;
    const schema = arrowSchema(layout);
    return this.#decoded = { batch: shapeOf(layout, schema), dictionaries: dictionaryPlans(layout, schema) };
  }

  /** Indices of the first node, buffer and variadic count of each column; the same for every batch without views. */
  startsOf(header: VerifiedHeader): Float64Array {
    if (header.plan.viewCount > 0) return columnStarts(header);
    return this.#starts ??= columnStarts(header);
  }
}

const known = new WeakMap<MessageHeader, ForeignSchema>();

/**
 * The schema of a message, derived once for each.
 *
 * @throws {DipcError} `invalid_data`, `unsupported` if the header was not made by this library and is malformed
 */
export function foreignSchema(header: MessageHeader): ForeignSchema {
  let schema = known.get(header);
  if (schema === undefined) {
    const isVerified = header instanceof VerifiedHeader && header.kind === "schema";
    schema = new ForeignSchema(isVerified ? header : HeaderReader.continuing(header).schema!);
    known.set(header, schema);
  }
  return schema;
}
