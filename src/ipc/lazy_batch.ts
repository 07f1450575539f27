/**
 * A `RecordBatch` of apache-arrow that builds its columns on first access.
 *
 * The class's own constructor builds and compares everything at once, which is several times slower than receiving a small
 * batch. So objects are created on its prototype instead. This relies on apache-arrow's internals: its version is pinned,
 * and tests/ipc/decode_test.ts guards them.
 *
 * @module
 */
import { Data, RecordBatch, type Schema, type Struct, Vector } from "apache-arrow";
import { DipcError } from "../errors.ts";
import type { Body } from "../memory/block.ts";
import type { ColumnPlan } from "./column_plan.ts";
import { ColumnBuilder, type ColumnSource } from "./columns.ts";
import { type Allowance, decompressBuffer } from "./compression.ts";
import { bufferName } from "./buffer_name.ts";
import { hostPool } from "../memory/host_pool.ts";
import { whenUnpinned } from "../memory/pins.ts";
import { isScattered, type ScatteredBody } from "../memory/scattered.ts";
import { messageMetadata, type VerifiedHeader } from "./header.ts";

/**
 * A record batch that owns its memory. Disposing it gives the memory back; from then on the batch throws, and columns taken
 * from it before are empty (those of a batch of a few KiB may keep their values, but never show another batch's). Copy
 * values before you transfer them (`postMessage`, `structuredClone`): the memory under them is recycled.
 */
export type OwnedRecordBatch = RecordBatch & Disposable & {
  /**
   * A batch with the same values in memory of its own, which is this process's: for what is kept or changed, while this batch may
   * lie in a server's memory.
   *
   * @throws {DipcError} `closed` after this one was disposed, `out_of_memory`
   */
  copy(): OwnedRecordBatch;
};

const NO_BYTES = new Uint8Array(0);

/** What all batches of a stream have in common. */
export interface BatchShape {
  readonly schema: Schema;
  readonly struct: Struct;
  readonly columns: readonly ColumnPlan[];
  /** Arrays of this class have a getter for each column that is not built yet. */
  readonly Children: new (length: number) => LazyChildren;
}

/** The dictionaries of a batch. */
export interface BatchDictionaries {
  /** The values of one dictionary, `null` if none have been sent. @throws {DipcError} `invalid_data` */
  get(id: bigint): Vector | null;
}

/** What the memory of a batch consists of, for a user that may outlive the batch. */
export interface LentBatch {
  readonly header: VerifiedHeader;
  readonly body: Body | null;
  readonly dictionaries: BatchDictionaries;
  /** Ends the use. Idempotent. */
  release(): void;
}

/** Supplies the buffers of a batch. */
export class BatchSource implements ColumnSource {
  readonly header: VerifiedHeader;
  readonly shape: BatchShape;
  readonly #dictionaries: BatchDictionaries;
  #body: Body | null;
  #bytes: Uint8Array | null = null;
  #scattered: ScatteredBody | null = null;
  /** The batch itself until it is disposed, and who has borrowed its memory. */
  #users = 1;
  #allowance: Allowance | null = null;
  #columns: Data[] | null = null;
  readonly #maxDecompressedBytes: number;

  /** Takes over the body. */
  constructor(
    header: VerifiedHeader,
    shape: BatchShape,
    dictionaries: BatchDictionaries,
    body: Body | null,
    maxDecompressedBytes: number,
  ) {
    this.header = header;
    this.shape = shape;
    this.#dictionaries = dictionaries;
    this.#body = body;
    this.#maxDecompressedBytes = maxDecompressedBytes;
  }

  /** Whether the memory has been given back. */
  isDisposed = false;

  /** Whether another process can write to its memory. */
  get isChangeable(): boolean {
    return this.#body?.isChangeable === true;
  }

  buffer(index: number): Uint8Array {
    const bytes = this.#bytes ?? this.#open();
    if (this.#scattered !== null) return this.#scattered.bufferInPlace(index);
    const { buffers, compression } = this.header;
    const piece = new Uint8Array(bytes.buffer, bytes.byteOffset + buffers[2 * index], buffers[2 * index + 1]);
    return compression === "none"
      ? piece
      : decompressBuffer(compression, piece, this.#allowance!, () => bufferName(this.header, index));
  }

  #open(): Uint8Array {
    this.check();
    if (this.#body !== null && isScattered(this.#body)) {
      this.#scattered = this.#body;
      return this.#bytes = NO_BYTES;
    }
    const raw = this.#body === null ? NO_BYTES : this.#body.bytes();
    this.#bytes = raw.byteOffset % 8 === 0 ? raw : raw.slice();
    if (this.header.compression !== "none") {
      this.#allowance = { left: this.#maxDecompressedBytes, limit: this.#maxDecompressedBytes };
    }
    return this.#bytes;
  }

  dictionary(id: bigint): Vector | null {
    return this.#dictionaries.get(id);
  }

  /** Column `index`, built on first access. */
  column(index: number): Data {
    const known = this.#columns?.[index];
    if (known !== undefined) return known;
    this.check();
    const starts = this.header.starts!;
    const builder = new ColumnBuilder(this, starts[3 * index], starts[3 * index + 1], starts[3 * index + 2]);
    const column = builder.build(this.shape.columns[index]);
    (this.#columns ??= [])[index] = column;
    return column;
  }

  /** The children of the struct behind the batch. */
  children(): Data[] {
    const count = this.shape.columns.length;
    // For a small batch, building all of them costs less than the getters that would defer it.
    if (count <= 2 || this.header.rows <= 1024) {
      const children: Data[] = [];
      for (let i = 0; i < count; i++) children.push(this.column(i));
      return children;
    }
    const children = new this.shape.Children(count);
    children.source = this;
    return children;
  }

  /** @throws {DipcError} `closed` after {@linkcode dispose} */
  check(): void {
    if (this.isDisposed) {
      throw new DipcError(
        "closed",
        "cannot read a record batch: it was disposed, and its memory may hold another batch; copy what you need before disposing it",
      );
    }
  }

  /** Lends the memory to a user that may outlive the batch; the batch itself stays as it is. */
  lend(): LentBatch {
    this.check();
    const body = this.#body;
    this.#users++;
    let isLent = true;
    return {
      header: this.header,
      body,
      dictionaries: this.#dictionaries,
      release: () => {
        if (isLent) this.#drop(body);
        isLent = false;
      },
    };
  }

  /** The same in memory of its own. */
  copy(): BatchSource {
    this.check();
    const body = this.#body;
    let copied: Body | null = null;
    if (body !== null) {
      const block = hostPool().acquire(body.byteLength);
      if (body.byteLength > 0) block.bytes().set(body.bytes().subarray(0, body.byteLength));
      copied = block.toBody(body.byteLength);
    }
    return new BatchSource(this.header, this.shape, this.#dictionaries, copied, this.#maxDecompressedBytes);
  }

  dispose(): void {
    if (this.isDisposed) return;
    this.isDisposed = true;
    const body = this.#body;
    const buffer = this.#bytes?.buffer ?? null;
    this.#body = null;
    this.#bytes = null;
    this.#scattered = null;
    this.#columns = null;
    // Slices of the batch may be in use outside JavaScript.
    if (body !== null) whenUnpinned(buffer, () => this.#drop(body));
  }

  #drop(body: Body | null): void {
    if (--this.#users === 0) body?.release();
  }
}

/** Children of the struct behind a batch. */
export type LazyChildren = Data[] & { source: BatchSource };

type LazyChildrenClass = new (length: number) => LazyChildren;

/** The classes that were made, by the number of columns. */
const classes = new Map<number, LazyChildrenClass>();
/** Classes of more columns are not kept. */
const MAX_KEPT_COLUMNS = 256;

/** The class of the children of batches with so many columns. */
export function lazyChildrenClass(columns: number): LazyChildrenClass {
  const made = classes.get(columns) ?? makeChildrenClass(columns);
  if (columns <= MAX_KEPT_COLUMNS) classes.set(columns, made);
  return made;
}

function makeChildrenClass(columns: number): LazyChildrenClass {
  class Children extends Array<Data> {
    declare source: BatchSource;
    static override get [Symbol.species](): ArrayConstructor {
      return Array;
    }
  }
  for (let index = 0; index < columns; index++) {
    Object.defineProperty(Children.prototype, index, {
      configurable: true,
      get(this: LazyChildren): Data {
        const value = this.source.column(index);
        Object.defineProperty(this, index, { value, writable: true, enumerable: true, configurable: true });
        return value;
      },
    });
  }
  return Children as unknown as LazyChildrenClass;
}

interface LazyFields {
  schema: Schema;
  source: BatchSource;
  lazyData: Data | null;
}

function LazyBatch(this: LazyFields, schema: Schema, source: BatchSource): void {
  this.schema = schema;
  this.source = source;
  this.lazyData = null;
}

LazyBatch.prototype = Object.create(RecordBatch.prototype, {
  data: {
    configurable: true,
    get(this: LazyFields): Data {
      const { source } = this;
      source.check();
      if (this.lazyData !== null) return this.lazyData;
      return this.lazyData = new Data(source.shape.struct, 0, source.header.rows, 0, undefined, source.children());
    },
  },
  numRows: {
    configurable: true,
    get(this: LazyFields): number {
      this.source.check();
      return this.source.header.rows;
    },
  },
  getChildAt: {
    configurable: true,
    writable: true,
    value(this: LazyFields, index: number): Vector | null {
      this.source.check();
      return index >= 0 && index < this.source.shape.columns.length ? new Vector([this.source.column(index)]) : null;
    },
  },
  _metadata: {
    configurable: true,
    get(this: LazyFields): Map<string, string> {
      return new Map(messageMetadata(this.source.header));
    },
  },
  copy: {
    configurable: true,
    value(this: LazyFields): OwnedRecordBatch {
      return lazyBatch(this.schema, this.source.copy());
    },
  },
  // Deno's console would print every buffer otherwise.
  [Symbol.for("Deno.customInspect")]: {
    configurable: true,
    value(this: LazyFields): string {
      const { isDisposed, header } = this.source;
      return `RecordBatch ${isDisposed ? "(disposed)" : `(${header.rows} rows)`} ${this.schema}`;
    },
  },
  [Symbol.dispose]: {
    configurable: true,
    value(this: LazyFields): void {
      this.source.dispose();
      this.lazyData = null;
    },
  },
});

const LazyBatchClass = LazyBatch as unknown as new (schema: Schema, source: BatchSource) => OwnedRecordBatch;

/** Makes the batch; nothing is built yet. */
export function lazyBatch(schema: Schema, source: BatchSource): OwnedRecordBatch {
  return new LazyBatchClass(schema, source);
}

/** The source of a batch that {@linkcode lazyBatch} has made; `null` for any other. */
export function sourceOf(batch: RecordBatch): BatchSource | null {
  return batch instanceof LazyBatchClass ? (batch as unknown as LazyFields).source : null;
}
