/**
 * A UCX context, its settings, and the callbacks that all its workers share.
 *
 * @module
 */
import { closeOnExec } from "../../../ffi/close_on_exec.ts";
import { cString, namesIn, printed } from "../../../ffi/libc.ts";
import { withUcxLog } from "../../../ffi/ucx_log.ts";
import { applyUcxSettings, userSetting } from "../../../ffi/ucx_settings.ts";
import { statusError } from "../../../ffi/status.ts";
import { openUcp, type Ucp, type UcpSymbols } from "../../../ffi/ucp.ts";
import {
  contextAttr,
  contextMemoryTypes,
  contextParams,
  FEATURE_AM,
  FEATURE_RMA,
  FEATURE_TAG,
  FEATURE_WAKEUP,
} from "../../../ffi/ucp_structs.ts";
import type { DeviceAccess } from "../transport.ts";
import { cudaSupport } from "./cuda_support.ts";
import { requireDescriptors } from "./descriptors.ts";
import { explanations } from "./explanations.ts";

/** The API version that dipc is written against; later libraries serve it too. */
const API_MAJOR = 1, API_MINOR = 13;

/** Minor version of UCX 1 since which settings of transports are named as in the environment. */
const NAMED_BY_TRANSPORT = 17;

/** Transports over which a remote key that is wrong is an error. */
const KEYS_CHECKED = "self,tcp,sysv";

/**
 * Opens libucp with dipc's settings in the environment of the process.
 *
 * @param path Absolute path of the library
 * @throws {DipcError} `library_not_found`, `permission_denied`
 */
export function loadUcp(path: string): Ucp {
  applyUcxSettings();
  return withUcxLog(() => openUcp(path));
}

const RDMA_DEVICES = "/sys/class/infiniband";

/** Value of UCX_NET_DEVICES for some interfaces: RDMA devices, which it would rule out, are named beside them. */
function netDevices(interfaces: readonly string[]): string {
  const ports = namesIn(RDMA_DEVICES).flatMap((device) =>
    namesIn(`${RDMA_DEVICES}/${device}/ports`).map((port) => `${device}:${port}`)
  );
  // Nothing but lo can reach a loopback address.
  return [...interfaces, ...(interfaces.every((name) => name === "lo") ? [] : ports)].join(",");
}

/** What the connections of a context may use. */
export interface ContextOptions {
  /** Names of the network interfaces that data may take, such as `["lo"]`; RDMA devices always may. `null` for all. */
  readonly devices: readonly string[] | null;
  /** Whether its connections are made over IPv6. */
  readonly ipv6: boolean;
  /** Whether memory may be shared with processes of this machine. */
  readonly sharedMemory: boolean;
  /** Whether memory is read by remote keys: by peers that connect to it, or here if it connects to them. */
  readonly remoteMemory?: "lent" | "read";
  /** The GPU whose memory is sent and received, if there is one. */
  readonly device?: DeviceAccess;
}

/** A UCX context. */
export class UcxContext {
  /** The library. */
  readonly ucp: Ucp;
  /** Its functions. */
  readonly symbols: UcpSymbols;
  /** `ucp_context_h`. */
  readonly handle: bigint;
  /** The GPU whose memory is sent and received, if there is one. */
  readonly device: DeviceAccess | null;
  /**
   * The one memory space beside host memory whose addresses UCX may be given; `null` if there is none. UCX aborts
   * the process when it is given an address of a GPU and has no CUDA.
   */
  readonly deviceSpace: string | null;
  /** Whether memory is read by remote keys. */
  readonly hasRemoteMemory: boolean;
  #isClosed = false;
  #workers = 0;

  /**
   * @param ucp The library
   * @param options What kind of address it is for
   * @throws {DipcError} `ucx`
   */
  constructor(ucp: Ucp, options: ContextOptions) {
    requireDescriptors();
    this.ucp = ucp;
    this.symbols = ucp.symbols;
    this.device = options.device ?? null;
    this.hasRemoteMemory = options.remoteMemory !== undefined;
    this.handle = this.within(() => this.#init(options));
    closeOnExec();
    this.deviceSpace = this.device !== null && cudaSupport(this, this.device).supported ? this.device.space : null;
  }

  #init(options: ContextOptions): bigint {
    const { ucp } = this;
    const out = new BigUint64Array(16);
    let status = this.symbols.ucp_config_read(null, null, out);
    if (status !== 0) throw statusError(status, "read the UCX configuration");
    const config = out[0];
    try {
      if (options.devices !== null) this.#configure(config, "NET_DEVICES", netDevices(options.devices));
      // What else there is may end the process over a key that is not valid any more, InfiniBand for one.
      if (options.remoteMemory === "read") {
        this.#configure(config, "TLS", options.sharedMemory ? KEYS_CHECKED : "self,tcp");
      } else if (!options.sharedMemory) this.#configure(config, "TLS", "^sm");
      // A TCP endpoint of UCX has room for an address of its interface's family only, and writes the peer's into it
      // unchecked: over a connection of the other family it corrupts the heap (seen in 1.13.1 and 1.22.0).
      this.#configureTcp(config, "AF_PRIO", options.ipv6 ? "inet6" : "inet");
      // When the first connection begins to use an interface, and when the last one ends, UCX sets some 19 handlers and asks the
      // interface for its properties for each: 27 system calls for TCP, twice for a connection that moves to shared memory. If it is
      // polled all the time, UCX asks once for each worker.
      this.#configure(config, "ADAPTIVE_PROGRESS", "n");
      // UCX's own thread makes connections, and must get its turn while this one waits for its lock.
      this.#configure(config, "USE_MT_MUTEX", "y");
      // Whether an interface has the default route, which UCX reads up to 240 times, decides nothing if there is only one.
      if (options.devices?.length === 1) this.#configureTcp(config, "PREFER_DEFAULT", "n");
      // Each worker lays out receive buffers for this many small messages more than its queue of 256 holds, 8 KiB each. Bodies do
      // not come through them, so UCX's 512 cost a server with 256 idle clients a quarter of its memory and gain nothing.
      for (const transport of ["SYSV", "POSIX"]) this.#configure(config, `${transport}_RX_BUFS_GROW`, "288");
      const remote = options.remoteMemory === undefined ? 0n : FEATURE_RMA;
      const params = contextParams(FEATURE_TAG | FEATURE_AM | FEATURE_WAKEUP | remote);
      status = this.symbols.ucp_init_version(API_MAJOR, API_MINOR, params.bytes, config, out);
      if (status !== 0) {
        throw statusError(
          status,
          `initialise UCX ${ucp.version} (${ucp.path})`,
          explanations().join("; ") || undefined,
        );
      }
    } finally {
      this.symbols.ucp_config_release(config);
    }
    return out[0];
  }

  /**
   * Runs calls into UCX with the GPU's context current, if there is a GPU: without it UCX leaves out transports,
   * and copies fail.
   *
   * @param calls Must not be asynchronous
   * @throws {DipcError} what the driver reports before them, and what `calls` threw
   */
  within<T>(calls: () => T): T {
    const { device } = this;
    if (device === null) return calls();
    device.enter();
    try {
      return calls();
    } finally {
      this.#leave(device);
    }
  }

  /** The same for calls that release something: they are made even if the driver refuses the GPU's context. */
  withinAnyway<T>(calls: () => T): T {
    const { device } = this;
    let isEntered = false;
    try {
      device?.enter();
      isEntered = device !== null;
    } catch {
      // UCX then leaks less than it would without the call.
    }
    try {
      return calls();
    } finally {
      if (isEntered) this.#leave(device!);
    }
  }

  /** The result of UCX must not be lost, so a driver that fails here is reported by the next call that needs it. */
  #leave(device: DeviceAccess): void {
    try {
      device.leave();
    } catch {
      // The GPU's context stays current, which is harmless.
    }
  }

  /** The types of memory that UCX can read and write in this context: one bit for each `ucs_memory_type_t`. */
  memoryTypes(): bigint {
    const attr = contextAttr();
    const status = this.symbols.ucp_context_query(this.handle, attr.bytes);
    return status === 0 ? contextMemoryTypes(attr) : 1n;
  }

  /** Names of the components that UCX initialised, such as `["self", "tcp", "sysv", "cuda_copy"]`. */
  components(): string[] {
    const text = printed((stream) => this.symbols.ucp_context_print_info(this.handle, stream));
    return [...text.matchAll(/^#\s+component \d+\s+:\s+(\w+)/gm)].map((match) => match[1]);
  }

  /** Changes a setting unless the user has set it. */
  #configure(config: bigint, name: string, value: string, variable = `UCX_${name}`): void {
    if (userSetting(variable) !== null) return;
    const status = this.symbols.ucp_config_modify(config, cString(name), cString(value));
    if (status !== 0) throw statusError(status, `set UCX_${name}=${value}`);
  }

  /** Changes a setting that only the TCP transport has. UCX before 1.17 finds it by its own name, and ignores the other silently. */
  #configureTcp(config: bigint, name: string, value: string): void {
    const isNamed = Number(this.ucp.version.split(".")[1]) >= NAMED_BY_TRANSPORT;
    this.#configure(config, isNamed ? `TCP_${name}` : name, value, `UCX_TCP_${name}`);
  }

  /** Counts a worker that was made; the context lives until it is gone. */
  addWorker(): void {
    this.#workers++;
  }

  /** Counts a worker that was destroyed. */
  removeWorker(): void {
    this.#workers--;
    if (this.#isClosed && this.#workers === 0) this.withinAnyway(() => this.symbols.ucp_cleanup(this.handle));
  }

  /** Frees the context, once its last worker is gone. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#workers === 0) this.withinAnyway(() => this.symbols.ucp_cleanup(this.handle));
  }
}
