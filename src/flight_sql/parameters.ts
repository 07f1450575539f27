/**
 * Values of a statement's parameters, as a dataset.
 *
 * @module
 */
import {
  Binary,
  Bool,
  type Data,
  type DataType,
  Field,
  Float64,
  Int64,
  makeData,
  Null,
  RecordBatch,
  Schema,
  Struct,
  Table,
  TimestampMillisecond,
  Type,
  Utf8,
  vectorFromArray,
} from "apache-arrow";
import { DipcError } from "../errors.ts";
import { permittedPool } from "../memory/plain_pool.ts";
import { refusal } from "../options.ts";
import type { Dataset } from "../sources/dataset.ts";
import { fromBatches } from "../sources/table.ts";

/** A value of a parameter. */
export type SqlValue = null | boolean | number | bigint | string | Uint8Array | Date;

/** Values of parameters: of one row in order, or of many as a table, a batch, or a dataset. */
export type SqlParameters = readonly SqlValue[] | Table | RecordBatch | Dataset;

/** A dataset, and whether it was made here and is to be closed. */
interface TakenDataset {
  readonly dataset: Dataset;
  readonly isOurs: boolean;
}

/**
 * Rows as a dataset.
 *
 * @param source A dataset, a table or a batch
 * @throws {DipcError} `invalid_argument` for anything else
 */
export async function datasetOf(source: Table | RecordBatch | Dataset): Promise<TakenDataset> {
  if (source instanceof Table) return { dataset: await datasetOfBatches(source), isOurs: true };
  if (source instanceof RecordBatch) return { dataset: await datasetOfBatches(new Table([source])), isOurs: true };
  if (typeof source?.open === "function") return { dataset: source, isOurs: false };
  throw new DipcError(
    "invalid_argument",
    `cannot take the rows from ${typeof source}: give a dataset, or a Table or RecordBatch of apache-arrow`,
  );
}

/**
 * Parameters as a dataset.
 *
 * @param parameters Values of the caller
 * @param expected Schema of the parameters as the server says it; `null` if it says none
 * @throws {DipcError} `invalid_argument` if there are more or fewer than the server says, or one has no type
 */
export async function datasetOfParameters(parameters: SqlParameters, expected: Schema | null): Promise<TakenDataset> {
  if (!Array.isArray(parameters)) return await datasetOf(parameters as Table | RecordBatch | Dataset);
  const values: readonly SqlValue[] = parameters;
  const fields = expected?.fields ?? [];
  if (fields.length > 0 && fields.length !== values.length) {
    throw new DipcError(
      "invalid_argument",
      `cannot execute the statement: it has ${fields.length} parameters, but ${values.length} values are given; give one for each`,
    );
  }
  const columns = values.map((value, i) => columnOf(value, fields[i] ?? null, i));
  const schema = new Schema(columns.map(({ field }) => field));
  const children = columns.map(({ data }) => data);
  const batch = new RecordBatch(
    schema,
    makeData({ type: new Struct(schema.fields), length: 1, nullCount: 0, children }),
  );
  return { dataset: await datasetOfBatches(new Table([batch])), isOurs: true };
}

/** Its batches are encoded as they are sent; sending needs no native memory. */
function datasetOfBatches({ batches, schema }: Table): Promise<Dataset> {
  return fromBatches(batches, schema, { pool: permittedPool() });
}

function columnOf(value: SqlValue, expected: Field | null, index: number): { field: Field; data: Data } {
  const name = expected?.name ?? `$${index + 1}`;
  const fit = expected === null ? null : fitted(value, expected.type);
  const type = fit === null ? ownType(value, index) : expected!.type;
  const data = vectorFromArray([fit === null ? ownValue(value) : fit.value], type).data[0];
  return { field: new Field(name, type, true), data };
}

/** A value in the form that the builder of a type takes; `null` if the type is not one of the simple ones, or another kind. */
function fitted(value: SqlValue, type: DataType): { value: unknown } | null {
  const { typeId } = type;
  if (typeId === Type.Int) {
    const { bitWidth, isSigned } = type as Int64;
    const integer = integerOf(value);
    if (integer === null) return value === null ? { value } : null;
    const [low, high] = isSigned
      ? [-(2n ** BigInt(bitWidth - 1)), 2n ** BigInt(bitWidth - 1) - 1n]
      : [0n, 2n ** BigInt(bitWidth) - 1n];
    if (integer < low || integer > high) return null;
    return { value: bitWidth === 64 ? integer : Number(integer) };
  }
  if (typeId === Type.Float) {
    if (value === null || typeof value === "number") return { value };
    return typeof value === "bigint" ? { value: Number(value) } : null;
  }
  const kinds: Partial<Record<Type, (value: SqlValue) => boolean>> = {
    [Type.Utf8]: (value) => typeof value === "string",
    [Type.LargeUtf8]: (value) => typeof value === "string",
    [Type.Bool]: (value) => typeof value === "boolean",
    [Type.Binary]: (value) => value instanceof Uint8Array,
    [Type.LargeBinary]: (value) => value instanceof Uint8Array,
  };
  const isKind = kinds[typeId];
  return isKind !== undefined && (value === null || isKind(value)) ? { value } : null;
}

function integerOf(value: SqlValue): bigint | null {
  if (typeof value === "bigint") return value;
  return typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : null;
}

/** The type that a value has by itself. */
function ownType(value: SqlValue, index: number): DataType {
  switch (typeof value) {
    case "boolean":
      return new Bool();
    case "string":
      return new Utf8();
    case "bigint":
      if (BigInt.asIntN(64, value) === value) return new Int64();
      break;
    case "number":
      return Number.isSafeInteger(value) ? new Int64() : new Float64();
    case "object":
      if (value === null) return new Null();
      if (value instanceof Uint8Array) return new Binary();
      if (value instanceof Date) return new TimestampMillisecond();
  }
  const expected = "null, a boolean, a number, a bigint of 64 bits, a text, bytes, or a Date";
  throw new DipcError("invalid_argument", refusal(`parameter ${index + 1}`, value, expected));
}

function ownValue(value: SqlValue): unknown {
  return typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : value;
}
