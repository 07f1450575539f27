/**
 * Makes device batches from memory that other code has filled: buffers anywhere on the GPU are gathered into one body.
 *
 * @module
 */
import type { Schema } from "apache-arrow";
import { DipcError } from "../errors.ts";
import { BUFFERS, hasValidity } from "../ipc/buffers.ts";
import { encodeSchema } from "../ipc/encode.ts";
import { HeaderReader, NO_HEADER_LIMITS, type VerifiedHeader } from "../ipc/header.ts";
import type { FieldLayout, NodePlan } from "../ipc/layout.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { encodeBatchMetadata } from "../ipc/metadata_writer.ts";
import { quoted } from "../ipc/quote.ts";
import type { Body } from "../memory/block.ts";
import type { Gpu } from "../memory/cuda/device.ts";
import type { DeviceEvent } from "../memory/cuda/device_event.ts";
import { EMPTY_BODY } from "../memory/empty.ts";
import { type CudaDevice, gpuOf } from "./cuda_device.ts";
import { DictionaryChunk, DictionarySet } from "./dictionaries.ts";
import { DeviceRecordBatch, DeviceStreamShape } from "./record_batch.ts";

/** Buffers start at multiples of this many bytes of the body. */
const ALIGNMENT = 64;

/** Device memory that other code owns. */
export interface DeviceBufferSource {
  /** Device address of its first byte. */
  readonly address: bigint;
  /** Size in bytes. */
  readonly byteLength: number;
}

/** One column in device memory that other code owns, such as a {@linkcode DeviceColumn}. */
export interface DeviceColumnSource {
  /** Number of values. */
  readonly length: number;
  /** Number of nulls. Default 0. */
  readonly nullCount?: number;
  /** Required if there are nulls. */
  readonly validity?: DeviceBufferSource | null;
  /** Binary, text, lists, list views, dense unions. */
  readonly offsets?: DeviceBufferSource | null;
  /** List views. */
  readonly sizes?: DeviceBufferSource | null;
  /** Unions. */
  readonly typeIds?: DeviceBufferSource | null;
  /** Values of fixed width, indices into a dictionary, bytes of binary and text, views. */
  readonly data?: DeviceBufferSource | null;
  /** View types: the buffers that hold long values. */
  readonly variadic?: readonly DeviceBufferSource[];
  /** Columns inside a nested one. */
  readonly children?: readonly DeviceColumnSource[];
}

/** What {@linkcode deviceBatch} makes a batch from. */
export interface DeviceBatchSource {
  /** The schema: apache-arrow's, or the schema message of a stream. */
  readonly schema: Schema | MessageHeader;
  /** The GPU that all buffers are on, such as `"cuda:0"`. */
  readonly device: string | CudaDevice;
  /** Number of rows. */
  readonly rows: number;
  /** The columns in the order of the schema. */
  readonly columns: readonly DeviceColumnSource[];
  /** The values of each dictionary of the schema, by its id. */
  readonly dictionaries?: ReadonlyMap<bigint, DeviceColumnSource>;
  /** Shares the dictionaries of another batch instead. */
  readonly dictionariesOf?: DeviceRecordBatch;
  /** A recorded `CUevent` after which the buffers are filled; it may be destroyed or recorded again afterwards. */
  readonly event?: bigint;
  /** Instead of `event`: a `CUstream` of the device's primary context, whose work queued so far fills the buffers. */
  readonly stream?: bigint;
  /** Batches to wait for, because the buffers are theirs. */
  readonly after?: readonly DeviceRecordBatch[];
  /** Owner of the buffers: kept until they have been read, and then disposed if it is disposable. */
  readonly owner?: object;
}

/**
 * A batch from device pointers and lengths. The driver checks each pointer: the whole buffer must be memory of the
 * device. The buffers are then copied into one body, on the device, after the producer's event; they may be reused once
 * the batch is {@linkcode DeviceRecordBatch.ready}.
 *
 * @param source Schema, columns, and what to wait for
 * @returns The batch, which may still be filled: its `event` marks the end of the copies
 * @throws {DipcError} `invalid_argument` for pointers and columns that do not fit; `invalid_data` for buffers too short for
 * their column; `out_of_memory`; what the driver reports
 */
export function deviceBatch(source: DeviceBatchSource): DeviceRecordBatch {
  const device = gpuOf(source.device);
  const shape = shapeOf(source.schema);
  const common = { device, schema: shape.schema, after: producer(device, source), owner: source.owner };
  const made: DictionaryChunk[] = [];
  try {
    const given = source.dictionaries ?? new Map<bigint, DeviceColumnSource>();
    for (const { id, plan } of shape.schema.layout.dictionaries.values()) {
      const values = given.get(id);
      if (values === undefined) continue;
      const gathered = gather({ ...common, plan, columns: [values], rows: values.length, dictionaryId: id });
      made.push(new DictionaryChunk(gathered.header, gathered.body, gathered.event));
    }
    const { columns, rows } = source;
    const batch = gather({ ...common, plan: shape.schema.plan, columns, rows, dictionaryId: null });
    const dictionaries = source.dictionariesOf?._dictionaries.hold() ?? DictionarySet.of(made);
    release(source.owner, batch.event ?? made.at(-1)?.event ?? null);
    return new DeviceRecordBatch({ device, shape, ...batch, dictionaries });
  } catch (error) {
    for (const chunk of made) chunk.body.release();
    throw error;
  }
}

const shapes = new WeakMap<object, DeviceStreamShape>();

/** One shape per schema object, shared by the batches of a stream. */
function shapeOf(schema: Schema | MessageHeader): DeviceStreamShape {
  let shape = shapes.get(schema);
  if (shape === undefined) {
    const header = "bytes" in schema ? schema : encodeSchema(schema);
    shape = new DeviceStreamShape(HeaderReader.continuing(header, NO_HEADER_LIMITS).schema!);
    shapes.set(schema, shape);
  }
  return shape;
}

function producer(device: Gpu, { event, stream, after = [] }: DeviceBatchSource): readonly DeviceEvent[] {
  if (event !== undefined && stream !== undefined) {
    throw new DipcError(
      "invalid_argument",
      "cannot make a device batch: it has both an event and a stream to wait for; leave one out",
    );
  }
  const events = after.flatMap((batch) => batch.event === null ? [] : [batch.event]);
  if (event !== undefined) events.push(device.eventOf({ event }));
  if (stream !== undefined) events.push(device.eventOf({ stream }));
  return events;
}

/** Disposes the owner of the buffers once they have been read. */
function release(owner: object | undefined, event: DeviceEvent | null): void {
  const dispose = (owner as Partial<Disposable> | undefined)?.[Symbol.dispose];
  if (dispose === undefined) return;
  if (event === null) return dispose.call(owner as Disposable);
  const disposeOwner = () => void dispose.call(owner as Disposable);
  event.done({ timeoutMs: Infinity }).then(disposeOwner, disposeOwner);
}

interface Gathered {
  readonly header: VerifiedHeader;
  readonly body: Body;
  readonly event: DeviceEvent | null;
}

/** Columns that become one message. */
interface GatherRequest {
  readonly device: Gpu;
  /** Header of the schema message. */
  readonly schema: VerifiedHeader;
  /** Nodes and buffers of the message. */
  readonly plan: NodePlan;
  readonly columns: readonly DeviceColumnSource[];
  readonly rows: number;
  /** What to wait for before the buffers are read. */
  readonly after: readonly DeviceEvent[];
  /** Kept until the buffers have been read. */
  readonly owner: object | undefined;
  /** The dictionary whose values the only column holds; `null` for a batch. */
  readonly dictionaryId: bigint | null;
}

/** Writes the metadata of the columns, verifies it and their memory, and starts the copies into one body. */
function gather(request: GatherRequest): Gathered {
  const { device, schema, plan, columns, rows, after, owner, dictionaryId } = request;
  const layout = new GatherLayout(plan, columns, dictionaryId !== null);
  const places: number[] = [];
  let end = 0;
  for (const { byteLength } of layout.buffers) {
    places.push(end, byteLength);
    end += Math.ceil(byteLength / ALIGNMENT) * ALIGNMENT;
  }
  const metadata = encodeBatchMetadata({
    rows,
    bodyLength: end,
    nodes: layout.nodes,
    buffers: places,
    variadicCounts: layout.variadicCounts,
    dictionary: dictionaryId === null ? undefined : { id: dictionaryId, isDelta: false },
  });
  const header = HeaderReader.continuing(schema, NO_HEADER_LIMITS).read(metadata);
  for (const { address, byteLength, what } of layout.buffers) device.checkRange(address, byteLength, what);
  if (end === 0) return { header, body: EMPTY_BODY, event: null };
  const block = device.pool.acquire(end);
  try {
    // Blocks are recycled: old content of the gaps between the buffers must not be sent.
    let event = device.copies.fill(block.address, 0, end, { after, uses: [block], keep: owner });
    layout.buffers.forEach(({ address, byteLength }, i) => {
      if (byteLength === 0) return;
      const target = block.address + BigInt(places[2 * i]);
      event = device.copies.copyOnDevice(target, address, byteLength, { uses: [block], keep: owner });
    });
    return { header, body: block.toBody(end), event };
  } catch (error) {
    block.release();
    throw error;
  }
}

interface NamedBuffer extends DeviceBufferSource {
  /** Description for messages. */
  readonly what: string;
}

/** Nodes and buffers of columns in the order in which metadata lists them. */
class GatherLayout {
  readonly nodes: number[] = [];
  readonly buffers: NamedBuffer[] = [];
  readonly variadicCounts: number[] = [];
  readonly #plan: NodePlan;

  constructor(plan: NodePlan, columns: readonly DeviceColumnSource[], asValues: boolean) {
    this.#plan = plan;
    if (columns.length !== plan.roots.length) {
      throw new DipcError(
        "invalid_argument",
        `cannot make a device batch: it has ${columns.length} columns, but its schema has ${plan.roots.length}`,
      );
    }
    plan.roots.forEach((field, i) => this.#add(field, columns[i], !asValues && field.dictionary !== null));
  }

  #add(field: FieldLayout, column: DeviceColumnSource, isEncoded: boolean): void {
    const kind = this.#plan.kinds[this.nodes.length / 2];
    const { length, children = [] } = column;
    const nulls = hasValidity(kind) ? column.nullCount ?? 0 : field.type.id === "null" ? length : 0;
    this.nodes.push(length, nulls);
    for (const { role, name } of BUFFERS[kind]) {
      if (role === "variadic") {
        const buffers = column.variadic ?? [];
        this.variadicCounts.push(buffers.length);
        for (const buffer of buffers) this.#take(buffer, name, field);
      } else {
        const isAbsent = role === "unused" || (role === "validity" && nulls === 0);
        this.#take(isAbsent ? null : column[role], name, field);
      }
    }
    if (isEncoded) return;
    if (children.length !== field.children.length) {
      throw new DipcError(
        "invalid_argument",
        `cannot make a device batch: column ${
          quoted(field.path)
        } has ${children.length} children, expected ${field.children.length}`,
      );
    }
    field.children.forEach((child, i) => this.#add(child, children[i], child.dictionary !== null));
  }

  #take(buffer: DeviceBufferSource | null | undefined, name: string, { path }: FieldLayout): void {
    const { address, byteLength } = buffer ?? { address: 0n, byteLength: 0 };
    this.buffers.push({ address, byteLength, what: `the ${name} buffer of column ${quoted(path)}` });
  }
}
