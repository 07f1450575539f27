/**
 * Datasets for simulations: real Arrow messages, made once, served from simulated memory.
 *
 * @module
 */
import {
  Dictionary,
  Int32,
  makeData,
  RecordBatchStreamWriter,
  Table,
  tableFromArrays,
  Utf8,
  Vector,
} from "apache-arrow";
import { HeaderReader } from "../../src/ipc/header.ts";
import type { IpcMessage, MessageHeader } from "../../src/ipc/message.ts";
import type { Dataset, MessageStream } from "../../src/sources/dataset.ts";
import type { Random } from "../../src/wire/random.ts";
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

function streamOf(name: string, table: Table): StoredStream {
  return splitStream(name, RecordBatchStreamWriter.writeAll(table).toUint8Array(true));
}

function integers(batches: number, rows: (batch: number) => number): Table {
  const empty = tableFromArrays({ n: new Int32Array(0) });
  const all = Array.from({ length: batches }, (_, batch) => {
    const n = Int32Array.from({ length: rows(batch) }, (_, row) => batch * 1000 + row);
    return tableFromArrays({ n }).batches[0] ?? empty.batches[0];
  });
  return new Table(empty.schema, all);
}

function words(batches: number): Table {
  const dictionary = new Vector([...tableFromArrays({ w: ["red", "green", "blue"] }).batches[0].data.children]);
  const values = new Vector<Utf8>([dictionary.data[0].dictionary?.data[0] ?? dictionary.data[0]]);
  const type = new Dictionary(new Utf8(), new Int32(), 7);
  const parts = Array.from({ length: batches }, (_, batch) =>
    makeData({
      type,
      length: 5,
      nullCount: 0,
      data: Int32Array.from({ length: 5 }, (_, i) => (i + batch) % 3),
      dictionary: values,
    }));
  return new Table({ word: new Vector(parts) });
}

/** Streams of every shape that matters to the protocol. */
export function storedStreams(): StoredStream[] {
  return [
    streamOf("no batch", integers(0, () => 0)),
    streamOf("one batch", integers(1, () => 16)),
    streamOf("small batches", integers(40, (i) => 1 + i % 7)),
    streamOf("empty batches", integers(24, (i) => i % 3 === 0 ? 4 : 0)),
    streamOf("only empty batches", integers(12, () => 0)),
    streamOf("large and small", integers(18, (i) => i % 4 === 0 ? 5000 : 3)),
    streamOf("large", integers(6, () => 8000)),
    streamOf("dictionary", words(6)),
    streamOf("long", integers(320, () => 2)),
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
