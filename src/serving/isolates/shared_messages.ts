/**
 * The messages of a dataset in memory, described once in shared memory for all isolates: their bodies are addresses, which are
 * the same for every thread of a process.
 *
 * @module
 */
import type { MessageKind } from "../../ipc/message.ts";
import type { ResidentDataset } from "../../sources/resident.ts";
import type { SendableDataset, SendableHeader, SendableMessage, SendableStream } from "../../stream/sendable.ts";
import { LocalError } from "../../errors.ts";
import { AddressBody } from "./address_body.ts";

/** Numbers for each message: end of its metadata, kind, rows, bytes of the body, end of its buffers, address of the body. */
const FIELDS = 6;
const KINDS: readonly MessageKind[] = ["schema", "dictionary", "batch"];

/** Messages in memory, as an isolate of the process finds them. */
export interface SharedMessages {
  /** Metadata of all messages, one after another, each at a multiple of 8. */
  readonly metadata: SharedArrayBuffer;
  /** `FIELDS` numbers of 64 bits for each message. */
  readonly table: SharedArrayBuffer;
  /** Offset and length of every buffer of all messages, numbers of 64 bits. */
  readonly buffers: SharedArrayBuffer;
}

const align = (length: number): number => Math.ceil(length / 8) * 8;

/**
 * Describes the messages of a dataset. It must stay open while an isolate uses the description.
 *
 * @param dataset The dataset
 */
export function shareMessages({ _messages: messages }: ResidentDataset): SharedMessages {
  const length = messages.reduce((sum, { header }) => sum + align(header.bytes.byteLength), 0);
  const metadata = new SharedArrayBuffer(length);
  const table = new SharedArrayBuffer(messages.length * FIELDS * BigInt64Array.BYTES_PER_ELEMENT);
  const places = messages.reduce((sum, { header }) => sum + header.buffers.length, 0);
  const buffers = new SharedArrayBuffer(places * Float64Array.BYTES_PER_ELEMENT);
  const bytes = new Uint8Array(metadata);
  const numbers = new BigInt64Array(table);
  const allBuffers = new Float64Array(buffers);
  let at = 0, place = 0;
  for (const [index, { header, body }] of messages.entries()) {
    bytes.set(header.bytes, at);
    allBuffers.set(header.buffers, place);
    place += header.buffers.length;
    const row = [at + header.bytes.byteLength, KINDS.indexOf(header.kind), header.rows, body?.byteLength ?? 0, place];
    numbers.set(row.map(BigInt), index * FIELDS);
    numbers[index * FIELDS + FIELDS - 1] = BigInt.asIntN(64, body?.address ?? 0n);
    at += align(header.bytes.byteLength);
  }
  return { metadata, table, buffers };
}

/** A dataset over such messages, in any isolate. */
export class SharedDataset implements SendableDataset {
  readonly schema: SendableHeader;
  readonly #messages: readonly SendableMessage[];

  /**
   * @param schema The schema message
   * @param shared Its messages, which keep their places for as long as the dataset is used
   */
  constructor(schema: SendableHeader, { metadata, table, buffers: all }: SharedMessages) {
    this.schema = schema;
    const numbers = new BigInt64Array(table);
    const messages: SendableMessage[] = [];
    for (let at = 0, place = 0, row = 0; row < numbers.length; row += FIELDS) {
      const [end, kind, rows, byteLength, endPlace] = [0, 1, 2, 3, 4].map((field) => Number(numbers[row + field]));
      const buffers = new Float64Array(all, place * Float64Array.BYTES_PER_ELEMENT, endPlace - place);
      const header = { kind: KINDS[kind], rows, bytes: new Uint8Array(metadata, at, end - at), buffers };
      place = endPlace;
      const address = BigInt.asUintN(64, numbers[row + FIELDS - 1]);
      messages.push({ header, body: new AddressBody(address, byteLength, null) });
      at = align(end);
    }
    this.#messages = messages;
  }

  open({ signal }: { signal?: AbortSignal } = {}): SendableStream {
    const messages = this.#messages;
    let index = 0;
    let isClosed = false;
    return {
      next() {
        if (isClosed || signal?.aborted) {
          throw new LocalError("closed", "cannot read the dataset in memory: the run through it was closed", {
            cause: signal?.reason,
          });
        }
        return index === messages.length ? null : messages[index++];
      },
      close() {
        isClosed = true;
      },
    };
  }
}
