/**
 * A small UCX peer of its own for tests: it shares the table of C functions with dipc and nothing else, so that it can
 * play a peer written by somebody else, or a hostile one. It sends any bytes under any tag, in any order.
 *
 * @module
 */
import { progressWorker } from "../../../ffi/progress.ts";
import { addressOf } from "../../../ffi/libc.ts";
import { describeStatus } from "../../../ffi/status.ts";
import { openUcp, type UcpSymbols } from "../../../ffi/ucp.ts";
import {
  amHandlerParams,
  contextParams,
  endpointParams,
  FEATURE_AM,
  FEATURE_TAG,
  listenerAttr,
  listenerParams,
  requestParams,
  workerParams,
} from "../../../ffi/ucp_structs.ts";

/** Bits of `ucp_am_recv_param_t.recv_attr`. */
const ATTR_RNDV = 1 << 17;
/** `ucp_send_am_flags`: REPLY, EAGER, RNDV. */
const FLAG_REPLY = 1, FLAG_EAGER = 2, FLAG_RNDV = 4;
/** Smallest allocation that V8 does not move. */
const FIXED_BYTES = 128;

const pinned = new Set<unknown>();

function inFixedMemory(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(Math.max(bytes.byteLength, FIXED_BYTES));
  copy.set(bytes);
  return copy;
}

function statusOf(result: bigint): number {
  const signed = BigInt.asIntN(64, result);
  if (signed === 0n) return 0;
  return signed < 0n && signed >= -128n ? Number(signed) : 1;
}

/** A send or receive under way: 1 while it runs, then 0 or a negative UCX status. */
export class RawRequest {
  /** `ucs_status_t`. */
  status: number;
  readonly #symbols: UcpSymbols;
  readonly #worker: RawWorker;
  #handle: bigint;
  readonly #info: Uint8Array<ArrayBuffer> | null;

  constructor(worker: RawWorker, result: bigint, keep: unknown, info: Uint8Array<ArrayBuffer> | null = null) {
    this.#worker = worker;
    this.#symbols = worker.symbols;
    this.#info = info;
    this.status = statusOf(result);
    this.#handle = this.status === 1 ? result : 0n;
    if (this.#handle !== 0n) pinned.add(keep);
  }

  /** Asks for its state; frees it once it is done. */
  poll(): number {
    if (this.status !== 1) return this.status;
    this.status = this.#info === null
      ? this.#symbols.ucp_request_check_status(this.#handle)
      : this.#symbols.ucp_tag_recv_request_test(this.#handle, addressOf(this.#info));
    if (this.status !== 1) {
      this.#symbols.ucp_request_free(this.#handle);
      this.#handle = 0n;
    }
    return this.status;
  }

  /** Tries to end it. */
  cancel(): void {
    if (this.#handle !== 0n) this.#symbols.ucp_request_cancel(this.#worker.handle, this.#handle);
  }
}

/** A tagged receive. */
export class RawReceive extends RawRequest {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView<ArrayBuffer>;

  constructor(worker: RawWorker, result: bigint, bytes: Uint8Array<ArrayBuffer>, info: Uint8Array<ArrayBuffer>) {
    super(worker, result, [bytes, info], info);
    this.#bytes = bytes;
    this.#view = new DataView(info.buffer);
  }

  /** The tag it came with. */
  get tag(): bigint {
    return this.#view.getBigUint64(0, true);
  }

  /** What came. */
  get content(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, Number(this.#view.getBigUint64(8, true)));
  }
}

/** One connection of a {@linkcode RawWorker}. */
export class RawEndpoint {
  readonly #worker: RawWorker;
  /** `ucp_ep_h`. */
  readonly handle: bigint;
  /** The status that UCX reported when the connection died. */
  failure: number | null = null;
  #closed = false;

  constructor(worker: RawWorker, handle: bigint) {
    this.#worker = worker;
    this.handle = handle;
  }

  /** Sends an active message exactly as given. */
  am(
    bytes: Uint8Array,
    options: { id?: number; header?: Uint8Array; rendezvous?: boolean; eager?: boolean; reply?: boolean } = {},
  ): RawRequest {
    const data = inFixedMemory(bytes);
    const header = inFixedMemory(options.header ?? new Uint8Array());
    const flags = (options.reply ? FLAG_REPLY : 0) | (options.eager ? FLAG_EAGER : 0) |
      (options.rendezvous ? FLAG_RNDV : 0);
    const params = requestParams(flags);
    const result = this.#worker.symbols.ucp_am_send_nbx(
      this.handle,
      options.id ?? 0,
      addressOf(header),
      BigInt(options.header?.byteLength ?? 0),
      addressOf(data),
      BigInt(bytes.byteLength),
      addressOf(params.bytes),
    );
    return new RawRequest(this.#worker, result, [data, header, params]);
  }

  /** Sends a tagged message exactly as given. */
  tag(tag: bigint, bytes: Uint8Array, options: { synchronous?: boolean } = {}): RawRequest {
    const data = inFixedMemory(bytes);
    const params = requestParams();
    const send = options.synchronous
      ? this.#worker.symbols.ucp_tag_send_sync_nbx
      : this.#worker.symbols.ucp_tag_send_nbx;
    const result = send(this.handle, addressOf(data), BigInt(bytes.byteLength), tag, addressOf(params.bytes));
    return new RawRequest(this.#worker, result, [data, params]);
  }

  /** Waits (at most a second) until what was sent has left. */
  async flush(): Promise<void> {
    const params = requestParams();
    const result = this.#worker.symbols.ucp_ep_flush_nbx(this.handle, addressOf(params.bytes));
    const request = new RawRequest(this.#worker, result, params);
    await this.#worker.until(() => request.poll() !== 1 || this.failure !== null, 1000);
  }

  /** Closes the connection; `force` cuts it silently. */
  async close(force = false): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const params = requestParams(force || this.failure !== null ? 1 : 0);
    const result = this.#worker.symbols.ucp_ep_close_nbx(this.handle, addressOf(params.bytes));
    const request = new RawRequest(this.#worker, result, params);
    await this.#worker.until(() => request.poll() !== 1, 1000);
  }
}

/** A UCX worker with its own context, polled by the test. */
export class RawWorker {
  readonly symbols: UcpSymbols;
  /** `ucp_worker_h`. */
  readonly handle: bigint;
  /** Active messages that have come, in order. */
  readonly frames: Uint8Array<ArrayBuffer>[] = [];
  /** Connections that a listener of this worker has accepted, in order. */
  readonly accepted: RawEndpoint[] = [];
  /** Version of libucp. */
  readonly version: string;
  /** Workers made for connections of their own, as the reference server does. */
  readonly children: RawWorker[] = [];
  readonly #context: bigint;
  readonly #isChild: boolean;
  readonly #library: string;
  readonly #callbacks: { close(): void }[] = [];
  readonly #endpoints = new Map<bigint, RawEndpoint>();
  readonly #connectionRequests: bigint[] = [];
  readonly #fetches: { descriptor: bigint; length: bigint }[] = [];
  readonly #fetching: { request: RawRequest; bytes: Uint8Array<ArrayBuffer>; length: number }[] = [];
  #listener = 0n;
  #errorCallback = 0n;
  #workerPerConnection = false;

  private constructor(library: string, parent?: RawWorker) {
    // What UCX prints must not mix with what a test prints.
    for (const [name, value] of [["UCX_LOG_FILE", "/dev/null"], ["UCX_TCP_CM_REUSEADDR", "y"]]) {
      if (Deno.env.get(name) === undefined) Deno.env.set(name, value);
    }
    if (Deno.env.get("UCX_NET_DEVICES") === undefined) Deno.env.set("UCX_NET_DEVICES", "lo");
    this.#library = library;
    const ucp = openUcp(library);
    this.version = ucp.version;
    this.symbols = ucp.symbols;
    const cell = new BigUint64Array(16);
    const out = new Uint8Array(cell.buffer);
    this.#isChild = parent !== undefined;
    this.#context = parent === undefined ? this.#openContext(ucp.version) : parent.#context;
    this.#check(this.symbols.ucp_worker_create(this.#context, workerParams().bytes, out), "worker");
    this.handle = cell[0];
    this.#handleMessages();
    this.#handleErrors();
  }

  #openContext(version: string): bigint {
    const cell = new BigUint64Array(16);
    const config = new BigUint64Array(16);
    this.#check(
      this.symbols.ucp_config_read(new Uint8Array(), new Uint8Array(), new Uint8Array(config.buffer)),
      "config",
    );
    const params = contextParams(FEATURE_TAG | FEATURE_AM);
    const [major, minor] = version.split(".").map(Number);
    const out = new Uint8Array(cell.buffer);
    this.#check(this.symbols.ucp_init_version(major, minor, params.bytes, config[0], out), "context");
    this.symbols.ucp_config_release(config[0]);
    return cell[0];
  }

  /** Opens libucp and makes a context and a worker. */
  static open(library: string): RawWorker {
    return new RawWorker(library);
  }

  #adopt(request: bigint): void {
    if (!this.#workerPerConnection) {
      this.accepted.push(this.#endpoint(endpointParams(request, this.#errorCallback, 0n).bytes));
      return;
    }
    const child = new RawWorker(this.#library, this);
    child.accepted.push(child.#endpoint(endpointParams(request, child.#errorCallback, 0n).bytes));
    this.children.push(child);
  }

  #check(status: number, what: string): void {
    if (status !== 0) throw new Error(`raw peer, ${what}: ${describeStatus(status)}`);
  }

  #handleMessages(): void {
    const callback = new Deno.UnsafeCallback(
      { parameters: ["usize", "usize", "usize", "usize", "usize", "usize"], result: "i8" },
      (_argument, _header, _headerLength, data, length, param) => {
        const attributes = new Deno.UnsafePointerView(Deno.UnsafePointer.create(param)!).getUint32(0);
        if ((attributes & ATTR_RNDV) !== 0) {
          this.#fetches.push({ descriptor: data, length });
          return 1;
        }
        const bytes = new Uint8Array(Number(length));
        if (length > 0n) new Deno.UnsafePointerView(Deno.UnsafePointer.create(data)!).copyInto(bytes);
        this.frames.push(bytes);
        return 0;
      },
    );
    this.#callbacks.push(callback);
    const address = BigInt(Deno.UnsafePointer.value(callback.pointer));
    this.#check(this.symbols.ucp_worker_set_am_recv_handler(this.handle, amHandlerParams(0, address).bytes), "handler");
  }

  #handleErrors(): void {
    const callback = new Deno.UnsafeCallback(
      { parameters: ["usize", "usize", "i8"], result: "void" },
      (_argument, endpoint, status) => {
        const known = this.#endpoints.get(endpoint);
        if (known) known.failure = status;
      },
    );
    this.#callbacks.push(callback);
    this.#errorCallback = BigInt(Deno.UnsafePointer.value(callback.pointer));
  }

  #endpoint(params: Uint8Array<ArrayBuffer>): RawEndpoint {
    const cell = new BigUint64Array(16);
    this.#check(this.symbols.ucp_ep_create(this.handle, params, new Uint8Array(cell.buffer)), "endpoint");
    const endpoint = new RawEndpoint(this, cell[0]);
    this.#endpoints.set(cell[0], endpoint);
    return endpoint;
  }

  /**
   * Listens on 127.0.0.1 and accepts whoever comes.
   *
   * @param workerPerConnection Give each connection a worker of its own, found in `children`
   * @returns the port
   */
  listen(port = 0, workerPerConnection = false): number {
    this.#workerPerConnection = workerPerConnection;
    const callback = new Deno.UnsafeCallback(
      { parameters: ["usize", "usize"], result: "void" },
      (request) => void this.#connectionRequests.push(request),
    );
    this.#callbacks.push(callback);
    const address = loopbackAddress(port);
    const cell = new BigUint64Array(16);
    const params = listenerParams(address, BigInt(Deno.UnsafePointer.value(callback.pointer)), 0n);
    this.#check(this.symbols.ucp_listener_create(this.handle, params.bytes, new Uint8Array(cell.buffer)), "listener");
    this.#listener = cell[0];
    const attributes = listenerAttr();
    this.#check(this.symbols.ucp_listener_query(this.#listener, attributes.bytes), "listener's address");
    return attributes.view.getUint16(8 + 2, false);
  }

  /** Starts to connect to 127.0.0.1. */
  connect(port: number): RawEndpoint {
    const address = loopbackAddress(port);
    return this.#endpoint(endpointParams(address, this.#errorCallback, 0n).bytes);
  }

  /** Moves everything on once. */
  progress(): boolean {
    let moved = false;
    for (let i = 0; i < 4 && progressWorker(this.symbols, this.handle); i++) moved = true;
    while (this.#connectionRequests.length > 0) {
      this.#adopt(this.#connectionRequests.shift()!);
      moved = true;
    }
    while (this.#fetches.length > 0) {
      const { descriptor, length } = this.#fetches.shift()!;
      const bytes = new Uint8Array(Math.max(Number(length), FIXED_BYTES));
      const params = requestParams();
      const result = this.symbols.ucp_am_recv_data_nbx(
        this.handle,
        descriptor,
        addressOf(bytes),
        length,
        addressOf(params.bytes),
      );
      const request = new RawRequest(this, result, [bytes, params]);
      this.#fetching.push({ request, bytes, length: Number(length) });
    }
    for (const child of this.children) if (child.progress()) moved = true;
    while (this.#fetching.length > 0 && this.#fetching[0].request.poll() !== 1) {
      const { bytes, length } = this.#fetching.shift()!;
      this.frames.push(bytes.subarray(0, length));
    }
    return moved;
  }

  /** Progresses until `step` answers true. @returns false after `timeoutMs` */
  async until(step: () => boolean, timeoutMs = 5000): Promise<boolean> {
    const end = performance.now() + timeoutMs;
    let spins = 0;
    while (true) {
      const moved = this.progress();
      if (step()) return true;
      if (performance.now() > end) return false;
      if (!moved && ++spins > 50) {
        spins = 0;
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }
  }

  /** Progresses for a while. */
  async idle(milliseconds: number): Promise<void> {
    await this.until(() => false, milliseconds);
  }

  /** Posts a tagged receive. */
  receive(tag: bigint, mask: bigint, capacity: number): RawReceive {
    const bytes = new Uint8Array(Math.max(capacity, FIXED_BYTES));
    const info = new Uint8Array(FIXED_BYTES);
    // UCX 1.13 does not fill in tag and length of a receive that completes at once: always request a request object.
    const params = requestParams(0, addressOf(info), true);
    const result = this.symbols.ucp_tag_recv_nbx(
      this.handle,
      addressOf(bytes),
      BigInt(capacity),
      tag,
      mask,
      addressOf(params.bytes),
    );
    pinned.add(params);
    return new RawReceive(this, result, bytes, info);
  }

  /** Cuts all connections and frees everything. */
  async close(): Promise<void> {
    if (this.#listener !== 0n) this.symbols.ucp_listener_destroy(this.#listener);
    for (const endpoint of this.#endpoints.values()) await endpoint.close(true);
    for (const child of this.children) await child.close();
    this.symbols.ucp_worker_destroy(this.handle);
    if (!this.#isChild) this.symbols.ucp_cleanup(this.#context);
    for (const callback of this.#callbacks) callback.close();
  }
}

/** A `struct sockaddr_in` of 127.0.0.1, written by hand. */
function loopbackAddress(port: number): { bytes: Uint8Array<ArrayBuffer>; length: number } {
  const bytes = new Uint8Array(FIXED_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 2, true); // AF_INET
  view.setUint16(2, port, false);
  bytes.set([127, 0, 0, 1], 4);
  return { bytes, length: 16 };
}
