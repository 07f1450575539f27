/**
 * The contexts of a transport, one for each kind of path, with their idle workers.
 *
 * @module
 */
import { DipcError, LocalError } from "../../errors.ts";
import type { Ucp } from "../../../ffi/ucp.ts";
import { userSetting } from "../../../ffi/ucx_settings.ts";
import type { DeviceAccess } from "../transport.ts";
import { UcxContext } from "./context.ts";
import { WorkerPool } from "./worker_pool.ts";

const WARM_WORKERS = 3;

/** A context and its idle workers. */
export interface Plane {
  readonly context: UcxContext;
  readonly pool: WorkerPool;
  /** Why its connections share no memory though they might; empty if nothing is in the way. */
  readonly obstacle: string;
}

/** What the connections of a plane may use. */
export interface PlaneKind {
  /** Network interfaces of the data; `null` for all. */
  readonly devices: readonly string[] | null;
  readonly ipv6: boolean;
  readonly sharedMemory: boolean;
  /** Whether memory is read by remote keys; see `ContextOptions`. */
  readonly remoteMemory?: "lent" | "read";
}

/** Transports that need no network, or move data within a process. */
const WITHOUT_NETWORK = /^(?:self|loopback|sm|shm|mm|posix|sysv|cma|knem|xpmem|(?:cuda|gdr|rocm|ze)\w*)$/;

/**
 * Rejects a choice of transports that leaves none for making connections: UCX would let a client wait in vain, and 1.13 ends
 * its process.
 *
 * @param transports The user's UCX_TLS, `null` if it is not set
 * @throws {DipcError} `unsupported`
 */
export function requireNetwork(transports: string | null): void {
  const names = transports?.split(",").map((name) => name.trim()) ?? [];
  if (names.length === 0 || !names.every((name) => WITHOUT_NETWORK.test(name))) return;
  throw new LocalError(
    "unsupported",
    `cannot make connections by UCX: UCX_TLS=${transports} in the environment allows no network transport, by which even ` +
      `processes of one machine meet; unset it, or add tcp (UCX_TLS=tcp,${transports})`,
  );
}

/** Transports over which a remote key that is wrong is an error; over others it may end the process. */
const CHECKS_KEYS = /^(?:self|loopback|tcp|sysv)$/;

/**
 * Rejects a choice of transports over which remote keys cannot be used safely.
 *
 * @param transports The user's UCX_TLS, `null` if it is not set
 * @throws {DipcError} `unsupported`
 */
export function requireCheckedKeys(transports: string | null): void {
  if (transports === null || transports.split(",").every((name) => CHECKS_KEYS.test(name.trim()))) return;
  throw new LocalError(
    "unsupported",
    `cannot read by remote keys: UCX_TLS=${transports} in the environment allows transports over which a key that is not ` +
      "valid any more may end the process; unset it, or choose among self, tcp and sysv",
  );
}

/** The planes of a transport, made when first needed. */
export class Planes {
  readonly #ucp: Ucp;
  readonly #device: DeviceAccess | undefined;
  readonly #planes = new Map<string, Plane>();
  #isClosed = false;

  /**
   * @param ucp The library
   * @param device The GPU whose memory is sent and received, if there is one
   */
  constructor(ucp: Ucp, device: DeviceAccess | undefined) {
    this.#ucp = ucp;
    this.#device = device;
  }

  /**
   * The plane of a kind. If the system has no shared memory left for UCX, one without it is made instead, unless the user
   * has chosen the transports.
   *
   * @throws {DipcError} `closed`, `ucx`, and `io` if file descriptors run out
   */
  of(kind: PlaneKind): Plane {
    if (this.#isClosed) throw new LocalError("closed", "cannot use the UCX transport: it was closed");
    const key = JSON.stringify([kind.devices, kind.ipv6, kind.sharedMemory, kind.remoteMemory]);
    let plane = this.#planes.get(key);
    if (plane === undefined) this.#planes.set(key, plane = this.#open(kind));
    return plane;
  }

  #open(kind: PlaneKind): Plane {
    requireNetwork(userSetting("UCX_TLS"));
    if (kind.remoteMemory === "read") requireCheckedKeys(userSetting("UCX_TLS"));
    const context = new UcxContext(this.#ucp, { ...kind, device: this.#device });
    const pool = new WorkerPool(context, WARM_WORKERS);
    try {
      // Whether UCX gets its memory shows in the first worker, which is needed soon.
      pool.giveBack(pool.take(), true);
      return { context, pool, obstacle: "" };
    } catch (error) {
      pool.close();
      context.close();
      const isUcx = error instanceof DipcError && error.foreign?.system === "ucx";
      if (!isUcx || !kind.sharedMemory || userSetting("UCX_TLS") !== null) throw error;
      const plane = this.of({ ...kind, sharedMemory: false });
      const obstacle = `shared memory could not be set up (${error.foreign!.text}; \`ipcs -l\` shows its limits)`;
      return { ...plane, obstacle };
    }
  }

  /** Destroys idle workers and contexts. Idempotent. */
  close(): void {
    this.#isClosed = true;
    for (const { pool, context } of this.#planes.values()) {
      pool.close();
      context.close();
    }
    this.#planes.clear();
  }
}
