/**
 * One side of the wire as a process of its own.
 *
 * - `sender SIZE`: listens, prints its port, and sends frames and bodies of SIZE bytes to everybody forever.
 * - `receiver PORT SIZE`: connects, prints "connected", and receives them forever.
 * - `listener`: listens, prints its port, and keeps every connection until its peer is gone.
 * - `whole`: both sides and one transfer; prints "done".
 * - `idle COUNT`: COUNT connections that wait; prints "waiting", and at a line on standard input closes all of them.
 *
 * @module
 */
import { hostPool } from "../../../src/memory/host_pool.ts";
import type { Block } from "../../../src/memory/block.ts";
import type { Channel, Operation, Receive } from "../../../src/wire/transport.ts";
import { ucxTransport } from "../../../src/wire/ucx/transport.ts";
import { pump } from "../../support/ucx_pair.ts";

const WINDOW = 8;
const MASK = 0xffff_ffffn;

/** Sends forever. */
export function sendForEver(channel: Channel, size: number): Promise<boolean> {
  const body = hostPool().acquire(size).toBody(size);
  const metadata = new Uint8Array(300);
  const pending: Operation[] = [];
  let sequence = 0;
  return channel.until(() => {
    while (pending.length > 0 && pending[0].poll() !== 0) pending.shift();
    for (let i = 0; i < 32 && pending.length < WINDOW; i++) {
      channel.sendFrame(1, sequence, metadata);
      const operation = channel.sendTagged(BigInt(sequence), body, true);
      if (operation !== null) pending.push(operation);
      sequence = (sequence + 1) >>> 0;
    }
    return false;
  }).finally(() => channel.close()).finally(() => body.release());
}

/** Receives forever; `onBody` is called for each. */
export async function receiveForEver(channel: Channel, size: number, onBody: (count: number) => void): Promise<void> {
  const queue: { block: Block; receive: Receive }[] = [];
  let count = 0;
  try {
    await channel.until(() => {
      for (let frame; queue.length < WINDOW && (frame = channel.takeFrame()) !== null;) {
        const sequence = new DataView(frame.buffer, frame.byteOffset).getUint32(1, true);
        const block = hostPool().acquire(size);
        queue.push({ block, receive: channel.receive(BigInt(sequence), MASK, block, size) });
      }
      while (queue.length > 0 && queue[0].receive.poll() !== 0) {
        queue.shift()!.block.release();
        onBody(++count);
      }
      return false;
    });
  } finally {
    await channel.close();
    for (const { block } of queue) block.release();
  }
}

async function main([mode, ...rest]: string[]): Promise<void> {
  const transport = await ucxTransport();
  if (mode === "sender") {
    const listener = await transport.listen({
      host: "127.0.0.1",
      port: 0,
      onChannel: (channel) => void sendForEver(channel, Number(rest[0])).catch(() => {}),
    });
    console.log(listener.address.port);
  } else if (mode === "listener") {
    const listener = await transport.listen({
      host: "127.0.0.1",
      port: 0,
      onChannel: (channel) => void channel.until(() => false).catch(() => channel.close()),
      onError: (error) => console.error(`${error.code}: ${error.message}`),
    });
    console.log(listener.address.port);
  } else if (mode === "receiver") {
    const address = { host: "127.0.0.1", port: Number(rest[0]) };
    const channel = await transport.connect(address, null, { timeoutMs: 20_000 });
    console.log("connected");
    await receiveForEver(channel, Number(rest[1]), () => {});
  } else {
    const count = mode === "idle" ? Number(rest[0]) : 1;
    const channels: Channel[] = [];
    const onChannel = (channel: Channel) => {
      pump(channel);
      channels.push(channel);
    };
    const listener = await transport.listen({ host: "127.0.0.1", port: 0, onChannel });
    for (let i = 0; i < count; i++) {
      const client = await transport.connect(listener.address, null, { timeoutMs: 20_000 });
      pump(client);
      channels.push(client);
    }
    if (mode === "idle") {
      console.log("waiting");
      await Deno.stdin.read(new Uint8Array(100));
    } else {
      const block = hostPool().acquire(1 << 20);
      const [server, client] = channels;
      const receive = client.receive(1n, MASK, block, 1 << 20);
      server.sendTagged(1n, hostPool().acquire(1 << 20).toBody(1 << 20), true);
      await client.until(() => receive.poll() !== 0);
    }
    for (const channel of channels) await channel.close();
    await listener.close();
    await transport.close();
    console.log("done");
  }
}

if (import.meta.main) await main(Deno.args);
