/**
 * Messages whose counts and buffers the test decides: short ones that mean much data.
 *
 * @module
 */
import { HeaderReader, type VerifiedHeader } from "../../src/ipc/header.ts";
import type { ArrowType, FieldLayout } from "../../src/ipc/layout.ts";
import type { IpcMessage } from "../../src/ipc/message.ts";
import { encodeBatchMetadata } from "../../src/ipc/metadata_writer.ts";
import { encodeSchemaMessage } from "../../src/ipc/schema_writer.ts";
import { wrapBytes } from "../../src/memory/wrap.ts";

/** A nullable field for {@linkcode messagesOf}. */
export function shortField(
  type: ArrowType,
  children: readonly FieldLayout[] = [],
  dictionary: FieldLayout["dictionary"] = null,
): FieldLayout {
  return { name: "c", path: "c", nullable: true, metadata: new Map(), type, children, dictionary };
}

/** A batch, or the values of dictionary 0. */
export interface ShortMessage {
  readonly rows: number;
  /** Length and null count of each node. */
  readonly nodes: readonly number[];
  readonly buffers: readonly (Uint8Array | Int32Array | BigInt64Array)[];
  readonly variadicCounts?: readonly number[];
  readonly isDictionary?: boolean;
}

/** The messages of a stream of one column. */
export function messagesOf(
  column: FieldLayout,
  messages: readonly ShortMessage[],
): { schema: VerifiedHeader; messages: IpcMessage[] } {
  const headers = new HeaderReader();
  const schema = headers.read(encodeSchemaMessage([column], new Map()));
  return {
    schema,
    messages: messages.map(({ rows, nodes, buffers, variadicCounts = [], isDictionary = false }) => {
      const bodyLength = buffers.reduce((end, { byteLength }) => end + Math.ceil(byteLength / 8) * 8, 0);
      const body = new Uint8Array(bodyLength), places: number[] = [];
      let at = 0;
      for (const buffer of buffers) {
        body.set(new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength), at);
        places.push(at, buffer.byteLength);
        at += Math.ceil(buffer.byteLength / 8) * 8;
      }
      const dictionary = isDictionary ? { id: 0n, isDelta: false } : undefined;
      const metadata = encodeBatchMetadata({ rows, bodyLength, nodes, buffers: places, variadicCounts, dictionary });
      return { header: headers.read(metadata), body: wrapBytes(body) };
    }),
  };
}
