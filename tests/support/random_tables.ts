/**
 * Random Arrow streams: schemas of every type, batches, dictionaries that are replaced and grow, compressed bodies.
 *
 * @module
 */
import { zstdCompressSync } from "node:zlib";
import { HeaderReader } from "../../src/ipc/header.ts";
import type { IpcMessage, MessageHeader } from "../../src/ipc/message.ts";
import { wrapBytes } from "../../src/memory/wrap.ts";
import type { Dataset } from "../../src/sources/dataset.ts";
import { batch, batchMessage, dictionaryMessage, type FlatObject, schemaMessage, writeFlat } from "./ipc_flatbuffer.ts";
import { Parts, type RandomType, RandomTypes } from "./random_types.ts";
import type { Random } from "./random.ts";

/** One message, which is handed out many times. */
interface Stored {
  readonly header: MessageHeader;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

interface Dictionary {
  readonly id: bigint;
  readonly values: RandomType;
  mayChange: boolean;
  length: number;
  isSent: boolean;
}

/** A random dataset, which can be read many times. */
export function randomDataset(random: Random): Dataset {
  const dictionaries: Dictionary[] = [];
  const types = new RandomTypes(random, {
    add(values, isSimple) {
      // Those inside were added while the values were made, so they come first.
      const dictionary = { id: BigInt(dictionaries.length), values, mayChange: isSimple, length: 0, isSent: false };
      // The values of one that has others inside refer to those as they are now.
      if (!isSimple) { for (const inner of dictionaries) inner.mayChange = false; }
      dictionaries.push(dictionary);
      return { id: dictionary.id, length: () => dictionary.length };
    },
  });
  const columns = Array.from({ length: random.pick([0, 1, 1, 2, 3]) }, () => ({
    type: types.any(),
    isNullable: random.chance(0.8),
  }));
  const reader = new HeaderReader();
  const fields = columns.map(({ type, isNullable }, i) => type.field(random.pick([`c${i}`, `é ${i}`]), isNullable));
  const schema = reader.read(writeFlat(schemaMessage(fields)).bytes);
  const isCompressed = random.chance(0.2);
  const messages: Stored[] = [];
  for (let n = random.below(4); n > 0; n--) {
    for (const dictionary of dictionaries) {
      const change = dictionary.isSent ? dictionary.mayChange ? random.below(4) : 0 : 3;
      if (change < 2) continue;
      const isDelta = change === 2;
      const count = random.below(isDelta ? 5 : 12);
      dictionary.length = isDelta ? dictionary.length + count : count;
      dictionary.isSent = true;
      messages.push(encode(reader, dictionary.values, count, isCompressed, { id: dictionary.id, isDelta }));
    }
    const rows = random.pick([0, 1, 7, 20]);
    const parts = new Parts();
    for (const { type, isNullable } of columns) type.fill(rows, isNullable, parts);
    messages.push(stored(reader, rows, parts, isCompressed, null));
  }
  return {
    schema,
    readOnce: false,
    open() {
      let at = 0;
      return {
        next: (): IpcMessage | null => {
          if (at === messages.length) return null;
          const { header, bytes } = messages[at++];
          return { header, body: wrapBytes(bytes.slice()) };
        },
        close() {},
      };
    },
    close() {},
  };
}

type DictionaryId = { readonly id: bigint; readonly isDelta: boolean } | null;

function encode(
  reader: HeaderReader,
  type: RandomType,
  rows: number,
  isCompressed: boolean,
  dictionary: DictionaryId,
): Stored {
  const parts = new Parts();
  type.fill(rows, true, parts);
  return stored(reader, rows, parts, isCompressed, dictionary);
}

function stored(
  reader: HeaderReader,
  rows: number,
  parts: Parts,
  isCompressed: boolean,
  dictionary: DictionaryId,
): Stored {
  const buffers = isCompressed ? parts.buffers.map(compressed) : parts.buffers;
  const places: bigint[] = [];
  let end = 0;
  for (const { byteLength } of buffers) {
    places.push(BigInt(end), BigInt(byteLength));
    end += Math.ceil(byteLength / 8) * 8;
  }
  const bytes = new Uint8Array(end);
  buffers.forEach((buffer, i) => bytes.set(buffer, Number(places[2 * i])));
  const spec = {
    rows: BigInt(rows),
    nodes: parts.nodes.map(BigInt),
    buffers: places,
    variadic: parts.variadicCounts.length > 0 ? parts.variadicCounts.map(BigInt) : undefined,
    compression: isCompressed ? [1, 0] as [number, number] : undefined,
  };
  const bodyLength = BigInt(end);
  let message: FlatObject;
  if (dictionary === null) message = batchMessage(spec, { bodyLength });
  else {
    const { id, isDelta } = dictionary;
    message = dictionaryMessage(id, batch(spec), isDelta);
    (message as { table: unknown[] }).table[3] = { i64: bodyLength };
  }
  return { header: reader.read(writeFlat(message).bytes), bytes };
}

/** Length and ZSTD, or the bytes as they are behind the length -1. */
function compressed(bytes: Uint8Array, index: number): Uint8Array {
  if (bytes.byteLength === 0) return bytes;
  const isPlain = index % 3 === 0;
  const content = isPlain ? bytes : zstdCompressSync(bytes);
  const out = new Uint8Array(8 + content.byteLength);
  new DataView(out.buffer).setBigInt64(0, isPlain ? -1n : BigInt(bytes.byteLength), true);
  out.set(content, 8);
  return out;
}
