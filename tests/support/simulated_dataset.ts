/**
 * Datasets for simulations: real Arrow messages, made once, served from simulated memory.
 *
 * @module
 */
import {
  type DataType,
  Dictionary,
  Field,
  Int32,
  makeData,
  RecordBatch,
  RecordBatchStreamWriter,
  Schema,
  Struct,
  Utf8,
  vectorFromArray,
} from "apache-arrow";
import { HeaderReader } from "../../src/ipc/header.ts";
import type { IpcMessage, MessageHeader } from "../../src/ipc/message.ts";
import type { Dataset, MessageStream } from "../../src/sources/dataset.ts";
import type { Random } from "./random.ts";
import type { SimulatedPool } from "./simulated_memory.ts";

/** A message and the bytes of its body. */
export interface StoredMessage {
  readonly header: MessageHeader;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** Messages of a stream: the schema, then the others. */
export interface StoredStream {
  readonly name: string;
  readonly schema: MessageHeader;
  readonly messages: readonly StoredMessage[];
}

/** Splits the bytes of an Arrow stream into verified messages. */
export function splitStream(name: string, bytes: Uint8Array): StoredStream {
  const reader = new HeaderReader();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const messages: StoredMessage[] = [];
  for (let at = 0; at < bytes.byteLength;) {
    const length = view.getInt32(at + 4, true);
    if (length === 0) break;
    const header = reader.read(bytes.slice(at + 8, at + 8 + length));
    at += 8 + length;
    messages.push({ header, body: bytes.slice(at, at + header.bodyLength) });
    at += header.bodyLength;
  }
  return { name, schema: messages[0].header, messages: messages.slice(1) };
}

// deno-lint-ignore no-explicit-any -- the types of apache-arrow's makeData cannot be named here
type Column = any;

function streamOf<T extends DataType>(
  name: string,
  field: Field<T>,
  columns: Column[],
): StoredStream {
  const schema = new Schema<{ [name: string]: T }>([field]);
  const batches = columns.map((column) =>
    new RecordBatch(
      schema,
      makeData({ type: new Struct([field]), length: column.length, nullCount: 0, children: [column] }),
    )
  );
  const writer = new RecordBatchStreamWriter();
  writer.reset(undefined, schema);
  for (const batch of batches) writer.write(batch);
  return splitStream(name, writer.finish().toUint8Array(true));
}

function integers(name: string, batches: number, rows: (batch: number) => number): StoredStream {
  const type = new Int32();
  const columns = Array.from({ length: batches }, (_, batch) => {
    const data = Int32Array.from({ length: rows(batch) }, (_, row) => batch * 1000 + row);
    return makeData({ type, length: data.length, nullCount: 0, data });
  });
  return streamOf(name, new Field("n", type), columns);
}

function words(name: string, batches: number): StoredStream {
  const type = new Dictionary(new Utf8(), new Int32(), 7);
  const dictionary = vectorFromArray(["red", "green", "blue"], new Utf8());
  const columns = Array.from({ length: batches }, (_, batch) => {
    const data = Int32Array.from({ length: 5 }, (_, i) => (i + batch) % 3);
    return makeData({ type, length: 5, nullCount: 0, data, dictionary });
  });
  return streamOf(name, new Field("word", type), columns);
}

/** Streams of every shape that matters to the protocol. */
export function storedStreams(): StoredStream[] {
  return [
    integers("no batch", 0, () => 0),
    integers("one batch", 1, () => 16),
    integers("small batches", 40, (i) => 1 + i % 7),
    integers("empty batches", 24, (i) => i % 3 === 0 ? 4 : 0),
    integers("only empty batches", 12, () => 0),
    integers("large and small", 18, (i) => i % 4 === 0 ? 5000 : 3),
    integers("large", 6, () => 8000),
    words("dictionary", 6),
    integers("long", 320, () => 2),
  ];
}

/** A stored stream as a dataset whose bodies live in `pool`. */
export class StoredDataset implements Dataset {
  readonly schema: MessageHeader;
  readonly readOnce = false;

  /**
   * @param random Decides which messages are given late
   * @param lateness Probability of a promise instead of a message
   * @param failAt Position of the message in whose place the source fails
   */
  constructor(
    readonly stream: StoredStream,
    readonly pool: SimulatedPool,
    readonly random: Random,
    readonly lateness: number,
    readonly failAt: number = -1,
  ) {
    this.schema = stream.schema;
  }

  open(): MessageStream {
    let at = 0;
    const give = (): IpcMessage | null => {
      if (at === this.failAt) throw new Error("the simulated source broke");
      const stored = this.stream.messages[at];
      if (stored === undefined) return null;
      at++;
      return { header: stored.header, body: this.pool.body(stored.body.slice()) };
    };
    return {
      next: () => this.random.chance(this.lateness) ? Promise.resolve().then(give) : give(),
      close: () => {},
    };
  }

  close(): void {}
}
