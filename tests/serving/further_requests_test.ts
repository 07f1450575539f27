/**
 * What a client sends on a UCX connection after its first request: further ones, requests to stop, and what it must not send.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { serve, type Server } from "../../mod.ts";
import { wrapBytes } from "../../src/memory/wrap.ts";
import { hostPool } from "../../src/memory/host_pool.ts";
import { encodeRequest, encodeStop, REQUEST_ERRORS, REQUEST_KEEP } from "../../src/protocol/envelope.ts";
import { END_OF_STREAM, ERROR_MESSAGE, frameType, METADATA } from "../../src/protocol/prefix.ts";
import { SEQUENCE_MASK } from "../../src/protocol/tag.ts";
import { parseUri } from "../../src/protocol/uri.ts";
import { type Channel, PENDING, type Transport } from "../../src/wire/transport.ts";
import { ucxTransport } from "../../src/wire/ucx/transport.ts";
import { generated } from "../support/generated.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { until } from "../support/time.ts";

const LONG_MS = 20_000;
const KEEP = REQUEST_ERRORS | REQUEST_KEEP;

/** A client that does everything by hand. */
class HandMadeClient implements AsyncDisposable {
  readonly #channel: Channel;
  readonly #wantData: bigint;

  private constructor(channel: Channel, wantData: bigint) {
    this.#channel = channel;
    this.#wantData = wantData;
  }

  static async connect(transport: Transport, server: Server): Promise<HandMadeClient> {
    const uri = parseUri(server.datasets[0].uris[0]);
    return new HandMadeClient(await transport.connect(uri, null, { timeoutMs: LONG_MS }), uri.wantData);
  }

  send(bytes: Uint8Array<ArrayBuffer>, tag = this.#wantData): void {
    this.#channel.sendTagged(tag, wrapBytes(bytes), false);
  }

  request(name: string, flags = KEEP): void {
    this.send(encodeRequest(new TextEncoder().encode(name), flags));
  }

  sendFrame(): void {
    this.#channel.sendFrame(METADATA, 0, new Uint8Array(8));
  }

  /** Takes one stream and all of its bodies: the types of its frames. */
  async take(): Promise<number[]> {
    const types: number[] = [];
    const channel = this.#channel;
    const isOver = (): boolean => {
      for (let frame; (frame = channel.takeFrame()) !== null;) types.push(frameType(frame));
      return [END_OF_STREAM, ERROR_MESSAGE].includes(types.at(-1) ?? -1);
    };
    let taken = 0;
    while (!isOver() || taken < types.filter((type) => type === METADATA).length - 1) {
      await channel.until(() => isOver() || types.length > taken + 1, { timeoutMs: LONG_MS });
      if (types.filter((type) => type === METADATA).length - 1 <= taken) continue;
      const message = await this.#probe();
      const block = hostPool().acquire(message);
      const receive = channel.receive(BigInt(++taken), SEQUENCE_MASK, block, message);
      await channel.until(() => receive.poll() !== PENDING, { timeoutMs: LONG_MS });
      block.release();
    }
    return types;
  }

  async #probe(): Promise<number> {
    await this.#channel.until(() => this.#channel.probe() !== null, { timeoutMs: LONG_MS });
    return this.#channel.probe()!.byteLength;
  }

  /** Resolves once the server has closed the connection. */
  async closed(): Promise<void> {
    if (this.#channel.failure === null) await this.#channel.until(() => false, { timeoutMs: LONG_MS }).catch(() => {});
    assertEquals(this.#channel.failure?.code, "connection_lost");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#channel.close();
  }
}

testNeeding(
  [needsUcx],
  "further requests, requests to stop, and what a client must not send on a connection",
  async () => {
    await using server = await serve({ datasets: { few: generated(2, 10), many: generated(1_000_000, 10_000) } });
    const errors: string[] = [];
    server.addEventListener("error", ({ detail: { error } }) => errors.push(`${error!.code}: ${error!.message}`));
    const transport = await ucxTransport();
    const few = [METADATA, METADATA, METADATA, END_OF_STREAM];
    const counts = async (): Promise<number[]> => {
      await until(() => server.stats.activeConnections === 0);
      return [server.stats.connections, server.stats.idleConnections];
    };
    try {
      await using client = await HandMadeClient.connect(transport, server);
      for (let i = 0; i < 3; i++) {
        client.request("few");
        assertEquals(await client.take(), few);
        // One that has crossed the end of the stream means nothing, also if the next request follows at once.
        if (i > 0) client.send(encodeStop());
      }
      assertEquals(await counts(), [1, 1]);
      client.request("many");
      client.send(encodeStop());
      const types = await client.take();
      assertEquals(types.at(-1), ERROR_MESSAGE);
      client.request("few");
      assertEquals(await client.take(), few);
      assertEquals([await counts(), errors], [[1, 1], [
        "cancelled: cannot complete the stream: the client wanted no more of it",
      ]]);
      errors.length = 0;

      const misdeeds: [name: string, act: (client: HandMadeClient) => Promise<void>, error: string][] = [
        ["another tag while it waits", async (it) => {
          it.request("few");
          await it.take();
          await until(() => server.stats.idleConnections === 2);
          it.send(new Uint8Array(3), 77n);
        }, "protocol: cannot answer the client: the tag of its request"],
        ["a frame while it waits", async (it) => {
          it.request("few");
          await it.take();
          await until(() => server.stats.idleConnections === 2);
          it.sendFrame();
        }, "protocol: cannot answer the client: it sent an untagged message"],
        ["a second request during a stream", async (it) => {
          it.request("many");
          it.request("few");
          await it.closed();
        }, "protocol: cannot send the stream: the client sent a tagged message"],
        ["a stop without the word that it may come", async (it) => {
          it.request("many", REQUEST_ERRORS);
          it.send(encodeStop());
          await it.closed();
        }, "protocol: cannot send the stream: the client sent a tagged message"],
        ["a stop that is too long", async (it) => {
          it.request("many");
          it.send(encodeRequest(new Uint8Array(1000), KEEP | 16));
          await it.closed();
        }, "protocol: cannot send the stream: the client sent a tagged message"],
      ];
      for (const [name, act, error] of misdeeds) {
        await using bad = await HandMadeClient.connect(transport, server);
        await act(bad);
        await bad.closed();
        await until(() => errors.length > 0);
        assertEquals(errors.map((text) => text.slice(0, error.length)), [error], name);
        errors.length = 0;
      }
      client.request("few");
      assertEquals(await client.take(), few);
      assertEquals(await counts(), [1 + misdeeds.length, 1]);
    } finally {
      await transport.close();
    }
  },
);
