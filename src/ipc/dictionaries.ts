/**
 * The dictionaries of a stream at one point between two messages.
 *
 * @module
 */
import { type Data, type DataType, Vector } from "apache-arrow";
import { DipcError } from "../errors.ts";
import type { ColumnPlan } from "./column_plan.ts";
import { ColumnBuilder, type ColumnSource } from "./columns.ts";
import type { VerifiedHeader } from "./header.ts";

/** One dictionary batch: its header and a private copy of its body. */
export interface DictionaryChunk {
  readonly header: VerifiedHeader;
  readonly buffer: (index: number) => Uint8Array;
  readonly byteLength: number;
  /** The values, once built, if they do not refer to other dictionaries. */
  data: Data | null;
}

/** How the values of each id are built. */
export type DictionaryColumns = ReadonlyMap<bigint, ColumnPlan>;

/**
 * An immutable set of dictionaries. Each dictionary batch makes a new state, so that batches read before it keep their
 * dictionaries, however late their columns are read.
 */
export class DictionaryState {
  readonly #columns: DictionaryColumns;
  readonly #chunks: ReadonlyMap<bigint, readonly DictionaryChunk[]>;
  readonly #vectors = new Map<bigint, Vector>();
  /** Memory held by all chunks of this state. */
  readonly byteLength: number;

  private constructor(
    columns: DictionaryColumns,
    chunks: ReadonlyMap<bigint, readonly DictionaryChunk[]>,
    byteLength: number,
  ) {
    this.#columns = columns;
    this.#chunks = chunks;
    this.byteLength = byteLength;
  }

  /** The state before the first message. */
  static empty(columns: DictionaryColumns): DictionaryState {
    return new DictionaryState(columns, new Map(), 0);
  }

  /** The state after a dictionary batch: a delta is appended to the values so far, anything else replaces them. */
  with(chunk: DictionaryChunk): DictionaryState {
    const id = chunk.header.dictionaryId;
    const before = this.#chunks.get(id) ?? [];
    const chunks = new Map(this.#chunks);
    let byteLength = this.byteLength + chunk.byteLength;
    if (chunk.header.isDelta) {
      chunks.set(id, [...before, chunk]);
    } else {
      chunks.set(id, [chunk]);
      for (const old of before) byteLength -= old.byteLength;
    }
    const next = new DictionaryState(this.#columns, chunks, byteLength);
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
    const chunks = this.#chunks.get(id);
    if (chunks === undefined) return null;
    const plan = this.#columns.get(id);
    if (plan === undefined) {
      throw new DipcError("internal", `cannot build dictionary ${id}: the schema has no plan for it`);
    }
    const isSelfContained = !refersToDictionaries(plan);
    const data = chunks.map((chunk) => {
      if (chunk.data !== null) return chunk.data;
      const { header, buffer } = chunk;
      const source: ColumnSource = { header, buffer, dictionary: (inner) => this.get(inner) };
      const built = new ColumnBuilder(source, 0, 0, 0).build(plan);
      // With many deltas, building all of them again for each batch would be quadratic.
      if (isSelfContained) chunk.data = built;
      return built;
    });
    vector = new Vector<DataType>(data);
    this.#vectors.set(id, vector);
    return vector;
  }
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
