/**
 * Calls of Flight made by hand, message by message.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { FlightHandlers } from "../../../flight.ts";
import { Flag, frame, FrameType } from "../../../src/http2/frames.ts";
import { HpackDecoder } from "../../../src/http2/hpack.ts";
import { grpcMessage, join } from "../../support/bytes.ts";
import { cutFrames, request, requestBlock, START } from "../../support/http2_raw.ts";

/** Methods that take messages. */
export const METHODS = [
  ...["GetFlightInfo", "ListFlights", "DoGet", "DoAction", "DoPut", "DoExchange", "Handshake"],
] as const;

/** Handlers that take what they are sent. */
export const TAKING_HANDLERS: FlightHandlers = {
  async doPut(upload) {
    for await (const item of upload) item.message?.body?.release();
  },
  async doExchange(exchange) {
    for await (const item of exchange) item.message?.body?.release();
  },
  async *handshake(payloads) {
    yield* payloads;
  },
};

/** Asserts that a call with a compressed message gets UNIMPLEMENTED, and the encoding that is accepted. */
export async function assertRefusesCompression(port: number, method: string): Promise<void> {
  const found = await answerOf(port, method, [grpcMessage(new Uint8Array(3), 3, 1)]);
  assertEquals([found["grpc-status"], found["grpc-accept-encoding"]], ["12", "identity"], method);
}

/** Sends messages of a call; returns the headers and trailers of the answer. */
export async function answerOf(port: number, method: string, messages: Uint8Array[]): Promise<Record<string, string>> {
  using socket = await Deno.connect({ hostname: "127.0.0.1", port });
  const path = `/arrow.flight.protocol.FlightService/${method}`;
  await socket.write(join(
    START,
    request(1, Flag.endHeaders, requestBlock(path)),
    ...messages.map((message) => frame(FrameType.data, 0, 1, message)),
    frame(FrameType.data, Flag.endStream, 1),
  ));
  const hpack = new HpackDecoder(65_536);
  const buffer = new Uint8Array(65_536);
  const found: Record<string, string> = {};
  let pending: Uint8Array = new Uint8Array();
  while (!("grpc-status" in found)) {
    const n = await socket.read(buffer);
    if (n === null) throw new Error("the connection was closed");
    const { frames, rest } = cutFrames(join(pending, buffer.slice(0, n)));
    pending = rest;
    for (const { type, payload } of frames) {
      if (type === FrameType.headers) Object.assign(found, Object.fromEntries(hpack.decode(payload).fields));
    }
  }
  return found;
}
