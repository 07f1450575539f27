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
    const key = JSON.stringify([kind.devices, kind.ipv6, kind.sharedMemory]);
    let plane = this.#planes.get(key);
    if (plane === undefined) this.#planes.set(key, plane = this.#open(kind));
    return plane;
  }

  #open(kind: PlaneKind): Plane {
    const context = new UcxContext(this.#ucp, { ...kind, device: this.#device });
    const pool = new WorkerPool(context, WARM_WORKERS);
    try {
      // Whether UCX can have the memory that it wants shows in its first worker, which is needed in any case.
      pool.giveBack(pool.take(), true);
      return { context, pool, obstacle: "" };
    } catch (error) {
      pool.close();
      context.close();
      const isUcx = error instanceof DipcError && error.foreign?.system === "ucx";
      if (!isUcx || !kind.sharedMemory || userSetting("UCX_TLS") !== null) throw error;
      const plane = this.of({ ...kind, sharedMemory: false });
      return { ...plane, obstacle: `UCX could not set up shared memory (${error.foreign!.text})` };
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
