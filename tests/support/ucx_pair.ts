/**
 * Both ends of UCX channels in one isolate, for tests of the wire, and what they must leave behind: nothing.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { hostPool } from "../../src/memory/host_pool.ts";
import type { Channel, Listener, Operation, Transport } from "../../src/wire/transport.ts";
import { liveEndpoints } from "../../src/wire/ucx/endpoint.ts";
import { progressLoop } from "../../src/wire/ucx/loop.ts";
import { ucxTransport, type UcxTransportOptions } from "../../src/wire/ucx/transport.ts";
import { liveWorkers } from "../../src/wire/ucx/worker.ts";
import { descriptors } from "./proc.ts";

/** How long a test waits for what must come. */
export const LONG_MS = 20_000;

/** Keeps a channel moving until it is closed, as a reader or a sender of the library does. */
export function pump(channel: Channel): void {
  channel.until(() => false).catch(() => {});
}

/** A transport with one listener. */
export class Bench implements AsyncDisposable {
  readonly transport: Transport;
  readonly listener: Listener;
  readonly accepted: Channel[];

  private constructor(transport: Transport, listener: Listener, accepted: Channel[]) {
    this.transport = transport;
    this.listener = listener;
    this.accepted = accepted;
  }

  /** Listens on a free port. */
  static async open(options: UcxTransportOptions = {}, host = "127.0.0.1"): Promise<Bench> {
    const transport = await ucxTransport(options);
    const accepted: Channel[] = [];
    const listener = await transport.listen({
      host,
      port: 0,
      onChannel(channel) {
        pump(channel);
        accepted.push(channel);
      },
    });
    return new Bench(transport, listener, accepted);
  }

  /** A new connection: the client's end and the server's. */
  async pair(): Promise<[client: Channel, server: Channel]> {
    const before = this.accepted.length;
    const client = await this.transport.connect(this.listener.address, null, { timeoutMs: LONG_MS });
    pump(client);
    assertEquals(this.accepted.length, before + 1);
    return [client, this.accepted[before]];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.listener.close();
    for (const channel of this.accepted) await channel.close();
    await this.transport.close();
  }
}

/** Waits until an operation is over. */
export async function settle(channel: Channel, operation: Operation | null): Promise<Operation | null> {
  if (operation !== null && !await channel.until(() => operation.poll() !== 0, { timeoutMs: LONG_MS })) {
    throw new Error(`an operation is still pending after ${LONG_MS} ms`);
  }
  return operation;
}

/** Waits for the next frame. */
export async function nextFrame(channel: Channel): Promise<Uint8Array<ArrayBuffer>> {
  let frame: Uint8Array<ArrayBuffer> | null = null;
  if (!await channel.until(() => (frame = channel.takeFrame()) !== null, { timeoutMs: LONG_MS })) {
    throw new Error(`no frame within ${LONG_MS} ms`);
  }
  return frame!;
}

/** Bytes that differ from place to place and from seed to seed. */
export function pattern(byteLength: number, seed: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(byteLength);
  for (let i = 0; i < byteLength; i++) bytes[i] = (i * 31 + (i >> 8) * 17 + seed) & 255;
  return bytes;
}

/** Runs a test, then checks that it left no worker, endpoint, wait, block or file descriptor. */
export async function withoutLeaks(run: () => Promise<void>): Promise<void> {
  progressLoop(); // its two file descriptors stay for the life of the isolate
  const blocks = hostPool().stats.blocksOut;
  const before = descriptors("self");
  await run();
  assertEquals(liveWorkers, 0, "workers left");
  assertEquals(liveEndpoints(), 0, "endpoints left");
  // Those of a channel that has just been closed end in the turn after.
  for (let i = 0; i < 50 && progressLoop().waits > 0; i++) await new Promise((r) => setTimeout(r, 20));
  assertEquals(progressLoop().waits, 0, "waits left");
  assertEquals(hostPool().stats.blocksOut, blocks, "blocks left");
  // UCX's own thread closes some a moment later.
  for (let i = 0; i < 50 && descriptors("self").length > before.length; i++) {
    await new Promise((r) => setTimeout(r, 20));
  }
  assertEquals(descriptors("self"), before, "file descriptors left");
}
