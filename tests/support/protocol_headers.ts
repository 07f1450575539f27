/**
 * Message headers for tests of the state machines, without Arrow: the metadata of a message is one letter and the
 * decimal length of its body, such as `B64`.
 *
 * @module
 */
import { DipcError } from "../../src/errors.ts";
import type { MessageHeader, MessageKind } from "../../src/ipc/message.ts";
import { encodeFrame, METADATA } from "../../src/protocol/prefix.ts";

const KINDS: Record<string, MessageKind> = { S: "schema", D: "dictionary", B: "batch" };
const NONE = new Float64Array(0);

/** Reads such metadata. @throws {DipcError} `invalid_data` for anything else */
export function readTestHeader(metadata: Uint8Array): MessageHeader {
  const text = new TextDecoder("latin1").decode(metadata);
  const match = /^([SDB])(-?[0-9.]+|NaN)$/.exec(text);
  if (match === null) throw new DipcError("invalid_data", "this is not a test header");
  return {
    kind: KINDS[match[1]],
    bytes: metadata.slice(),
    bodyLength: Number(match[2]),
    rows: 1,
    dictionaryId: -1n,
    isDelta: false,
    nodes: NONE,
    buffers: NONE,
    variadicCounts: NONE,
    compression: "none",
  };
}

/** A metadata frame with such metadata. */
export function testFrame(sequence: number, text: string): Uint8Array<ArrayBuffer> {
  return encodeFrame(METADATA, sequence, new TextEncoder().encode(text));
}
