/**
 * Makes apache-arrow `Data` over the buffers of a body, without copying, one column at a time.
 *
 * The constructor of `Data` is internal to apache-arrow; its version is pinned, and tests/ipc/decode_test.ts guards it.
 *
 * @module
 */
import { Data, type DataType, type Dictionary, type Union, Vector } from "apache-arrow";
import { DipcError, unexpected } from "../errors.ts";
import { NodeKind } from "./buffers.ts";
import type { ColumnPlan, NumberArray } from "./column_plan.ts";
import { checkOffsets, checkUnion, checkViews, invalidColumn, narrowIndices } from "./column_checks.ts";
import type { VerifiedHeader } from "./header.ts";
import { quoted } from "./quote.ts";

/** What the columns of one message are made from. */
export interface ColumnSource {
  readonly header: VerifiedHeader;
  /** The bytes of buffer `index`, decompressed if necessary, 8-aligned in their array buffer. */
  buffer(index: number): Uint8Array;
  /** The values of a dictionary as of the message, `null` if none came before it. */
  dictionary(id: bigint): Vector | null;
}

const EMPTY_BITMAP = new Uint8Array(0);
const ZERO_OFFSET_32 = new Int32Array(1);
const ZERO_OFFSET_64 = new BigInt64Array(1);

/** Walks the nodes and buffers of one message. */
export class ColumnBuilder {
  readonly #source: ColumnSource;
  readonly #nodes: Float64Array;
  #node: number;
  #buffer: number;
  #view: number;

  /** Starts at a given node, buffer and variadic count. */
  constructor(source: ColumnSource, node: number, buffer: number, view: number) {
    this.#source = source;
    this.#nodes = source.header.nodes;
    this.#node = node;
    this.#buffer = buffer;
    this.#view = view;
  }

  /**
   * Builds the next column with its children.
   *
   * @throws {DipcError} `invalid_data` if offsets, views, indices or type ids point outside their buffers
   */
  build(plan: ColumnPlan): Data {
    const node = this.#node++;
    const length = this.#nodes[2 * node];
    const nulls = this.#nodes[2 * node + 1];
    const { kind, type } = plan;
    if (kind === NodeKind.none) return new Data(type, 0, length, length);
    if (kind === NodeKind.sparseUnion || kind === NodeKind.denseUnion) return this.#union(plan, length, nulls);
    const bitmap = this.#bitmap(plan, length, nulls);
    switch (kind) {
      case NodeKind.fixed: {
        const values = this.#fixed(plan, length);
        if (plan.dictionaryId !== null) return this.#dictionary(plan, length, nulls, values, bitmap);
        return new Data(type, 0, length, nulls, [undefined, values, bitmap] as never);
      }
      case NodeKind.binary32:
      case NodeKind.binary64: {
        const offsets = this.#offsets(plan, length, kind === NodeKind.binary64);
        const values = this.#source.buffer(this.#buffer++);
        checkOffsets(plan, offsets, length, values.byteLength);
        return new Data(type, 0, length, nulls, [offsets, values, bitmap] as never);
      }
      case NodeKind.view: {
        const views = this.#bytes(plan, 16 * length, "view");
        const count = this.#source.header.variadicCounts[this.#view++];
        const data: Uint8Array[] = [];
        for (let i = 0; i < count; i++) data.push(this.#source.buffer(this.#buffer++));
        checkViews(plan, views, length, data, bitmap);
        return new Data(type, 0, length, nulls, [undefined, views, bitmap] as never, [], undefined, data);
      }
      case NodeKind.list32:
      case NodeKind.list64: {
        const offsets = this.#offsets(plan, length, kind === NodeKind.list64);
        const child = this.build(plan.children[0]);
        checkOffsets(plan, offsets, length, child.length);
        return new Data(type, 0, length, nulls, [offsets, undefined, bitmap] as never, [child]);
      }
      case NodeKind.validity: {
        const children = plan.children.map((child) => this.build(child));
        return new Data(type, 0, length, nulls, [undefined, undefined, bitmap] as never, children);
      }
      case NodeKind.listView32:
      case NodeKind.listView64:
        throw new DipcError(
          "internal",
          `cannot decode column ${quoted(plan.field.path)}: it is a list view, which apache-arrow lacks`,
        );
      default:
        return unexpected(kind);
    }
  }

  /** The next buffer, which must have at least `needed` bytes. */
  #bytes(plan: ColumnPlan, needed: number, what: string): Uint8Array {
    const bytes = this.#source.buffer(this.#buffer++);
    if (bytes.byteLength < needed) {
      throw invalidColumn(plan, `its ${what} buffer has ${bytes.byteLength} bytes, expected ${needed} or more`);
    }
    return bytes;
  }

  #bitmap(plan: ColumnPlan, length: number, nulls: number): Uint8Array {
    if (nulls === 0) {
      this.#buffer++;
      return EMPTY_BITMAP;
    }
    return this.#bytes(plan, Math.ceil(length / 8), "validity");
  }

  #fixed(plan: ColumnPlan, length: number): NumberArray {
    if (plan.stride === 0 && plan.field.type.id === "bool") return this.#bytes(plan, Math.ceil(length / 8), "value");
    const count = plan.stride * length;
    const bytes = this.#bytes(plan, count * plan.array.BYTES_PER_ELEMENT, "value");
    return new plan.array(bytes.buffer, bytes.byteOffset, count);
  }

  #offsets(plan: ColumnPlan, length: number, isLarge: boolean): Int32Array | BigInt64Array {
    if (length === 0) {
      // Some writers omit the single offset of an empty column.
      this.#buffer++;
      return isLarge ? ZERO_OFFSET_64 : ZERO_OFFSET_32;
    }
    const bytes = this.#bytes(plan, (isLarge ? 8 : 4) * (length + 1), "offset");
    return isLarge
      ? new BigInt64Array(bytes.buffer, bytes.byteOffset, length + 1)
      : new Int32Array(bytes.buffer, bytes.byteOffset, length + 1);
  }

  #union(plan: ColumnPlan, length: number, nulls: number): Data {
    const type = plan.type as Union;
    if (this.#source.header.version === 4) {
      // Before V5 a union had a validity bitmap of its own, in practice always absent.
      this.#buffer++;
      if (nulls > 0) {
        throw new DipcError(
          "unsupported",
          `cannot decode column ${
            quoted(plan.field.path)
          }: it is a union of metadata version V4 with nulls of its own; write it again with Arrow 1.0 or newer`,
        );
      }
    }
    const ids = this.#bytes(plan, length, "type id");
    const typeIds = new Int8Array(ids.buffer, ids.byteOffset, length);
    let offsets: Int32Array | undefined;
    if (plan.kind === NodeKind.denseUnion) {
      const bytes = this.#bytes(plan, 4 * length, "offset");
      offsets = new Int32Array(bytes.buffer, bytes.byteOffset, length);
    }
    const children = plan.children.map((child) => this.build(child));
    checkUnion(plan, type, typeIds, offsets, children);
    return new Data(type as DataType, 0, length, 0, [offsets, undefined, undefined, typeIds] as never, children);
  }

  #dictionary(plan: ColumnPlan, length: number, nulls: number, values: NumberArray, bitmap: Uint8Array): Data {
    const type = plan.type as Dictionary;
    let dictionary = this.#source.dictionary(plan.dictionaryId!);
    if (dictionary === null) {
      if (nulls < length) {
        throw invalidColumn(plan, `dictionary ${plan.dictionaryId} has not been sent before the batch that uses it`);
      }
      dictionary = emptyVector(type.dictionary);
    }
    const indices = narrowIndices(plan, values, dictionary.length, bitmap);
    return new Data(type as DataType, 0, length, nulls, [undefined, indices, bitmap] as never, [], dictionary as never);
  }
}

function emptyVector(type: DataType): Vector {
  const children = (type.children ?? []).map((child) => emptyVector(child.type).data[0]);
  const offsets = (type as { OffsetArrayType?: unknown }).OffsetArrayType === BigInt64Array
    ? ZERO_OFFSET_64
    : ZERO_OFFSET_32;
  return new Vector([new Data(type, 0, 0, 0, [offsets, EMPTY_BITMAP, EMPTY_BITMAP] as never, children)]);
}
