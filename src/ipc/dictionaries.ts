/**
 * The dictionaries of a stream at one point between two messages.
 *
 * @module
 */
import { Data, type DataType, Vector } from "apache-arrow";
import { DipcError } from "../errors.ts";
import { NodeKind } from "./buffers.ts";
import type { ColumnPlan } from "./column_plan.ts";
import { ColumnBuilder, type ColumnSource } from "./columns.ts";
import { GrowingValues } from "./growing_values.ts";
import type { VerifiedHeader } from "./header.ts";

/** One dictionary batch: its header and a private copy of its body. */
export interface DictionaryChunk {
  readonly header: VerifiedHeader;
  readonly buffer: (index: number) => Uint8Array;
  readonly byteLength: number;
  /** The values, once built, if they do not refer to other dictionaries. */
  data: Data | null;
}

/** Chunks from which on they are put together: each of many would cost every batch its part of the work. */
const MANY_CHUNKS = 16;

/** The chunks of a dictionary since it was replaced last. States share them: a delta is appended for all states to come. */
interface Chunks {
  readonly all: DictionaryChunk[];
  /** Their values in one piece, if they are many; `null` if they cannot be. */
  joined?: GrowingValues | null;
}

/** The first chunks of {@linkcode Chunks}, as one state knows them. */
interface KnownChunks {
  readonly chunks: Chunks;
  readonly count: number;
}

/** How the values of each id are built. */
export type DictionaryColumns = ReadonlyMap<bigint, ColumnPlan>;

/**
 * An immutable set of dictionaries. Each dictionary batch makes a new state, so that batches read before it keep their
 * dictionaries, however late their columns are read.
 */
export class DictionaryState {
  readonly #columns: DictionaryColumns;
  readonly #known: ReadonlyMap<bigint, KnownChunks>;
  readonly #vectors = new Map<bigint, Vector>();
  /** Memory held by all chunks of this state. */
  readonly byteLength: number;

  private constructor(
    columns: DictionaryColumns,
    known: ReadonlyMap<bigint, KnownChunks>,
    byteLength: number,
  ) {
    this.#columns = columns;
    this.#known = known;
    this.byteLength = byteLength;
  }

  /** The state before the first message. */
  static empty(columns: DictionaryColumns): DictionaryState {
    return new DictionaryState(columns, new Map(), 0);
  }

  /** The state after a dictionary batch: a delta is appended to the values so far, anything else replaces them. */
  with(chunk: DictionaryChunk): DictionaryState {
    const id = chunk.header.dictionaryId;
    const before = this.#known.get(id);
    const known = new Map(this.#known);
    let byteLength = this.byteLength + chunk.byteLength;
    if (chunk.header.isDelta && before !== undefined) {
      known.set(id, appended(before, chunk));
    } else {
      known.set(id, { chunks: { all: [chunk] }, count: 1 });
      for (let i = 0; i < (before?.count ?? 0); i++) byteLength -= before!.chunks.all[i].byteLength;
    }
    const next = new DictionaryState(this.#columns, known, byteLength);
    // Vectors that do not depend on the changed dictionary are kept.
    for (const [other, vector] of this.#vectors) {
      if (!dependsOn(this.#columns, other, id)) next.#vectors.set(other, vector);
    }
    return next;
  }

  /**
   * The values of one dictionary, `null` if none have been sent.
   *
   * @throws {DipcError} `invalid_data`
   */
  get(id: bigint): Vector | null {
    let vector = this.#vectors.get(id);
    if (vector !== undefined) return vector;
    const known = this.#known.get(id);
    if (known === undefined) return null;
    const plan = this.#columns.get(id);
    if (plan === undefined) {
      throw new DipcError("internal", `cannot build dictionary ${id}: the schema has no plan for it`);
    }
    const joined = known.count > MANY_CHUNKS ? this.#join(plan, known) : null;
    const data = joined ?? known.chunks.all.slice(0, known.count).map((chunk) => this.#build(plan, chunk));
    vector = new Vector<DataType>(data);
    this.#vectors.set(id, vector);
    return vector;
  }

  #build(plan: ColumnPlan, chunk: DictionaryChunk): Data {
    if (chunk.data !== null) return chunk.data;
    const { header, buffer } = chunk;
    const source: ColumnSource = { header, buffer, dictionary: (inner) => this.get(inner) };
    const built = new ColumnBuilder(source, 0, 0, 0).build(plan);
    if (!refersToDictionaries(plan)) chunk.data = built;
    return built;
  }

  /** The values of all chunks in one piece; `null` if they are not flat. */
  #join(plan: ColumnPlan, { chunks, count }: KnownChunks): Data[] | null {
    const { type, array, stride } = plan;
    if (chunks.joined === undefined) {
      chunks.joined = GrowingValues.of(plan.kind, 8 * stride * array.BYTES_PER_ELEMENT);
    }
    while (chunks.joined !== null && chunks.joined.parts < count) {
      const { length, nullCount, nullBitmap, valueOffsets, values } = this.#build(
        plan,
        chunks.all[chunks.joined.parts],
      );
      const part = {
        ...{ rows: length, nullCount, validity: nullBitmap ?? NONE },
        ...{ offsets: bytesOf(valueOffsets), data: bytesOf(values) },
      };
      if (!chunks.joined.append(part)) chunks.joined = null;
    }
    if (chunks.joined === null) return null;
    const { rows, nullCount, validity, offsets, data } = chunks.joined.first(count);
    const values = new array(data.buffer, 0, data.byteLength / array.BYTES_PER_ELEMENT);
    const places = plan.kind === NodeKind.fixed
      ? undefined
      : plan.kind === NodeKind.binary64
      ? new BigInt64Array(offsets.buffer, 0, rows + 1)
      : new Int32Array(offsets.buffer, 0, rows + 1);
    return [new Data(type, 0, rows, nullCount, [places, values, validity] as never)];
  }
}

const NONE = new Uint8Array(0);

function bytesOf(array: ArrayBufferView<ArrayBuffer> | undefined): Uint8Array<ArrayBuffer> {
  return array === undefined ? NONE : new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** The chunks with one more: in place, unless another state has appended to them already. */
function appended({ chunks, count }: KnownChunks, chunk: DictionaryChunk): KnownChunks {
  const isLatest = chunks.all.length === count;
  const next: Chunks = isLatest ? chunks : { all: chunks.all.slice(0, count) };
  next.all.push(chunk);
  return { chunks: next, count: count + 1 };
}

function refersToDictionaries(plan: ColumnPlan): boolean {
  return plan.children.some((child) => child.dictionaryId !== null || refersToDictionaries(child));
}

/** Whether the values of dictionary `id` are, or refer to, those of dictionary `changed`. */
function dependsOn(columns: DictionaryColumns, id: bigint, changed: bigint): boolean {
  if (id === changed) return true;
  const refers = (plan: ColumnPlan): boolean =>
    (plan.dictionaryId !== null && dependsOn(columns, plan.dictionaryId, changed)) || plan.children.some(refers);
  return columns.get(id)?.children.some(refers) ?? false;
}
