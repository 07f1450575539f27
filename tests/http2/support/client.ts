/**
 * What the tests of the HTTP/2 client share.
 *
 * @module
 */
import type { ClientStream } from "../../../src/http2/client_stream.ts";
import { Http2Error, Http2Reset } from "../../../src/http2/errors.ts";
import { Flag, settingsFrame } from "../../../src/http2/frames.ts";
import type { HeaderField } from "../../../src/http2/static_table.ts";
import { join } from "../../support/bytes.ts";
import { answer, MemoryClientConnection } from "../../support/http2_raw.ts";

const { endStream } = Flag;

/** What a server starts with. */
export const HELLO: Uint8Array = settingsFrame([]);

/** Settings with the number of streams that a server takes. */
export const maxStreams = (count: number): Uint8Array => settingsFrame([[3, count]]);

/** Settings with the window of each stream. */
export const initialWindow = (bytes: number): Uint8Array => settingsFrame([[4, bytes]]);

/** What an answer that is well starts with. */
export const OK_STATUS: HeaderField = [":status", "200"];

/** The end of an answer that is well. */
export const trailers = (streamId: number): Uint8Array => answer(streamId, endStream, [["grpc-status", "0"]]);

/** A whole answer, without a body. */
export const whole = (streamId: number): Uint8Array => join(answer(streamId), trailers(streamId));

/** The same bytes again and again. */
export const times = (count: number, bytes: Uint8Array): Uint8Array =>
  join(...Array.from({ length: count }, () => bytes));

/** Does it. */
export const nothing = (): void => {};

/** The payload of a PING. */
export const eights: Uint8Array = new Uint8Array(8);

/** A connection that has got a server's first bytes. */
export async function connected(...parts: Uint8Array[]): Promise<MemoryClientConnection> {
  const memory = new MemoryClientConnection();
  await memory.send(...(parts.length > 0 ? parts : [HELLO]));
  return memory;
}

/** Reads what there is. */
export function readAll(stream: ClientStream): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (let piece = stream.read(); piece !== null; piece = stream.read()) pieces.push(piece);
  return join(...pieces);
}

/** Notes what a stream tells, in order. */
export function watch(stream: ClientStream): string[] {
  const log: string[] = [];
  stream.onHeaders = (status, fields) => log.push(`headers ${status} ${[...fields].join(" ")}`.trim());
  stream.onTrailers = (fields) => log.push(`trailers ${[...fields].join(" ")}`);
  stream.onReadable = () => log.push(stream.isReadToEnd ? "end" : "readable");
  stream.onClose = () => log.push(`closed ${stream.error === null ? "in order" : stream.error.name}`);
  return log;
}

/** The code of an error of HTTP/2. */
export function codeOf(error: Error | null): number | undefined {
  return error instanceof Http2Error || error instanceof Http2Reset ? error.code : undefined;
}
