/**
 * A record batch in the memory of another library of this process.
 *
 * @module
 */
import { type Schema, Vector } from "apache-arrow";
import { DipcError } from "../errors.ts";
import type { ColumnPlan } from "../ipc/column_plan.ts";
import { ColumnBuilder } from "../ipc/columns.ts";
import { VerifiedHeader } from "../ipc/header.ts";
import { type BatchDictionaries, BatchSource, lazyBatch, type OwnedRecordBatch } from "../ipc/lazy_batch.ts";
import type { NodePlan } from "../ipc/layout.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { encodeBatchMetadata } from "../ipc/metadata_writer.ts";
import type { ImportedArrays } from "./array_in.ts";
import { type ForeignColumn, foreignColumns, type PlacedNumbers } from "./columns.ts";
import { ForeignBody } from "./foreign_body.ts";
import type { ForeignMemory } from "./foreign_memory.ts";
import type { ForeignSchema } from "./foreign_schema.ts";
import type { ArrayNumbers } from "./numbers.ts";

/** The device whose memory a batch is in. */
export interface ForeignDevice {
  /** Memory space: `"host"`, or `"cuda:N"` for the memory of a GPU. */
  readonly space: string;
  /** `ArrowDeviceType` of the structure. */
  readonly deviceType: number;
  /** Number of the device, −1 for host memory. */
  readonly deviceId: bigint;
  /** Address of the event that must be done before the memory is read, such as a `cudaEvent_t *`; `0n` if there is none. */
  readonly syncEvent: bigint;
}

/** Host memory. */
export const HOST: ForeignDevice = { space: "host", deviceType: 1, deviceId: -1n, syncEvent: 0n };

/**
 * A record batch where another library of this process has put it. Nothing is copied.
 *
 * It owns the structure that it was imported from, which is released once, when the batch, and what was made of it, is disposed or
 * collected. Take it over with {@linkcode toRecordBatch} or {@linkcode toMessages}, or dispose it.
 */
export class ForeignBatch implements Disposable {
  readonly #schema: ForeignSchema;
  readonly #arrays: ImportedArrays;
  readonly #device: ForeignDevice;
  readonly #metadata: ReadonlyMap<string, string>;
  #body: ForeignBody | null;
  #dictionaries: ForeignBody[] | null = null;

  /** @ignore Use `importRecordBatch`. Takes over the caller's use of the memory. */
  constructor(
    schema: ForeignSchema,
    arrays: ImportedArrays,
    memory: ForeignMemory,
    device: ForeignDevice = HOST,
    metadata: ReadonlyMap<string, string> = NO_METADATA,
  ) {
    this.#schema = schema;
    this.#arrays = arrays;
    this.#device = device;
    this.#metadata = metadata;
    this.#body = new ForeignBody(arrays.batch, memory, device.space);
    memory.count(arrays.batch.bodyLength);
    memory.drop();
  }

  /** Number of rows. */
  get numRows(): number {
    return this.#arrays.batch.rows;
  }

  /** The schema message, for every Arrow type. */
  get schemaHeader(): MessageHeader {
    return this.#schema.header;
  }

  /** The schema. @throws {DipcError} `unsupported` if apache-arrow has no such type */
  get schema(): Schema {
    return this.#schema.decoded.batch.schema;
  }

  /** The device whose memory it is in. */
  get device(): ForeignDevice {
    return this.#device;
  }

  /** Keys and values that came with the batch; only an asynchronous stream sends some. */
  get metadata(): ReadonlyMap<string, string> {
    return this.#metadata;
  }

  /** The columns by their addresses, for every Arrow type. @throws {DipcError} `closed` after the batch was taken over or disposed */
  get columns(): readonly ForeignColumn[] {
    const body = this.#held();
    const bodies = this.#dictionaryBodies(body);
    const { layout } = this.#schema.header;
    const placed = (body: ForeignBody, plan: NodePlan): PlacedNumbers => ({
      plan,
      numbers: body.numbers,
      placeOf: (index) => body.placeOf(index),
    });
    return foreignColumns(placed(body, layout.plan), (id) => {
      const at = this.#arrays.dictionaries.findIndex((each) => each.id === id);
      return placed(bodies[at], layout.dictionaries.get(id)!.plan);
    });
  }

  /**
   * The batch as apache-arrow represents it, in place. It owns the memory from now on.
   *
   * @throws {DipcError} `unsupported` if apache-arrow has no such type, or the memory is that of a device; this batch stays as it is
   * then. `closed` after the batch was taken over or disposed. Its columns throw `invalid_data` when they are first read, if their
   * content contradicts itself
   */
  toRecordBatch(): OwnedRecordBatch {
    const body = this.#held();
    this.#checkHost("toRecordBatch");
    const { batch, dictionaries: plans } = this.#schema.decoded;
    const header = this.#header(this.#arrays.batch, this.#schema.header.layout.plan, null);
    header.customMetadata = new Map();
    header.starts = this.#schema.startsOf(header);
    const bodies = this.#arrays.dictionaries.length === 0 ? NO_BODIES : this.#dictionaryBodies(body);
    const dictionaries = bodies.length === 0 ? NO_DICTIONARIES : this.#values(plans, bodies);
    body.owns(bodies);
    this.#body = this.#dictionaries = null;
    return lazyBatch(batch.schema, new BatchSource(header, batch, dictionaries, body, 0));
  }

  /**
   * The batch as messages, for every Arrow type: the dictionaries that its columns refer to, then the record batch. Their bodies are
   * in place for a reader in this process; a transport gets a copy in one piece.
   *
   * @returns The messages; the caller releases their bodies, each of which keeps the memory
   * @throws {DipcError} `unsupported` if the memory is that of a device; `closed` after the batch was taken over or disposed
   */
  toMessages(): IpcMessage[] {
    const body = this.#held();
    this.#checkHost("toMessages");
    const { layout } = this.#schema.header;
    const bodies = this.#dictionaryBodies(body);
    const messages = this.#arrays.dictionaries.map(({ id, values }, i): IpcMessage => ({
      header: this.#header(values, layout.dictionaries.get(id)!.plan, id),
      body: bodies[i],
    }));
    messages.push({ header: this.#header(this.#arrays.batch, layout.plan, null), body });
    this.#body = this.#dictionaries = null;
    return messages;
  }

  /** Whether the batch was taken over or disposed. */
  get isDisposed(): boolean {
    return this.#body === null;
  }

  /** Releases the memory, unless the batch was taken over. Idempotent. */
  [Symbol.dispose](): void {
    this.#body?.release();
    for (const body of this.#dictionaries ?? []) body.release();
    this.#body = this.#dictionaries = null;
  }

  #held(): ForeignBody {
    if (this.#body !== null) return this.#body;
    throw new DipcError("closed", "cannot use an imported batch: it was disposed or taken over; import it again");
  }

  #checkHost(call: string): void {
    const { space } = this.#device;
    if (space === "host") return;
    throw new DipcError(
      "unsupported",
      `cannot call ${call} of a batch in ${space}: the memory of a device has addresses only; use columns`,
    );
  }

  #dictionaryBodies(body: ForeignBody): ForeignBody[] {
    if (this.#dictionaries !== null) return this.#dictionaries;
    const memory = body.share();
    this.#dictionaries = this.#arrays.dictionaries.map(({ values }) =>
      new ForeignBody(values, memory, this.#device.space)
    );
    memory.drop();
    return this.#dictionaries;
  }

  #header(numbers: ArrayNumbers, plan: NodePlan, dictionaryId: bigint | null): VerifiedHeader {
    const { rows, nodes, buffers, variadicCounts, bodyLength } = numbers;
    const { layout } = this.#schema.header;
    return new VerifiedHeader({
      kind: dictionaryId === null ? "batch" : "dictionary",
      bytes: () =>
        encodeBatchMetadata({
          rows,
          bodyLength,
          nodes: [...nodes],
          buffers: [...buffers],
          variadicCounts: [...variadicCounts],
          dictionary: dictionaryId === null ? undefined : { id: dictionaryId, isDelta: false },
        }),
      bodyLength,
      rows,
      dictionaryId: dictionaryId ?? -1n,
      isDelta: false,
      nodes,
      buffers,
      variadicCounts,
      compression: "none",
      layout,
      plan,
      version: 5,
    });
  }

  /** The dictionaries, whose values are built when they are first needed. */
  #values(plans: ReadonlyMap<bigint, ColumnPlan>, bodies: readonly ForeignBody[]): BatchDictionaries {
    const { dictionaries } = this.#arrays;
    const { layout } = this.#schema.header;
    const built = new Map<bigint, Vector>();
    const get = (id: bigint): Vector => {
      const known = built.get(id);
      if (known !== undefined) return known;
      const at = dictionaries.findIndex((each) => each.id === id);
      const header = this.#header(dictionaries[at].values, layout.dictionaries.get(id)!.plan, id);
      const source = { header, buffer: (index: number) => bodies[at].bufferInPlace(index), dictionary: get };
      const vector = new Vector([new ColumnBuilder(source, 0, 0, 0).build(plans.get(id)!)]);
      built.set(id, vector);
      return vector;
    };
    return { get };
  }
}

const NO_METADATA: ReadonlyMap<string, string> = new Map();
const NO_BODIES: ForeignBody[] = [];
const NO_DICTIONARIES: BatchDictionaries = { get: () => null };
