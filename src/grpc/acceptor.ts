/**
 * Accepts connections at a port, and goes on when the system refuses one because there are no file descriptors left: `node:net`
 * stops accepting then, silently and forever.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { textOf } from "../text.ts";
import { listenError } from "./listen_error.ts";

/** Errors of `accept` that are about the one connection, whose client has gone already. */
const OF_ONE_CONNECTION = ["ENOTCONN", "ECONNABORTED", "ECONNRESET", "EPROTO", "ETIMEDOUT", "EHOSTUNREACH"];
/** Pause after the system has refused a connection, in milliseconds. */
const PAUSE_MS = 20;
/** Shortest time between two reports of that, in milliseconds. */
const REPORT_MS = 10_000;

/** Options of an {@linkcode Acceptor}. */
export interface AcceptorOptions {
  /** Address to bind. */
  address: string;
  /** Port, 0 for any free one. */
  port: number;
  /** Called for each connection. Must not throw. */
  onSocket(socket: Deno.TcpConn): void;
  /** Called when there are no file descriptors left: gives back some, if that is possible. */
  onExhausted(): void;
  /** Called with what the system has refused. */
  onError(error: DipcError): void;
}

/** A listening socket. */
export class Acceptor {
  readonly #options: AcceptorOptions;
  readonly #listener: Deno.TcpListener;
  #isClosed = false;
  #reportedMs = -Infinity;

  /**
   * Binds and starts to accept.
   *
   * @param options Address and callbacks
   * @throws {DipcError} `unreachable` if the address cannot be bound
   */
  constructor(options: AcceptorOptions) {
    this.#options = options;
    const { address, port } = options;
    try {
      this.#listener = Deno.listen({ hostname: address, port });
    } catch (cause) {
      throw listenError(address, port, cause);
    }
    void this.#run();
  }

  /** The port bound to. */
  get port(): number {
    return this.#listener.addr.port;
  }

  /** Stops accepting. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#listener.close();
  }

  async #run(): Promise<void> {
    while (!this.#isClosed) {
      try {
        this.#options.onSocket(await this.#listener.accept());
      } catch (error) {
        if (this.#isClosed) return;
        this.#onRefusal(error);
        // Also after an error of one connection: a listener that always fails must not keep a core busy.
        await new Promise<void>((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    }
  }

  #onRefusal(error: unknown): void {
    const { code = "" } = error as { code?: string };
    if (OF_ONE_CONNECTION.includes(code)) return;
    const isExhausted = ["EMFILE", "ENFILE"].includes(code);
    if (isExhausted) this.#options.onExhausted();
    const now = performance.now();
    if (now - this.#reportedMs < REPORT_MS) return;
    this.#reportedMs = now;
    const advice = isExhausted ? "; allow more by `ulimit -n`, or fewer connections" : "";
    const text = `cannot accept connections: ${textOf(error)}${advice}`;
    this.#options.onError(new DipcError("io", text, { cause: error }));
  }
}
