/**
 * Layouts of the UCX structures that dipc writes or reads, and their writers.
 *
 * Offsets are the same in UCX 1.13 and 1.22 on 64-bit systems; only sizes grew, so the larger ones are allocated. They are
 * checked against the headers by `native/struct_layout.c`. UCX ignores a field unless its bit is set in the mask.
 *
 * @module
 */
import { addressOf } from "./libc.ts";

/** Sizes and byte offsets, by the C names of the types and fields. */
export const LAYOUT = {
  ucp_params_t: { size: 88, field_mask: 0, features: 8, name: 72 },
  ucp_context_attr_t: { size: 80, field_mask: 0, memory_types: 24 },
  ucp_worker_params_t: { size: 200, field_mask: 0, thread_mode: 8, flags: 168 },
  ucp_am_handler_param_t: { size: 32, field_mask: 0, id: 8, flags: 12, cb: 16, arg: 24 },
  ucp_listener_params_t: { size: 56, field_mask: 0, sockaddr: 8, conn_handler: 40 },
  ucp_listener_attr_t: { size: 136, field_mask: 0, sockaddr: 8 },
  ucp_conn_request_attr_t: { size: 144, field_mask: 0, client_address: 8 },
  ucp_ep_params_t: {
    size: 104,
    field_mask: 0,
    err_mode: 16,
    err_handler: 24,
    flags: 48,
    sockaddr: 56,
    conn_request: 72,
  },
  ucs_sock_addr_t: { size: 16, addr: 0, addrlen: 8 },
  ucp_err_handler_t: { size: 16, cb: 0, arg: 8 },
  ucp_listener_conn_handler_t: { size: 16, cb: 0, arg: 8 },
  ucp_request_param_t: { size: 96, op_attr_mask: 0, flags: 4, datatype: 24, memory_type: 48, recv_info: 56 },
  ucp_tag_recv_info_t: { size: 16, sender_tag: 0, length: 8 },
  ucp_am_recv_param_t: { size: 16, recv_attr: 0, reply_ep: 8 },
  ucp_ep_attr_t: { size: 328, field_mask: 0, transports: 296 },
  ucp_transports_t: { size: 24, entries: 0, num_entries: 8, entry_size: 16 },
  ucp_transport_entry_t: { size: 16, transport_name: 0, device_name: 8 },
  ucp_mem_map_params_t: { size: 48, field_mask: 0, length: 16, flags: 24 },
  ucp_mem_attr_t: { size: 32, field_mask: 0, address: 8, length: 16 },
  ucs_status_t: { size: 1 },
} as const satisfies Record<string, Record<string, number>>;

/** `ucp_feature`: tag matching. */
export const FEATURE_TAG = 1n << 0n;
/** `ucp_feature`: memory of the peer. With it the peer can read and write all memory of this process. */
export const FEATURE_RMA = 1n << 1n;
/** `ucp_feature`: sleeping on a worker's event file descriptor. */
export const FEATURE_WAKEUP = 1n << 4n;
/** `ucp_feature`: active messages. */
export const FEATURE_AM = 1n << 6n;
/** `ucp_ep_close_flags_t`: cut the connection without notifying the peer. */
export const EP_CLOSE_FORCE = 1;
/** `ucp_send_am_flags`: complete only once the peer has fetched the message. */
export const AM_SEND_RNDV = 1 << 2;
/** `ucp_am_recv_attr_t`: only a descriptor has arrived; the data must be fetched. */
export const AM_RECV_RNDV = 1 << 17;

/** `ucs_memory_type_t`: host memory. */
export const MEMORY_HOST = 0;
/** `ucs_memory_type_t`: memory of an NVIDIA GPU. Only for a context that supports it. */
export const MEMORY_CUDA = 1;

/** A structure in memory that C may read or write. */
export interface CStruct {
  /** The structure's memory. Must stay referenced while C uses it. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** A view of the same bytes. */
  readonly view: DataView<ArrayBuffer>;
}

function allocate(size: number): CStruct {
  const bytes = new Uint8Array(Math.max(size, 128));
  return { bytes, view: new DataView(bytes.buffer) };
}

function u64(struct: CStruct, offset: number, value: bigint): void {
  struct.view.setBigUint64(offset, value, true);
}

function u32(struct: CStruct, offset: number, value: number): void {
  struct.view.setUint32(offset, value, true);
}

/** A socket address and the memory that holds it. */
export interface SockAddr {
  /** `struct sockaddr_in` or `struct sockaddr_in6`, in an array large enough not to be moved by the collector. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Number of valid bytes in it. */
  readonly length: number;
}

/**
 * `ucp_params_t` of a context.
 *
 * @param features `ucp_feature` bits
 */
export function contextParams(features: bigint): CStruct {
  const struct = allocate(LAYOUT.ucp_params_t.size);
  u64(struct, LAYOUT.ucp_params_t.field_mask, 1n << 0n); // FEATURES
  u64(struct, LAYOUT.ucp_params_t.features, features);
  return struct;
}

/** A `ucp_context_attr_t` to be filled in, requesting the types of memory that the context can read and write. */
export function contextAttr(): CStruct {
  const struct = allocate(LAYOUT.ucp_context_attr_t.size);
  u64(struct, LAYOUT.ucp_context_attr_t.field_mask, 1n << 2n); // MEMORY_TYPES
  return struct;
}

/**
 * The types of memory that a context can read and write: one bit for each `ucs_memory_type_t`.
 *
 * @param attr A `ucp_context_attr_t` that was filled in
 */
export function contextMemoryTypes(attr: CStruct): bigint {
  return attr.view.getBigUint64(LAYOUT.ucp_context_attr_t.memory_types, true);
}

/** `ucp_worker_params_t` of a worker used by one thread, without warnings about requests of dead endpoints. */
export function workerParams(): CStruct {
  const struct = allocate(LAYOUT.ucp_worker_params_t.size);
  u64(struct, LAYOUT.ucp_worker_params_t.field_mask, 1n << 0n | 1n << 5n); // THREAD_MODE, FLAGS
  u32(struct, LAYOUT.ucp_worker_params_t.thread_mode, 0); // UCS_THREAD_MODE_SINGLE
  u64(struct, LAYOUT.ucp_worker_params_t.flags, 1n); // UCP_WORKER_FLAG_IGNORE_REQUEST_LEAK
  return struct;
}

/**
 * `ucp_am_handler_param_t` of a handler for complete messages.
 *
 * @param id Active message id
 * @param callback A `ucp_am_recv_callback_t`
 */
export function amHandlerParams(id: number, callback: bigint): CStruct {
  const at = LAYOUT.ucp_am_handler_param_t;
  const struct = allocate(at.size);
  u64(struct, at.field_mask, 1n << 0n | 1n << 1n | 1n << 2n); // ID, FLAGS, CB
  u32(struct, at.id, id);
  u32(struct, at.flags, 1); // UCP_AM_FLAG_WHOLE_MSG
  u64(struct, at.cb, callback);
  return struct;
}

/**
 * `ucp_listener_params_t`. The address must stay referenced until the listener has been created.
 *
 * @param address Address to listen on
 * @param callback A `ucp_listener_conn_callback_t`
 * @param argument Passed to the callback as `arg`
 */
export function listenerParams(address: SockAddr, callback: bigint, argument: bigint): CStruct {
  const at = LAYOUT.ucp_listener_params_t;
  const struct = allocate(at.size);
  u64(struct, at.field_mask, 1n << 0n | 1n << 2n); // SOCK_ADDR, CONN_HANDLER
  u64(struct, at.sockaddr + LAYOUT.ucs_sock_addr_t.addr, addressOf(address.bytes));
  u32(struct, at.sockaddr + LAYOUT.ucs_sock_addr_t.addrlen, address.length);
  u64(struct, at.conn_handler + LAYOUT.ucp_listener_conn_handler_t.cb, callback);
  u64(struct, at.conn_handler + LAYOUT.ucp_listener_conn_handler_t.arg, argument);
  return struct;
}

/** A `ucp_listener_attr_t` to be filled in, requesting the address. */
export function listenerAttr(): CStruct {
  const struct = allocate(LAYOUT.ucp_listener_attr_t.size);
  u64(struct, LAYOUT.ucp_listener_attr_t.field_mask, 1n << 0n); // SOCKADDR
  return struct;
}

/** A `ucp_conn_request_attr_t` to be filled in, requesting the client's address. */
export function connectionRequestAttr(): CStruct {
  const struct = allocate(LAYOUT.ucp_conn_request_attr_t.size);
  u64(struct, LAYOUT.ucp_conn_request_attr_t.field_mask, 1n << 0n); // CLIENT_ADDR
  return struct;
}

/**
 * `ucp_ep_params_t` of an endpoint. A connection is made in error mode PEER; an accepted one has the mode that the client
 * requested, because UCX refuses every client whose mode is not the one that the server names, and most name none. A
 * socket address must stay referenced until the endpoint exists.
 *
 * @param peer The address to connect to, or the `ucp_conn_request_h` to accept
 * @param errorCallback A `ucp_err_handler_cb_t`
 * @param errorArgument Passed to the callback as `arg`
 */
export function endpointParams(peer: SockAddr | bigint, errorCallback: bigint, errorArgument: bigint): CStruct {
  const at = LAYOUT.ucp_ep_params_t;
  const struct = allocate(at.size);
  const accepting = typeof peer === "bigint";
  // ERR_HANDLER and FLAGS, then CONN_REQUEST, or ERR_HANDLING_MODE and SOCK_ADDR
  u64(struct, at.field_mask, 1n << 2n | 1n << 5n | (accepting ? 1n << 6n : 1n << 1n | 1n << 4n));
  u64(struct, at.err_handler + LAYOUT.ucp_err_handler_t.cb, errorCallback);
  u64(struct, at.err_handler + LAYOUT.ucp_err_handler_t.arg, errorArgument);
  if (accepting) {
    u32(struct, at.flags, 0);
    u64(struct, at.conn_request, peer);
  } else {
    u32(struct, at.err_mode, 1); // UCP_ERR_HANDLING_MODE_PEER
    u32(struct, at.flags, 1); // UCP_EP_PARAMS_FLAGS_CLIENT_SERVER
    u64(struct, at.sockaddr + LAYOUT.ucs_sock_addr_t.addr, addressOf(peer.bytes));
    u32(struct, at.sockaddr + LAYOUT.ucs_sock_addr_t.addrlen, peer.length);
  }
  return struct;
}

/**
 * `ucp_request_param_t`. The type of memory is always set: UCX would have to detect it, and may be mistaken.
 *
 * @param flags The operation's `flags`
 * @param recvInfo Address of a `ucp_tag_recv_info_t`, or of the `size_t` of an active message, for receives that complete immediately
 * @param alwaysRequest Never complete immediately: always return a request
 * @param memoryType `ucs_memory_type_t` of the buffer
 */
export function requestParams(
  flags = 0,
  recvInfo = 0n,
  alwaysRequest = false,
  memoryType: number = MEMORY_HOST,
): CStruct {
  const at = LAYOUT.ucp_request_param_t;
  const struct = allocate(at.size);
  let mask = 1 << 6; // MEMORY_TYPE
  if (flags !== 0) mask |= 1 << 4; // FLAGS
  if (recvInfo !== 0n) mask |= 1 << 7; // RECV_INFO
  if (alwaysRequest) mask |= 1 << 16; // UCP_OP_ATTR_FLAG_NO_IMM_CMPL
  u32(struct, at.op_attr_mask, mask);
  u32(struct, at.flags, flags);
  u32(struct, at.memory_type, memoryType);
  u64(struct, at.recv_info, recvInfo);
  return struct;
}

/**
 * A `ucp_ep_attr_t` to be filled in, requesting the transports (UCX 1.14 and later).
 *
 * @param entries Address of an array of `ucp_transport_entry_t`
 * @param count Number of entries in the array
 */
export function endpointAttr(entries: bigint, count: number): CStruct {
  const at = LAYOUT.ucp_ep_attr_t;
  const struct = allocate(at.size);
  u64(struct, at.field_mask, 1n << 3n); // TRANSPORTS
  u64(struct, at.transports + LAYOUT.ucp_transports_t.entries, entries);
  u32(struct, at.transports + LAYOUT.ucp_transports_t.num_entries, count);
  u64(struct, at.transports + LAYOUT.ucp_transports_t.entry_size, BigInt(LAYOUT.ucp_transport_entry_t.size));
  return struct;
}

/**
 * `ucp_mem_map_params_t` of memory that UCX provides.
 *
 * @param byteLength Its least size in bytes
 */
export function memoryParams(byteLength: number): CStruct {
  const at = LAYOUT.ucp_mem_map_params_t;
  const struct = allocate(at.size);
  u64(struct, at.field_mask, 1n << 1n | 1n << 2n); // LENGTH, FLAGS
  u64(struct, at.length, BigInt(byteLength));
  u32(struct, at.flags, 1 << 1); // UCP_MEM_MAP_ALLOCATE
  return struct;
}

/** A `ucp_mem_attr_t` to be filled in, requesting address and length. */
export function memoryAttr(): CStruct {
  const struct = allocate(LAYOUT.ucp_mem_attr_t.size);
  u64(struct, LAYOUT.ucp_mem_attr_t.field_mask, 1n << 0n | 1n << 1n); // ADDRESS, LENGTH
  return struct;
}
