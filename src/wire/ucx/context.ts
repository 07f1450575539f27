/**
 * A UCX context, its settings, and the callbacks that all its workers share.
 *
 * @module
 */
import { cString, libc } from "../../../ffi/libc.ts";
import { applyUcxSettings } from "../../../ffi/ucx_settings.ts";
import { statusError } from "../../../ffi/status.ts";
import { openUcp, type Ucp, type UcpSymbols } from "../../../ffi/ucp.ts";
import { contextParams, FEATURE_AM, FEATURE_TAG, FEATURE_WAKEUP } from "../../../ffi/ucp_structs.ts";

/** The API version that dipc is written against; later libraries serve it too. */
const API_MAJOR = 1, API_MINOR = 13;

/**
 * Opens libucp with dipc's settings in the environment of the process.
 *
 * @param path Absolute path of the library
 * @throws {DipcError} `library_not_found`, `permission_denied`
 */
export function loadUcp(path: string): Ucp {
  applyUcxSettings();
  return openUcp(path);
}

/** What kind of address a context is for. */
export interface ContextOptions {
  /** Whether its sockets may listen on loopback addresses only. */
  readonly loopback: boolean;
  /** Whether its connections are made over IPv6. */
  readonly ipv6: boolean;
}

/** A UCX context. */
export class UcxContext {
  /** The library. */
  readonly ucp: Ucp;
  /** Its functions. */
  readonly symbols: UcpSymbols;
  /** `ucp_context_h`. */
  readonly handle: bigint;
  #closed = false;
  #workers = 0;

  /**
   * @param ucp The library
   * @param options What kind of address it is for
   * @throws {DipcError} `ucx`
   */
  constructor(ucp: Ucp, options: ContextOptions) {
    this.ucp = ucp;
    this.symbols = ucp.symbols;
    const out = new BigUint64Array(16);
    let status = this.symbols.ucp_config_read(null, null, out);
    if (status !== 0) throw statusError(status, "reading the UCX configuration failed");
    const config = out[0];
    try {
      if (options.loopback) this.#configure(config, "NET_DEVICES", "lo");
      // A TCP endpoint of UCX has room for an address of its interface's family only, and writes the peer's into it
      // unchecked: over a connection of the other family it corrupts the heap (seen in 1.13.1 and 1.22.0).
      this.#configure(config, "TCP_AF_PRIO", options.ipv6 ? "inet6" : "inet");
      const params = contextParams(FEATURE_TAG | FEATURE_AM | FEATURE_WAKEUP);
      status = this.symbols.ucp_init_version(API_MAJOR, API_MINOR, params.bytes, config, out);
      if (status !== 0) {
        throw statusError(
          status,
          `making UCX ${ucp.version} (${ucp.path}) ready failed`,
          "check the UCX_* variables of the environment, above all UCX_TLS and UCX_NET_DEVICES",
        );
      }
    } finally {
      this.symbols.ucp_config_release(config);
    }
    this.handle = out[0];
  }

  /** Changes a setting where the user has not set it. */
  #configure(config: bigint, name: string, value: string): void {
    if (libc().getenv(cString(`UCX_${name}`)) !== 0n) return;
    const status = this.symbols.ucp_config_modify(config, cString(name), cString(value));
    if (status !== 0) throw statusError(status, `setting UCX_${name}=${value} failed`);
  }

  /** Counts a worker that was made; the context lives until it is gone. */
  addWorker(): void {
    this.#workers++;
  }

  /** Counts a worker that was destroyed. */
  removeWorker(): void {
    this.#workers--;
    if (this.#closed && this.#workers === 0) this.symbols.ucp_cleanup(this.handle);
  }

  /** Frees the context, once its last worker is gone. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#workers === 0) this.symbols.ucp_cleanup(this.handle);
  }
}
