/**
 * The server's side of TLS on sockets of Deno. Node's TLS checks certificates of clients, which Deno's own does not; but its way of
 * accepting connections cannot be used (see the acceptor).
 *
 * @module
 */
import { Duplex } from "node:stream";
import tls, { type TLSSocket } from "node:tls";
import type { FlightServerTls } from "./tls.ts";

/** Size of one read, in bytes. */
const READ_BYTES = 64 * 1024;

/** Options of a {@linkcode SecureAcceptor}. */
export interface SecureAcceptorOptions {
  tls: FlightServerTls;
  /** Longest time of a handshake, in milliseconds. */
  timeoutMs: number;
  /** Called for each connection whose handshake has succeeded. */
  onSocket(socket: TLSSocket): void;
  /** Called when a handshake has failed. */
  onError(error: Error, socket: TLSSocket): void;
}

/** Accepts encrypted connections on sockets that were accepted before. */
export class SecureAcceptor {
  readonly #server: tls.Server;
  readonly #open = new Set<Duplex>();
  #secured = 0;

  /** @param options Certificates and callbacks */
  constructor(options: SecureAcceptorOptions) {
    const { cert, key, clientCa } = options.tls;
    this.#server = tls.createServer({
      cert,
      key,
      ca: clientCa,
      requestCert: clientCa !== undefined,
      rejectUnauthorized: clientCa !== undefined,
      handshakeTimeout: options.timeoutMs,
      ALPNProtocols: ["h2"],
    }, (socket) => {
      this.#secured++;
      socket.on("close", () => this.#secured--);
      options.onSocket(socket);
    });
    this.#server.on("tlsClientError", (error, socket) => {
      options.onError(error, socket);
      socket.destroy(); // which a handshake that took too long does not do
    });
  }

  /** Connections in the middle of their handshake. */
  get handshakes(): number {
    return this.#open.size - this.#secured;
  }

  /** Starts the handshake of a connection. */
  accept(socket: Deno.Conn): void {
    const duplex = duplexOf(socket);
    this.#open.add(duplex);
    duplex.on("error", () => {}); // reported by `tlsClientError`
    duplex.on("close", () => this.#open.delete(duplex));
    this.#server.emit("connection", duplex);
  }

  /** Ends all connections. */
  destroy(): void {
    for (const duplex of this.#open) duplex.destroy();
  }
}

/** A socket of Deno as one of Node's streams. */
function duplexOf(socket: Deno.Conn): Duplex {
  return new Duplex({
    read() {
      const buffer = new Uint8Array(READ_BYTES);
      socket.read(buffer).then(
        (length) => this.push(length === null ? null : buffer.subarray(0, length)),
        (error) => this.destroy(error),
      );
    },
    write(bytes: Uint8Array, _encoding, done) {
      writeAll(socket, bytes).then(() => done(), done);
    },
    final(done) {
      // The peer may have closed already.
      socket.closeWrite().then(() => done(), () => done());
    },
    destroy(error, done) {
      try {
        socket.close();
      } catch {
        // it is closed already
      }
      done(error);
    },
  });
}

async function writeAll(socket: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.byteLength;) at += await socket.write(bytes.subarray(at));
}
