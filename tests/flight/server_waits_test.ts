/** How long a server waits for a client that is quiet, and for one that sends too little. */
import { assertEquals } from "@std/assert";
import { FlightClient, type FlightServer, serveFlight } from "../../flight.ts";
import { Flag, frame, FrameType } from "../../src/http2/frames.ts";
import { HpackDecoder } from "../../src/http2/hpack.ts";
import { assertDipcError } from "../support/assert.ts";
import { join, utf8 } from "../support/bytes.ts";
import { cutFrames, request, requestBlock, START } from "../support/http2_raw.ts";
import { delay, until } from "../support/time.ts";

const SERVICE = "/arrow.flight.protocol.FlightService/";
/** A FlightData with the schema's place taken by application metadata: field 3, one byte. */
const MESSAGE = Uint8Array.of(0, 0, 0, 0, 3, 0x1a, 1, 0x78);

/** A server with short times, that takes what it is sent. */
async function impatient(): Promise<FlightServer> {
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
async function statusOf(port: number, method: string, pieces: [pauseMs: number, bytes: Uint8Array][]): Promise<string> {
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

Deno.test("an upload, an exchange and a handshake may be quiet before their first message as long as after it", async (t) => {
  await using server = await impatient();
  for (const method of ["DoPut", "DoExchange", "Handshake"]) {
    await t.step(method, async () => {
      const message = method === "Handshake" ? Uint8Array.of(0, 0, 0, 0, 0) : MESSAGE;
      assertEquals(await statusOf(server.port, method, [[700, message], [700, message], [700, new Uint8Array()]]), "0");
    });
  }
});

Deno.test("a message that has begun must go on, and a client may not be quiet forever", async (t) => {
  await using server = await impatient();
  for (const method of ["DoPut", "DoExchange", "Handshake"]) {
    await t.step(method, async () => {
      const long = Uint8Array.of(0, 0, 0, 0, 9, 0x1a);
      assertEquals(await statusOf(server.port, method, [[700, long], [1000, new Uint8Array(8)]]), "4");
      assertEquals(await statusOf(server.port, method, [[2500, MESSAGE]]), "4");
    });
  }
});

Deno.test("a client that thinks before its handshake gets its answer", async () => {
  await using server = await impatient();
  await using client = await FlightClient.connect(server.location);
  async function* payloads() {
    await delay(700);
    yield utf8("a");
    await delay(700);
    yield utf8("b");
  }
  const answers: string[] = [];
  for await (const payload of client.handshake(payloads())) answers.push(new TextDecoder().decode(payload));
  assertEquals(answers, ["a", "b"]);
  async function* never() {
    await delay(2500);
    yield utf8("a");
  }
  await assertDipcError("timeout", "", async () => {
    for await (const _ of client.handshake(never()));
  });
});
