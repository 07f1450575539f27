/**
 * Calls of clients that are quiet for a while, made by hand, and a server that does not wait long.
 *
 * @module
 */
import { type FlightServer, serveFlight } from "../../../flight.ts";
import { Flag, frame, FrameType } from "../../../src/http2/frames.ts";
import { HpackDecoder } from "../../../src/http2/hpack.ts";
import { join } from "../../support/bytes.ts";
import { cutFrames, request, requestBlock, START } from "../../support/http2_raw.ts";
import { delay, until } from "../../support/time.ts";

const SERVICE = "/arrow.flight.protocol.FlightService/";
/** A FlightData with the schema's place taken by application metadata: field 3, one byte. */
export const METADATA_MESSAGE = Uint8Array.of(0, 0, 0, 0, 3, 0x1a, 1, 0x78);
/** A message of protobuf without fields. */
export const EMPTY_MESSAGE = Uint8Array.of(0, 0, 0, 0, 0);

/** A server with short times, that takes what it is sent. */
export async function impatientServer(): Promise<FlightServer> {
  return await serveFlight({
    limits: { requestTimeoutMs: 300, idleTimeoutMs: 1500 },
    handlers: {
      async doPut(upload) {
        for await (const item of upload) item.message?.body?.release();
      },
      async doExchange(exchange) {
        for await (const item of exchange) item.message?.body?.release();
      },
      async *handshake(payloads) {
        for await (const payload of payloads) yield payload;
      },
    },
  });
}

/** Sends pieces of a call with pauses before them; returns the status that it ends with. */
export async function statusOf(
  port: number,
  method: string,
  pieces: [pauseMs: number, bytes: Uint8Array][],
): Promise<string> {
  using socket = await Deno.connect({ hostname: "127.0.0.1", port });
  await socket.write(join(START, request(1, Flag.endHeaders, requestBlock(SERVICE + method))));
  let status: string | null = null;
  const hpack = new HpackDecoder(65_536);
  (async () => {
    const buffer = new Uint8Array(65_536);
    let pending: Uint8Array = new Uint8Array();
    for (let n; (n = await socket.read(buffer)) !== null;) {
      const { frames, rest } = cutFrames(join(pending, buffer.slice(0, n)));
      pending = rest;
      for (const { type, payload } of frames) {
        if (type !== FrameType.headers) continue;
        status ??= hpack.decode(payload).fields.find(([name]) => name === "grpc-status")?.[1] ?? null;
      }
    }
  })().catch(() => {});
  for (const [i, [pauseMs, bytes]] of pieces.entries()) {
    await delay(pauseMs);
    const isLast = i === pieces.length - 1;
    await socket.write(frame(FrameType.data, isLast ? Flag.endStream : 0, 1, bytes)).catch(() => {});
  }
  return await until(() => status, (it) => it !== null) ?? "";
}
