/**
 * Peers that break the rules of shared memory: a server that hands out what it likes, and a client that frees what it likes.
 *
 * @module
 */
import { libc } from "../../../ffi/libc.ts";
import { hostPool } from "../../../src/memory/host_pool.ts";
import { SharedRegion } from "../../../src/memory/shared_region.ts";
import { wrapBytes } from "../../../src/memory/wrap.ts";
import { addressListBytes, writeAddressList } from "../../../src/protocol/address_list.ts";
import { encodeRequest, REQUEST_ERRORS } from "../../../src/protocol/envelope.ts";
import {
  encodeGranted,
  encodeHello,
  MAX_ANSWER_BYTES,
  MAX_HELLO_BYTES,
  parseAnswer,
  SHARE_ENTRY,
  type SharedMemoryFacts,
} from "../../../src/protocol/share_handshake.ts";
import { FULL_MASK } from "../../../src/protocol/tag.ts";
import { formatUri, parseUri } from "../../../src/protocol/uri.ts";
import type { Dataset } from "../../../src/sources/dataset.ts";
import type { AddressedBodies } from "../../../src/stream/body_sharing.ts";
import { IncomingStream } from "../../../src/stream/incoming.ts";
import { OutgoingStream } from "../../../src/stream/outgoing.ts";
import { readerLimits } from "../../../src/limits.ts";
import { DescriptorWatch } from "../../../src/wire/descriptor_watch.ts";
import { closeDescriptor, LocalSocket, MessageReceiver } from "../../../src/wire/local_socket.ts";
import { type Channel, type Listener, PENDING, type Transport } from "../../../src/wire/transport.ts";
import { ucxTransport } from "../../../src/wire/ucx/transport.ts";

/** Decides what a {@linkcode HostileServer} does. */
export interface HostileOptions {
  /** What is served; its bodies are put at the end of the memory. */
  readonly dataset: Dataset;
  /** Answers a hello. Default: hands out the memory, as a server should. */
  answer?(socket: LocalSocket, region: SharedRegion): void;
  /** Changes a list that is right. Default: sends it. */
  list?(words: BigUint64Array<ArrayBuffer>, region: HostileRegion): Uint8Array<ArrayBuffer>;
}

/** Memory that a hostile server lends. */
export type HostileRegion = Pick<SharedRegion, "base" | "byteLength">;

export const WANT_DATA = 77n;
export const REGION_BYTES: number = 1 << 20;

/** The answer that a server should give. */
export function facts({ generation, base, byteLength }: SharedRegion): SharedMemoryFacts {
  return { generation, base, byteLength };
}

/** A server that shares memory by rules of its own. */
export class HostileServer implements AsyncDisposable {
  readonly region: SharedRegion = SharedRegion.create(REGION_BYTES);
  readonly #name = `dipc-hostile-${crypto.randomUUID()}`;
  readonly #socket = LocalSocket.listen(this.#name);
  readonly #watch = new DescriptorWatch();
  readonly #guests: LocalSocket[] = [];
  readonly #running = new Set<Promise<unknown>>();
  readonly #stop = new AbortController();
  readonly #options: HostileOptions;
  readonly #transport: Transport;
  #listener: Listener | null = null;

  private constructor(transport: Transport, options: HostileOptions) {
    this.#transport = transport;
    this.#options = options;
    this.#watch.add(this.#socket.fd, () => this.#accept());
  }

  /** Listens. */
  static async open(options: HostileOptions): Promise<HostileServer> {
    const server = new HostileServer(await ucxTransport(), options);
    server.#listener = await server.#transport.listen({
      host: "127.0.0.1",
      port: 0,
      onChannel: (channel) => {
        const run = server.#serve(channel).catch(() => {}).finally(() => server.#running.delete(run));
        server.#running.add(run);
      },
    });
    return server;
  }

  /** Its URI. */
  get uri(): string {
    return formatUri({ ...this.#listener!.address, ticket: "t", wantData: WANT_DATA, dipc: true, share: this.#name });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
    await this.#listener!.close();
    await this.#transport.close();
    await this.#watch.close();
    for (const guest of [...this.#guests, this.#socket]) guest.close();
    this.region.close();
  }

  #accept(): void {
    const guest = this.#socket.accept();
    if (guest === null) return;
    this.#guests.push(guest);
    const receiver = new MessageReceiver(MAX_HELLO_BYTES);
    this.#watch.add(guest.fd, () => {
      const message = guest.receive(receiver);
      this.#watch.remove(guest.fd);
      if (message === null || message === "gone") return;
      if (this.#options.answer !== undefined) this.#options.answer(guest, this.region);
      else guest.sendDescriptor(encodeGranted(facts(this.region)), this.region.descriptor);
    });
  }

  #serve(channel: Channel): Promise<void> {
    return serveHostile(channel, this.#options, { region: this.region, signal: this.#stop.signal });
  }
}

/** Answers one request with lists of addresses, as they should be or not. */
export async function serveHostile(
  channel: Channel,
  { dataset, list: change }: Pick<HostileOptions, "dataset" | "list">,
  { region, signal }: { region: HostileRegion; signal: AbortSignal },
): Promise<void> {
  const share = ({ buffers }: { buffers?: ArrayLike<number> }, body: { address: bigint; byteLength: number }) => {
    const start = REGION_BYTES - body.byteLength;
    libc().memcpy(region.base + BigInt(start), body.address, BigInt(body.byteLength));
    const list = new Uint8Array(addressListBytes(buffers!.length / 2));
    writeAddressList(list, region.base + BigInt(start), buffers!);
    return wrapBytes(change?.(new BigUint64Array(list.buffer), region) ?? list);
  };
  try {
    await channel.until(() => channel.probe() !== null, { signal });
    const { byteLength } = channel.probe()!;
    const block = hostPool().acquire(byteLength);
    const receive = channel.receive(WANT_DATA, FULL_MASK, block, byteLength);
    await channel.until(() => receive.poll() !== PENDING, { signal });
    block.release();
    const outgoing = new OutgoingStream(channel, dataset, {
      ...{ role: "both", windowBytes: 1 << 20, windowBatches: 16, idleTimeoutMs: 10_000, signal },
      hasStopped: () => false,
      sharing: {
        mayShare: () => true,
        share: ({ header, body }) => share(header as { buffers?: ArrayLike<number> }, body!),
      },
    });
    await outgoing.run().catch(() => {});
    await channel.until(() => channel.failure !== null, { timeoutMs: 5_000, signal }).catch(() => {});
    await channel.close();
    await outgoing.release();
  } finally {
    await channel.close();
  }
}

/** A client that has got the memory of a server and can then say what it likes. */
export class HostileClient implements AsyncDisposable {
  readonly socket: LocalSocket;
  readonly nonce: Uint8Array<ArrayBuffer> = crypto.getRandomValues(new Uint8Array(16));
  /** Addresses that it was lent, in order. */
  readonly lent: bigint[] = [];
  facts: SharedMemoryFacts | null = null;
  readonly #uri: ReturnType<typeof parseUri>;
  #stream: IncomingStream | null = null;
  #transport: Transport | null = null;

  /** @param uri The server */
  constructor(uri: string) {
    this.#uri = parseUri(uri);
    this.socket = LocalSocket.connect(this.#uri.share!);
  }

  /** Says hello, as a client should, and closes the descriptor that it gets. @returns the code of an error, if it is refused */
  async hello(nonce: Uint8Array = this.nonce, ticket: Uint8Array = this.#uri.ticket!): Promise<string> {
    this.socket.send(encodeHello({ nonce, ticket, kind: "host" }));
    return await this.answer();
  }

  /** Waits for an answer. @returns the code of an error, `""` for memory, `"gone"` at the end of the connection */
  async answer(): Promise<string> {
    await this.socket.readable(10_000);
    const message = this.socket.receive(new MessageReceiver(MAX_ANSWER_BYTES));
    if (message === null || message === "gone") return message ?? "nothing";
    for (const descriptor of message.descriptors) closeDescriptor(descriptor);
    const parsed = parseAnswer(message.bytes);
    if ("code" in parsed) return parsed.code;
    this.facts = parsed;
    return "";
  }

  /** Requests the stream by UCX, and takes the first so many messages, the schema among them. */
  async read(messages: number): Promise<void> {
    const { host, port, wantData, ticket } = this.#uri;
    this.#transport = await ucxTransport();
    const channel = await this.#transport.connect({ host, port }, null, { timeoutMs: 10_000 });
    const addressed: AddressedBodies = {
      bodyOf: (list, { bodyLength }) => {
        const words = new BigUint64Array(list.slice().buffer);
        for (let i = 2; i < words.length; i += 2) if (words[i] !== 0n) this.lent.push(words[i]);
        return hostPool().acquire(bodyLength).toBody(bodyLength);
      },
      flush() {},
      close() {},
    };
    const options = { limits: readerLimits(undefined), pool: hostPool(), timeoutMs: 10_000 };
    this.#stream = new IncomingStream(channel, { ...options, errorMessages: true, isApart: false, addressed });
    const entries = [{ type: SHARE_ENTRY, bytes: this.nonce }];
    channel.sendTagged(wantData, wrapBytes(encodeRequest(ticket!, REQUEST_ERRORS, entries)), false);
    for (let i = 0; i < messages; i++) (await this.#stream.next())?.body?.release();
  }

  /** Reads on to the end. @returns the error that the stream ends with, if it does */
  async rest(): Promise<unknown> {
    try {
      for (let message; (message = await this.#stream!.next()) !== null;) message.body?.release();
      return null;
    } catch (error) {
      return error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stream?.close();
    await this.#transport?.close();
    this.socket.close();
  }
}

/** Lists of one column without nulls: total, count, (0, 0), (address, length); each of them is wrong. */
export const WRONG_LISTS: Record<
  string,
  (words: BigUint64Array<ArrayBuffer>, region: HostileRegion) => Uint8Array<ArrayBuffer>
> = {
  "count 0": (words) => bytesOf(words.with(1, 0n)),
  "count 2^32": (words) => bytesOf(words.with(1, 2n ** 32n)),
  "count 2^64 - 1": (words) => bytesOf(words.with(1, 2n ** 64n - 1n)),
  "an empty message": () => new Uint8Array(0),
  "a cut list": (words) => bytesOf(words).slice(0, 40),
  "a list that is too long": (words) => bytesOf(BigUint64Array.of(...words, 0n, 0n)),
  "a total that does not add up": (words) => bytesOf(words.with(0, words[0] + 1n)),
  "an address before the memory": (words, { base }) => bytesOf(words.with(4, base - 8n)),
  "an address after the memory": (words, { base }) => bytesOf(words.with(4, base + BigInt(REGION_BYTES))),
  "the last 8 bytes only": (words, { base }) => bytesOf(words.with(4, base + BigInt(REGION_BYTES - 8))),
  "length 2^63": (words) => bytesOf(words.with(5, 2n ** 63n)),
  "an address that wraps": (words) => bytesOf(words.with(4, 2n ** 64n - 8n)),
  "a misaligned address": (words) => bytesOf(words.with(4, words[4] - 4n)),
  "an address for nothing": (words) => bytesOf(words.with(2, words[4])),
};

function bytesOf(words: BigUint64Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(words.buffer);
}
