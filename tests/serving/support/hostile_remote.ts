/**
 * Peers that break the rules of memory that is read by remote keys: a server with a key and lists of its own, and a client that sends
 * what it likes.
 *
 * @module
 */
import { hostPool } from "../../../src/memory/host_pool.ts";
import { wrapBytes } from "../../../src/memory/wrap.ts";
import { readerLimits } from "../../../src/limits.ts";
import { formatUri, parseUri, type UcxUri } from "../../../src/protocol/uri.ts";
import { IncomingStream } from "../../../src/stream/incoming.ts";
import type { Channel, LentMemory, Listener, Transport } from "../../../src/wire/transport.ts";
import { ucxTransport } from "../../../src/wire/ucx/transport.ts";
import { type HostileOptions, REGION_BYTES, serveHostile, WANT_DATA } from "./hostile_sharing.ts";

/** A server that lends memory by a remote key, by rules of its own. */
export class HostileLender implements AsyncDisposable {
  readonly memory: LentMemory;
  readonly #transport: Transport;
  readonly #listener: Listener;
  readonly #stop: AbortController;
  readonly #running: Set<Promise<void>>;

  private constructor(
    parts: { transport: Transport; listener: Listener; memory: LentMemory },
    stop: AbortController,
    running: Set<Promise<void>>,
  ) {
    this.#transport = parts.transport;
    this.#listener = parts.listener;
    this.memory = parts.memory;
    this.#stop = stop;
    this.#running = running;
  }

  /** Listens. */
  static async open(options: Pick<HostileOptions, "dataset" | "list">): Promise<HostileLender> {
    const transport = await ucxTransport();
    const stop = new AbortController();
    const running = new Set<Promise<void>>();
    let memory: LentMemory | null = null;
    const listener = await transport.listen({
      ...{ host: "127.0.0.1", port: 0, remoteMemory: true },
      onChannel: (channel) => {
        const run = serveHostile(channel, options, { region: memory!, signal: stop.signal })
          .catch(() => {}).finally(() => running.delete(run));
        running.add(run);
      },
    });
    memory = listener.lend!(REGION_BYTES);
    return new HostileLender({ transport, listener, memory }, stop, running);
  }

  /** Its URI, with the key as it is or another one. */
  uri(key: Uint8Array = this.memory.key): string {
    const { address } = this.#listener;
    return formatUri({ ...address, ticket: "t", wantData: WANT_DATA, freeData: 78n, remoteHandle: key });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
    await this.#listener.close();
    this.memory.close();
    await this.#transport.close();
  }
}

/** A client that takes lists of addresses, reads nothing there, and sends what it likes. */
export class HostileReader implements AsyncDisposable {
  /** Addresses that it was lent, in order. */
  readonly lent: bigint[] = [];
  readonly uri: UcxUri;
  #channel: Channel | null = null;
  #stream: IncomingStream | null = null;
  #transport: Transport | null = null;

  /** @param uri The server */
  constructor(uri: string) {
    this.uri = parseUri(uri);
  }

  /** Requests the stream, as one who knows the specification alone, and takes so many messages. */
  async read(messages: number): Promise<void> {
    const { host, port, wantData, ticket } = this.uri;
    this.#transport = await ucxTransport();
    const channel = this.#channel = await this.#transport.connect({ host, port }, null, { timeoutMs: 10_000 });
    this.#stream = new IncomingStream(channel, {
      ...{ limits: readerLimits(undefined), pool: hostPool(), timeoutMs: 10_000, errorMessages: false, isApart: false },
      addressed: {
        bodyOf: (list, { bodyLength }) => {
          const words = new BigUint64Array(list.slice().buffer);
          for (let i = 2; i < words.length; i += 2) if (words[i] !== 0n) this.lent.push(words[i]);
          return hostPool().acquire(bodyLength).toBody(bodyLength);
        },
        flush() {},
        close() {},
      },
    });
    channel.sendTagged(wantData, wrapBytes(ticket!.slice()), false);
    for (let i = 0; i < messages; i++) (await this.#stream.next())?.body?.release();
  }

  /** Sends a tagged message. */
  say(bytes: Uint8Array<ArrayBuffer>, tag: bigint = this.uri.freeData!): void {
    this.#channel!.sendTagged(tag, wrapBytes(bytes), false);
  }

  /** Waits until the server has closed the connection. */
  async left(): Promise<void> {
    const channel = this.#channel!;
    await channel.until(() => channel.failure !== null, { timeoutMs: 20_000 });
  }

  /** Reads on to the end, and gives everything back. @returns the error that the stream ends with, if it does */
  async rest(giveBack: (lent: readonly bigint[]) => Uint8Array<ArrayBuffer>): Promise<unknown> {
    try {
      for (let message; (message = await this.#stream!.next()) !== null;) {
        message.body?.release();
        if (this.lent.length > 0) this.say(giveBack(this.lent.splice(0)));
      }
      return null;
    } catch (error) {
      return error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stream?.close();
    await this.#transport?.close();
  }
}
