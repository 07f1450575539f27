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

/** What a {@linkcode SecureAcceptor} calls for a connection. */
export interface HandshakeHandlers {
  /** Called when the handshake has succeeded. */
  onSocket(socket: TLSSocket): void;
  /** Called when it has failed. The error of the certificate is `null` if it is not about one, or that is not known. */
  onError(error: Error, certificateError: unknown): void;
}

/** Accepts encrypted connections on sockets that were accepted before. */
export class SecureAcceptor {
  readonly #options: tls.TlsOptions;
  readonly #shaking = new Set<Duplex>();

  /**
   * @param own Certificates
   * @param timeoutMs Longest time of a handshake, in milliseconds
   */
  constructor(own: FlightServerTls, timeoutMs: number) {
    const { cert, key, clientCa } = own;
    this.#options = {
      ...{ cert, key, ca: clientCa, requestCert: clientCa !== undefined, rejectUnauthorized: clientCa !== undefined },
      handshakeTimeout: timeoutMs,
      ALPNProtocols: ["h2"],
    };
  }

  /** Connections in the middle of their handshake. */
  get handshakes(): number {
    return this.#shaking.size;
  }

  /** Starts the handshake of a connection. */
  accept(connection: Deno.Conn, { onSocket, onError }: HandshakeHandlers): void {
    const received = { bytes: 0 };
    const duplex = duplexOf(connection, received);
    this.#shaking.add(duplex);
    duplex.on("error", () => {}); // reported by `tlsClientError`
    duplex.on("close", () => this.#shaking.delete(duplex));
    // A server for each connection, because Node's does not tell which socket an encrypted one is on.
    const server = tls.createServer(this.#options, (socket) => {
      this.#shaking.delete(duplex);
      onSocket(socket);
    });
    server.on("tlsClientError", (error, socket) => {
      // Node only hangs up on a certificate that it does not accept.
      const isHungUp = (error as { code?: string }).code === "ECONNRESET";
      const isAboutCertificate = this.#options.requestCert && (isHungUp || socket.authorizationError);
      // Health checks come and go without a byte.
      const isProbe = received.bytes === 0 && (isHungUp || duplex.destroyed || duplex.readableEnded);
      if (!isProbe) {
        onError(error, isAboutCertificate ? socket.authorizationError ?? error : null);
      }
      socket.destroy(); // which a handshake that took too long does not do
    });
    server.emit("connection", duplex);
  }

  /** Ends all connections whose handshake is under way. */
  destroy(): void {
    for (const duplex of this.#shaking) duplex.destroy();
  }
}

/** A socket of Deno as one of Node's streams, which counts what it receives. */
function duplexOf(socket: Deno.Conn, received: { bytes: number }): Duplex {
  return new Duplex({
    read() {
      const buffer = new Uint8Array(READ_BYTES);
      socket.read(buffer).then(
        (length) => {
          received.bytes += length ?? 0;
          this.push(length === null ? null : buffer.subarray(0, length));
        },
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
