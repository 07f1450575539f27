/**
 * Exports batches in the memory of a GPU as `ArrowDeviceArray`.
 *
 * @module
 */
import { CUDA } from "../../ffi/cuda_constants.ts";
import { addressOf, libc } from "../../ffi/libc.ts";
import { allocate } from "../../ffi/raw_memory.ts";
import { DipcError } from "../errors.ts";
import { BUFFERS } from "../ipc/buffers.ts";
import type { NodePlan } from "../ipc/layout.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { quoted } from "../ipc/quote.ts";
import type { Body } from "../memory/block.ts";
import { PrimaryContext } from "../memory/cuda/context.ts";
import { openCuda } from "../memory/cuda/driver.ts";
import { parseSpace } from "../memory/cuda/space.ts";
import type { ForeignColumn } from "./columns.ts";
import { exportBoth } from "./export.ts";
import { type ArrayNumbers, NumbersBuilder } from "./numbers.ts";
import { readAddress } from "./raw.ts";
import { schemaHeaderOf } from "./schema_out.ts";
import { C_LAYOUT, DEVICE_TYPE } from "./structs.ts";

const AT = C_LAYOUT.ArrowDeviceArray;

/** A column of a {@linkcode DeviceBatchLike}: what {@linkcode ForeignColumn} says of its lengths and buffers. */
export interface DeviceColumnLike extends
  Pick<
    ForeignColumn,
    "length" | "nullCount" | "validity" | "offsets" | "sizes" | "typeIds" | "data" | "variadic"
  > {
  /** Columns inside a nested one. */
  readonly children: readonly DeviceColumnLike[];
}

/** A record batch in the memory of a GPU, such as a `DeviceRecordBatch` of `@arrow-ucx/dipc/cuda`. */
export interface DeviceBatchLike {
  /** Memory space, such as `"cuda:0"`. */
  readonly space: string;
  /** Number of rows. */
  readonly numRows: number;
  /** The schema message of its stream. */
  readonly schemaHeader: MessageHeader;
  /** The columns in order. */
  readonly columns: readonly DeviceColumnLike[];
  /** The values of a dictionary: one column for each message that brought some. */
  dictionary(id: bigint): readonly DeviceColumnLike[];
  /** Makes a `CUstream` wait until the batch is filled. */
  waitOn(stream: bigint): void;
  /** @ignore Keeps the memory until the body is released */
  _lend(): Body;
}

/**
 * Exports a record batch in the memory of a GPU, without copying it. The memory stays until the consumer releases the structure, also
 * if the batch is disposed meanwhile. `sync_event` points to a `CUevent` after which the batch is filled.
 *
 * @param batch The batch
 * @param target Address of memory for an `ArrowDeviceArray`; the consumer releases it
 * @param schema Address of memory for an `ArrowSchema`, if it is needed, too
 * @throws {DipcError} `unsupported` in a web worker, and for a dictionary that came in several messages; `closed`; what the driver
 * reports. Nothing is exported then
 */
export function exportDeviceBatch(batch: DeviceBatchLike, target: bigint, schema = 0n): void {
  const { layout } = schemaHeaderOf(batch.schemaHeader);
  const numbers = numbersOf(layout.plan, batch.columns, batch.numRows);
  const dictionaries = new Map<bigint, ArrayNumbers>();
  for (const { id, plan, field } of layout.dictionaries.values()) {
    const chunks = batch.dictionary(id);
    if (chunks.length !== 1) {
      throw new DipcError(
        "unsupported",
        `cannot export column ${quoted(field.path)}: its dictionary came in ${chunks.length} messages, expected 1; ` +
          "copy the batch with toHost()",
      );
    }
    dictionaries.set(id, numbersOf(plan, chunks, chunks[0].length));
  }
  const event = new ExportedEvent(batch);
  const body = batch._lend();
  const release = (): void => {
    event.destroy();
    body.release();
  };
  exportBoth(
    { layout, arrays: { batch: numbers, dictionary: (id) => dictionaries.get(id)! }, release },
    target,
    schema,
  );
  writeDevice(target, parseSpace(batch.space)!, event.address);
}

function writeDevice(target: bigint, ordinal: number, event: bigint): void {
  const words = new BigUint64Array(16);
  words[AT.device_id / 8] = BigInt(ordinal);
  new Int32Array(words.buffer)[AT.device_type / 4] = DEVICE_TYPE.cuda;
  words[AT.sync_event / 8] = event;
  const from = addressOf(new Uint8Array(words.buffer)) + BigInt(AT.device_id);
  libc().memcpy(target + BigInt(AT.device_id), from, BigInt(AT.size - AT.device_id));
}

/** An event of its own, because that of a batch goes back to a pool once it is done; and the place that points to it. */
class ExportedEvent {
  /** Address of the `CUevent`. */
  readonly address: bigint;
  readonly #space: string;

  constructor(batch: DeviceBatchLike) {
    this.#space = batch.space;
    const { symbols, check } = this.#driver();
    const out = new BigUint64Array(16);
    this.#inContext(() => {
      const flags = CUDA.CU_EVENT_DISABLE_TIMING;
      check(symbols.cuEventCreate(new Uint8Array(out.buffer), flags), "create the event of an exported batch");
      try {
        // On the default stream, which then waits for the batch, too.
        batch.waitOn(0n);
        check(symbols.cuEventRecord(out[0], 0n), "record the event of an exported batch");
      } catch (error) {
        symbols.cuEventDestroy_v2(out[0]);
        throw error;
      }
    });
    this.address = allocate(8);
    libc().memcpy(this.address, addressOf(new Uint8Array(out.buffer)), 8n);
  }

  destroy(): void {
    const event = readAddress(this.address);
    libc().free(this.address);
    // The driver destroys it once the work before it is done; at the end of the process there may be no driver any more.
    this.#inContext(() => this.#driver().symbols.cuEventDestroy_v2(event));
  }

  #driver(): { symbols: ReturnType<typeof openCuda>["symbols"]; check: (result: number, action: string) => void } {
    const driver = openCuda();
    return { symbols: driver.symbols, check: (result, action) => driver.check(result, action) };
  }

  #inContext(run: () => void): void {
    const driver = openCuda();
    const context = new PrimaryContext(driver.symbols, driver.deviceInfo(this.#space).handle, this.#space);
    try {
      context.run(run);
    } finally {
      context.release();
    }
  }
}

/** The numbers of columns. */
function numbersOf(plan: NodePlan, columns: readonly DeviceColumnLike[], rows: number): ArrayNumbers {
  const builder = new NumbersBuilder(plan.nodeCount, plan.bufferCounts[5]);
  let node = 0;
  const add = (column: DeviceColumnLike): void => {
    const kind = plan.kinds[node++];
    builder.node(column.length, column.nullCount);
    for (const { role } of BUFFERS[kind]) {
      if (role === "variadic") {
        builder.variadic(column.variadic.length);
        for (const buffer of column.variadic) builder.buffer(Number(buffer.address), buffer.byteLength);
      } else {
        const buffer = role === "unused" ? null : column[role];
        builder.buffer(Number(buffer?.address ?? 0n), buffer?.byteLength ?? 0);
      }
    }
    column.children.forEach(add);
  };
  columns.forEach(add);
  return builder.build(rows);
}
