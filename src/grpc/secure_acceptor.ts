/**
 * Accepts encrypted connections at a port. Node's TLS checks certificates of clients, which Deno's own does not, and it tells clients
 * by an alert what is wrong, but only on sockets that it has accepted itself. And `node:net` stops accepting silently and forever
 * once there were no file descriptors: so this looks from time to time whether it still does, and binds the port anew if not.
 *
 * @module
 */
import type { AddressInfo, Socket } from "node:net";
import tls, { type TLSSocket } from "node:tls";
import { patientTimeout, type PatientTimer } from "../patience.ts";
import { listenError } from "./listen_error.ts";
import type { FlightServerTls } from "./tls.ts";

/** Connections after which it is looked whether more are accepted. */
const SUSPICIOUS_CONNECTIONS = 16;
/** How long a connection of one's own may take to be accepted, in milliseconds; and the pause before it. */
const PROBE_MS = 500;
/** Node's code for a client without a certificate. */
const NO_CERTIFICATE = "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE";

/** Options of a {@linkcode SecureAcceptor}. */
export interface SecureAcceptorOptions {
  /** Address to bind. */
  address: string;
  /** Port, 0 for any free one. */
  port: number;
  tls: FlightServerTls;
  /** Longest time of a handshake, in milliseconds. */
  timeoutMs: number;
  /** Whether there is room for one more connection. */
  hasRoom(): boolean;
  /** Called for each connection whose handshake has succeeded. */
  onSocket(socket: TLSSocket): void;
  /** Called when a handshake has failed; `certificateError` is `null` unless it was about the client's certificate. */
  onFailure(error: Error, certificateError: unknown): void;
  /** Called with what else goes wrong. */
  onError(error: unknown): void;
}

/** A listening socket for TLS. */
export class SecureAcceptor {
  readonly #options: SecureAcceptorOptions;
  #server: tls.Server;
  #port = 0;
  /** Connections in the middle of their handshake, by the client's address. */
  readonly #shaking = new Map<string, { socket: Socket; timer: PatientTimer }>();
  /** Raw sockets that are open, and the most of them since the last look. */
  #open = 0;
  #most = 0;
  /** Address of the connection that this makes to itself, while it waits to be accepted. */
  #probe: { key: string; accepted: () => void } | null = null;
  #look: PatientTimer | undefined;
  #isClosed = false;

  private constructor(options: SecureAcceptorOptions) {
    this.#options = options;
    this.#server = this.#make();
  }

  /**
   * Binds and starts to accept.
   *
   * @param options Address, certificates and callbacks
   * @throws {DipcError} `unreachable` if the address cannot be bound
   */
  static async listen(options: SecureAcceptorOptions): Promise<SecureAcceptor> {
    const acceptor = new SecureAcceptor(options);
    await acceptor.#listen(options.port);
    acceptor.#port = (acceptor.#server.address() as AddressInfo).port;
    return acceptor;
  }

  /** The port bound to. */
  get port(): number {
    return this.#port;
  }

  /** Connections in the middle of their handshake. */
  get handshakes(): number {
    return this.#shaking.size;
  }

  /** Stops accepting, and ends the handshakes under way. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#look?.stop();
    this.#server.close();
    for (const { socket } of this.#shaking.values()) socket.destroy();
  }

  #make(): tls.Server {
    const { tls: { cert, key, clientCa }, timeoutMs, onSocket, onFailure } = this.#options;
    const server = tls.createServer({
      ...{ cert, key, ca: clientCa, requestCert: clientCa !== undefined, rejectUnauthorized: clientCa !== undefined },
      handshakeTimeout: timeoutMs,
      ALPNProtocols: ["h2"],
    }, (socket) => {
      this.#endHandshake(addressOf(socket));
      onSocket(socket);
    });
    server.on("connection", (socket: Socket) => this.#onConnection(socket));
    server.on("tlsClientError", (error, socket) => {
      const { code } = error as { code?: string };
      // The runtime only hangs up on a certificate that it does not accept, and so does a client that has found something wrong.
      const isHungUp = code === "ECONNRESET";
      const received = (socket as { _parent?: Socket })._parent?.bytesRead ?? 0;
      const about = socket.authorizationError as unknown || (isHungUp ? "" : code === NO_CERTIFICATE ? error : null);
      // Health checks come and go without a byte.
      if (!isHungUp || received > 0) onFailure(error, clientCa === undefined ? null : about);
      socket.destroy(); // which a handshake that took too long does not do
    });
    return server;
  }

  #listen(port: number): Promise<void> {
    const { address, onError } = this.#options;
    const server = this.#server;
    return new Promise<void>((resolve, reject) => {
      const fail = (cause: Error): void => reject(listenError(address, port, cause));
      server.once("error", fail);
      server.listen(port, address, () => {
        server.off("error", fail);
        server.on("error", onError);
        resolve();
      });
    });
  }

  #onConnection(socket: Socket): void {
    const key = addressOf(socket);
    socket.on("error", () => {}); // reported by `tlsClientError`
    if (this.#probe?.key === key) {
      this.#probe.accepted();
      return void socket.destroy();
    }
    if (!this.#options.hasRoom()) return void socket.destroy();
    this.#most = Math.max(this.#most, ++this.#open);
    const timer = patientTimeout(this.#options.timeoutMs, () => socket.destroy());
    this.#shaking.set(key, { socket, timer });
    socket.on("close", () => {
      this.#open--;
      this.#endHandshake(key);
      this.#suspect();
    });
  }

  #endHandshake(key: string): void {
    this.#shaking.get(key)?.timer.stop();
    this.#shaking.delete(key);
  }

  /** After there were many connections, and some are gone: descriptors may have run out in between. */
  #suspect(): void {
    if (this.#isClosed || this.#most < SUSPICIOUS_CONNECTIONS || this.#look !== undefined) return;
    this.#look = patientTimeout(PROBE_MS, () => void this.#revive());
  }

  async #revive(): Promise<void> {
    this.#most = this.#open;
    try {
      if (await this.#accepts() || this.#isClosed) return;
      // Its connections live on.
      this.#server.close();
      this.#server = this.#make();
      await this.#listen(this.#port);
    } catch (error) {
      this.#options.onError(error);
    } finally {
      this.#look = undefined;
    }
  }

  /** Whether a connection is accepted, which this makes to itself. */
  async #accepts(): Promise<boolean> {
    const { address } = this.#options;
    const hostname = address === "0.0.0.0" ? "127.0.0.1" : address === "::" ? "::1" : address;
    // Without a descriptor for it none is accepted either.
    using socket = await Deno.connect({ hostname, port: this.#port }).catch(() => null);
    if (socket === null) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const own = socket.localAddr;
    this.#probe = { key: `${own.hostname} ${own.port}`, accepted: () => resolve(true) };
    const timer = patientTimeout(PROBE_MS, () => resolve(false));
    const isAccepted = await promise;
    timer.stop();
    this.#probe = null;
    return isAccepted;
  }
}

function addressOf({ remoteAddress, remotePort }: Pick<Socket, "remoteAddress" | "remotePort">): string {
  return `${remoteAddress} ${remotePort}`;
}
