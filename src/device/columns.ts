/**
 * Locates the buffers of a batch in device memory: one column for each field, from the verified metadata and the address
 * of the body. Pure: nothing is read from the device.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { VerifiedHeader } from "../ipc/header.ts";
import { type BufferRole, buffersIn } from "../ipc/buffers.ts";
import type { ArrowType, FieldLayout } from "../ipc/layout.ts";

/** One buffer of a column in device memory. */
export interface DeviceBuffer {
  /** Device address of its first byte; not to be dereferenced by the CPU. `0n` if it has no bytes. */
  readonly address: bigint;
  /** Size in bytes, without padding. */
  readonly byteLength: number;
}

/**
 * A column in device memory. Lengths are in values, addresses are device addresses. Which buffers a column has follows from
 * its type, as in Arrow's columnar format; the others are `null`.
 */
export interface DeviceColumn {
  /** Name of the field. */
  readonly name: string;
  /** Type of the values in the buffers: for a dictionary-encoded column that of the indices. */
  readonly type: ArrowType;
  /** Whether values may be null. */
  readonly nullable: boolean;
  /** Number of values. */
  readonly length: number;
  /** Number of nulls. */
  readonly nullCount: number;
  /** One bit per value, least significant first, 0 for nulls; `null` if the column has no nulls, or no bitmap. */
  readonly validity: DeviceBuffer | null;
  /**
   * Binary, text, lists and maps: `length + 1` offsets (none if `length` is 0 and the writer left them out); list views
   * and dense unions: `length` offsets. 32 or 64 bits, according to the type.
   */
  readonly offsets: DeviceBuffer | null;
  /** List views: `length` sizes. */
  readonly sizes: DeviceBuffer | null;
  /** Unions: `length` type ids of 8 bits. */
  readonly typeIds: DeviceBuffer | null;
  /** Values of fixed width, bytes of binary and text, or `length` views of 16 bytes. */
  readonly data: DeviceBuffer | null;
  /** View types: the buffers that hold long values. */
  readonly variadic: readonly DeviceBuffer[];
  /** Fields of a struct or union, items of a list, or run ends and values of a run-end encoded column. */
  readonly children: readonly DeviceColumn[];
  /** Dictionary id of a dictionary-encoded column, whose `data` are indices; otherwise `null`. */
  readonly dictionaryId: bigint | null;
}

/**
 * The columns of a batch, or the one column of a dictionary batch.
 *
 * @param header Metadata of the message; its body must not be compressed
 * @param address Device address of the body
 * @throws {DipcError} `internal` for a compressed body, whose buffers have no address before they are decompressed
 */
export function deviceColumns(header: VerifiedHeader, address: bigint): DeviceColumn[] {
  if (header.compression !== "none") {
    throw new DipcError(
      "internal",
      `cannot locate the columns of a ${header.compression} body: it is not decompressed yet`,
    );
  }
  const walk = new Walk(header, address);
  const isDictionary = header.kind === "dictionary";
  return header.plan.roots.map((field) => walk.column(field, !isDictionary && field.dictionary !== null));
}

/** Walks nodes and buffers in the order in which the metadata lists them. */
class Walk {
  readonly #header: VerifiedHeader;
  readonly #address: bigint;
  #node = 0;
  #buffer = 0;
  #view = 0;

  constructor(header: VerifiedHeader, address: bigint) {
    this.#header = header;
    this.#address = address;
  }

  column(field: FieldLayout, isEncoded: boolean): DeviceColumn {
    const { nodes, plan, version } = this.#header;
    const node = this.#node++;
    const nullCount = nodes[2 * node + 1];
    const found: Record<BufferRole, DeviceBuffer | null> = {
      validity: null,
      offsets: null,
      sizes: null,
      typeIds: null,
      data: null,
      variadic: null,
      unused: null,
    };
    const variadic: DeviceBuffer[] = [];
    for (const { role } of buffersIn(version)[plan.kinds[node]]) {
      if (role !== "variadic") found[role] = this.#next();
      else for (let left = this.#header.variadicCounts[this.#view++]; left > 0; left--) variadic.push(this.#next());
    }
    return {
      name: field.name,
      type: isEncoded ? field.dictionary!.index : field.type,
      nullable: field.nullable,
      length: nodes[2 * node],
      nullCount,
      validity: nullCount === 0 ? null : found.validity,
      offsets: found.offsets,
      sizes: found.sizes,
      typeIds: found.typeIds,
      data: found.data,
      variadic,
      children: isEncoded ? [] : field.children.map((child) => this.column(child, child.dictionary !== null)),
      dictionaryId: isEncoded ? field.dictionary!.id : null,
    };
  }

  #next(): DeviceBuffer {
    const { buffers } = this.#header;
    const offset = buffers[2 * this.#buffer];
    const byteLength = buffers[2 * this.#buffer + 1];
    this.#buffer++;
    return { address: byteLength === 0 ? 0n : this.#address + BigInt(offset), byteLength };
  }
}
