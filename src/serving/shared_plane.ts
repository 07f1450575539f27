/**
 * The side of a server that hands out shared memory: a Unix socket, and the clients that have come to it.
 *
 * @module
 */
import { asDipcError, DipcError } from "../errors.ts";
import { encodeError } from "../protocol/envelope.ts";
import {
  encodeGranted,
  encodeRefused,
  MAX_HELLO_BYTES,
  type MemoryKind,
  parseHello,
} from "../protocol/share_handshake.ts";
import { tellPeer } from "../tell_peer.ts";
import { DescriptorWatch } from "../wire/descriptor_watch.ts";
import { closeDescriptor, LocalSocket, MessageReceiver } from "../wire/local_socket.ts";
import type { ServerSettings } from "./options.ts";
import { ShareSession } from "./share_session.ts";
import type { DatasetMemory } from "./shared_memory.ts";
import { type MemorySharing, newSocketName, type StreamAdmission, type StreamPlaneHost } from "./stream_plane.ts";

/** How often clients are looked at that wait or hold memory, in milliseconds. */
const CHECK_MS = 250;
/** Clients beyond `maxConnections` that still learn that the server is full. */
const MAX_REFUSED = 64;

/** A connection to the socket. */
interface Guest {
  readonly socket: LocalSocket;
  readonly sinceMs: number;
  /** Its session, once it has said hello; `null` while its ticket is being checked, too. */
  session: ShareSession | null;
  /** Hexadecimal digits of its nonce; empty before its hello. */
  nonce: string;
  /** Why it gets nothing, once it has said hello: an answer before that would be lost. */
  readonly problem: DipcError | null;
}

/** What a {@linkcode SharedPlane} needs of the server. */
export interface SharedPlaneHost {
  readonly settings: ServerSettings;
  readonly admission: StreamAdmission;
  /** Memory of a dataset; `undefined` if it is not shared, or is served no more. */
  memoryOf(dataset: string): DatasetMemory | undefined;
  readonly emit: StreamPlaneHost["emit"];
}

/** The socket and its clients. */
export class SharedPlane implements MemorySharing {
  /** Name of the socket, as it is in URIs. */
  readonly name: string;
  readonly #host: SharedPlaneHost;
  readonly #watch: DescriptorWatch;
  readonly #listening: LocalSocket;
  readonly #receiver = new MessageReceiver(MAX_HELLO_BYTES);
  readonly #guests = new Map<number, Guest>();
  readonly #sessions = new Map<string, ShareSession>();
  readonly #timer: number;
  #isPaused = false;
  #isClosed = false;

  /**
   * Listens.
   *
   * @param host The server
   * @param name Name of the socket
   * @throws {DipcError} `unreachable`, `limit_exceeded`
   */
  constructor(host: SharedPlaneHost, name: string = newSocketName()) {
    this.#host = host;
    this.name = name;
    this.#listening = LocalSocket.listen(this.name);
    try {
      this.#watch = new DescriptorWatch();
    } catch (error) {
      this.#listening.close();
      throw error;
    }
    this.#watch.add(this.#listening.fd, () => this.#accept());
    this.#timer = setInterval(() => this.#check(), CHECK_MS) as unknown as number;
    Deno.unrefTimer(this.#timer);
  }

  /** Clients with a stream, or with something that is lent to them, and how much that is. */
  get stats(): { clients: number; leasedBytes: number } {
    let clients = 0, leasedBytes = 0;
    for (const session of this.#sessions.values()) {
      if (session.restingSince === Infinity) clients++;
      leasedBytes += session.leasedBytes;
    }
    return { clients, leasedBytes };
  }

  /** Whether a dataset is shared. */
  shares(dataset: string): boolean {
    return this.#host.memoryOf(dataset) !== undefined;
  }

  /**
   * The session that a request names.
   *
   * @param nonce Its nonce
   * @param dataset The dataset that is requested
   * @returns `undefined` if there is none for that dataset: its bodies are sent
   */
  claim(nonce: Uint8Array, dataset: string): ShareSession | undefined {
    const session = this.#sessions.get(nonce.toHex());
    const isSame = session !== undefined && session.memory === this.#host.memoryOf(dataset);
    return isSame ? session : undefined;
  }

  /**
   * Hands out nothing more, and forgets its clients; what they have mapped they keep. Those of memory that cannot be freed before
   * are waited for, after this has resolved. Idempotent.
   */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#timer);
    for (const guest of [...this.#guests.values()]) {
      if (guest.session?.memory.clients === undefined) this.#dismiss(guest);
      else this.#watch.remove(guest.socket.fd);
    }
    this.#watch.remove(this.#listening.fd);
    await this.#watch.close();
    this.#listening.close();
    this.#checkLeft();
  }

  /** Takes notice of clients that leave after the end, which keeps no program alive. */
  #checkLeft(): void {
    for (const guest of [...this.#guests.values()]) if (!guest.session!.drain()) this.#dismiss(guest);
    if (this.#guests.size === 0) return;
    Deno.unrefTimer(setTimeout(() => this.#checkLeft(), CHECK_MS) as unknown as number);
  }

  #accept(): void {
    const socket = this.#listening.accept();
    if (socket === null) return this.#pause();
    const { maxConnections } = this.#host.settings;
    if (this.#guests.size >= maxConnections + MAX_REFUSED) return socket.close();
    if (this.#guests.size >= maxConnections) this.#dismissResting();
    const problem = !socket.isOwnUser
      ? new DipcError("permission_denied", `cannot share memory: the client is of another user (${socket.peerUser})`)
      : this.#guests.size >= maxConnections
      ? new DipcError("busy", "cannot share memory: the server has as many clients as it may have")
      : null;
    const guest: Guest = { socket, sinceMs: performance.now(), session: null, nonce: "", problem };
    this.#guests.set(socket.fd, guest);
    this.#watch.add(socket.fd, () => this.#read(guest));
  }

  /** There are no descriptors left for a client that waits: others are not kept waiting for it. */
  #pause(): void {
    this.#isPaused = true;
    this.#watch.remove(this.#listening.fd);
  }

  #read(guest: Guest): void {
    if (guest.session !== null) {
      if (!guest.session.drain()) this.#dismiss(guest);
      return;
    }
    const message = guest.socket.receive(this.#receiver);
    if (message === null) return;
    if (message === "gone") return this.#dismiss(guest);
    for (const descriptor of message.descriptors) closeDescriptor(descriptor);
    // Nothing but a hello is due, and nothing more before it is answered.
    if (guest.nonce !== "") return this.#dismiss(guest);
    try {
      if (guest.problem !== null) throw guest.problem;
      const { nonce, ticket, kind } = parseHello(message.bytes);
      guest.nonce = nonce.toHex();
      if (this.#sessions.has(guest.nonce)) throw new DipcError("protocol", "cannot share memory: the nonce is in use");
      this.#answer(guest, ticket, kind).catch((error) => this.#refuse(guest, error));
    } catch (error) {
      this.#refuse(guest, error);
    }
  }

  async #answer(guest: Guest, ticket: Uint8Array, kind: MemoryKind): Promise<void> {
    const { admission, settings } = this.#host;
    const { entry } = await admission.admit(ticket, "both");
    const memory = this.#host.memoryOf(entry.name);
    if (memory === undefined) {
      throw new DipcError("not_found", `cannot share ${JSON.stringify(entry.name)}: the dataset is not shared`);
    }
    if (this.#guests.get(guest.socket.fd) !== guest) return; // it has left meanwhile
    if (memory.kind !== kind) throw otherKind(entry.name, memory);
    const { facts, descriptor } = memory.grant();
    const answer = encodeGranted(facts);
    const { socket } = guest;
    const outcome = descriptor === null ? socket.send(answer) : socket.sendDescriptor(answer, descriptor);
    if (outcome !== "sent") return this.#dismiss(guest);
    guest.session = new ShareSession(socket, entry.name, memory, {
      settings: settings.sharing,
      receiver: this.#receiver,
    });
    this.#sessions.set(guest.nonce, guest.session);
  }

  #refuse(guest: Guest, error: unknown): void {
    if (this.#guests.get(guest.socket.fd) !== guest) return;
    const { code, text } = tellPeer(error);
    guest.socket.send(encodeRefused(encodeError(code, text)));
    this.#dismiss(guest);
  }

  /** Ends the connection: the client is gone, or gets nothing. */
  #dismiss(guest: Guest): void {
    if (!this.#guests.delete(guest.socket.fd)) return;
    if (guest.session !== null) {
      this.#sessions.delete(guest.nonce);
      guest.session.leave();
    }
    this.#watch.remove(guest.socket.fd);
    guest.socket.close();
  }

  /** Makes room: ends the connection of the client that has been without a stream for longest. */
  #dismissResting(): void {
    let longest: Guest | null = null, since = Infinity;
    for (const guest of this.#guests.values()) {
      const { restingSince = Infinity } = guest.session ?? {};
      if (restingSince < since) [longest, since] = [guest, restingSince];
    }
    if (longest !== null) this.#dismiss(longest);
  }

  #check(): void {
    if (this.#isPaused) {
      this.#isPaused = false;
      this.#watch.add(this.#listening.fd, () => this.#accept());
    }
    const now = performance.now();
    for (const guest of [...this.#guests.values()]) {
      const { session, sinceMs } = guest;
      if (session === null) {
        if (now - sinceMs > this.#host.settings.requestTimeoutMs) this.#dismiss(guest);
        continue;
      }
      // What it could read next is in other memory, or it has waited for too long.
      const isSame = session.memory === this.#host.memoryOf(session.dataset);
      const isOld = now - session.restingSince > this.#host.settings.keepAliveMs;
      if (isOld || (!isSame && session.restingSince < Infinity)) {
        this.#dismiss(guest);
        continue;
      }
      const error = session.checkDeadline();
      if (error !== null) {
        this.#host.emit("error", { connection: 0, dataset: session.dataset, error: asDipcError(error) });
      }
    }
  }
}

/** The error of a client that cannot read the memory in which a dataset lies. */
function otherKind(name: string, { kind, space }: DatasetMemory): DipcError {
  const why = kind === "cuda"
    ? `it is in the memory of ${space}, which a client reads that receives into that GPU`
    : "it is in host memory, and the client receives into that of a GPU";
  return new DipcError("unsupported", `cannot share ${JSON.stringify(name)}: ${why}`);
}
