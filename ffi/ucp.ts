/**
 * The functions of libucp that dipc uses, as C declares them (`ucp/api/ucp.h`), and how to open the library.
 *
 * Handles, sizes, tags and addresses are `usize`/`u64` and passed as prebuilt bigints: passing a number instead makes a
 * call more than ten times as expensive. `ucs_status_t` is a one-byte enum, hence `i8`. No policy here.
 *
 * @module
 */
import { LocalError } from "../src/errors.ts";
import { textOf } from "../src/text.ts";
import { keepLoaded } from "./raw_memory.ts";

/** Symbol table of libucp. Valid for UCX 1.13 and later. */
const UCP_SYMBOLS = {
  ucp_get_version: {
    parameters: [
      "buffer", // unsigned *major_version
      "buffer", // unsigned *minor_version
      "buffer", // unsigned *release_number
    ],
    result: "void",
  },
  ucp_get_version_string: { parameters: [], result: "pointer" }, // const char *
  ucp_config_read: {
    parameters: [
      "buffer", // const char *env_prefix
      "buffer", // const char *filename
      "buffer", // ucp_config_t **config_p
    ],
    result: "i8",
  },
  ucp_config_modify: {
    parameters: [
      "usize", // ucp_config_t *config
      "buffer", // const char *name
      "buffer", // const char *value
    ],
    result: "i8",
  },
  ucp_config_release: { parameters: ["usize" /* ucp_config_t *config */], result: "void" },
  // ucp_init is inline in the header; this is what it calls.
  ucp_init_version: {
    parameters: [
      "u32", // unsigned api_major_version
      "u32", // unsigned api_minor_version
      "buffer", // const ucp_params_t *params
      "usize", // const ucp_config_t *config
      "buffer", // ucp_context_h *context_p
    ],
    result: "i8",
  },
  ucp_context_query: {
    parameters: [
      "usize", // ucp_context_h context_p
      "buffer", // ucp_context_attr_t *attr
    ],
    result: "i8",
  },
  ucp_context_print_info: {
    parameters: [
      "usize", // ucp_context_h context
      "usize", // FILE *stream
    ],
    result: "void",
  },
  ucp_cleanup: { parameters: ["usize" /* ucp_context_h */], result: "void" },
  ucp_worker_create: {
    parameters: [
      "usize", // ucp_context_h context
      "buffer", // const ucp_worker_params_t *params
      "buffer", // ucp_worker_h *worker_p
    ],
    result: "i8",
  },
  ucp_worker_destroy: { parameters: ["usize" /* ucp_worker_h */], result: "void" },
  // Returns unsigned, but must not be called for its result: see progress.ts.
  ucp_worker_progress: { parameters: ["usize" /* ucp_worker_h */], result: "void" },
  ucp_worker_progress_address: { name: "ucp_worker_progress", type: "pointer" },
  ucp_worker_get_efd: {
    parameters: [
      "usize", // ucp_worker_h worker
      "buffer", // int *fd
    ],
    result: "i8",
  },
  ucp_worker_arm: { parameters: ["usize" /* ucp_worker_h */], result: "i8" },
  ucp_worker_set_am_recv_handler: {
    parameters: [
      "usize", // ucp_worker_h worker
      "buffer", // const ucp_am_handler_param_t *param
    ],
    result: "i8",
  },
  ucp_listener_create: {
    parameters: [
      "usize", // ucp_worker_h worker
      "buffer", // const ucp_listener_params_t *params
      "buffer", // ucp_listener_h *listener_p
    ],
    result: "i8",
  },
  ucp_listener_query: {
    parameters: [
      "usize", // ucp_listener_h listener
      "buffer", // ucp_listener_attr_t *attr
    ],
    result: "i8",
  },
  ucp_conn_request_query: {
    parameters: [
      "usize", // ucp_conn_request_h conn_request
      "buffer", // ucp_conn_request_attr_t *attr
    ],
    result: "i8",
  },
  ucp_listener_reject: {
    parameters: [
      "usize", // ucp_listener_h listener
      "usize", // ucp_conn_request_h conn_request
    ],
    result: "i8",
  },
  ucp_listener_destroy: { parameters: ["usize" /* ucp_listener_h */], result: "void" },
  ucp_ep_create: {
    parameters: [
      "usize", // ucp_worker_h worker
      "buffer", // const ucp_ep_params_t *params
      "buffer", // ucp_ep_h *ep_p
    ],
    result: "i8",
  },
  ucp_ep_close_nbx: {
    parameters: [
      "usize", // ucp_ep_h ep
      "usize", // const ucp_request_param_t *param
    ],
    result: "usize", // ucs_status_ptr_t
  },
  ucp_ep_flush_nbx: {
    parameters: [
      "usize", // ucp_ep_h ep
      "usize", // const ucp_request_param_t *param
    ],
    result: "usize", // ucs_status_ptr_t
  },
  ucp_ep_query: {
    parameters: [
      "usize", // ucp_ep_h ep
      "buffer", // ucp_ep_attr_t *attr
    ],
    result: "i8",
  },
  ucp_ep_print_info: {
    parameters: [
      "usize", // ucp_ep_h ep
      "usize", // FILE *stream
    ],
    result: "void",
  },
  ucp_am_send_nbx: {
    parameters: [
      "usize", // ucp_ep_h ep
      "u32", // unsigned id
      "usize", // const void *header
      "usize", // size_t header_length
      "usize", // const void *buffer
      "usize", // size_t count
      "usize", // const ucp_request_param_t *param
    ],
    result: "usize", // ucs_status_ptr_t
  },
  ucp_am_recv_data_nbx: {
    parameters: [
      "usize", // ucp_worker_h worker
      "usize", // void *data_desc
      "usize", // void *buffer
      "usize", // size_t count
      "usize", // const ucp_request_param_t *param
    ],
    result: "usize", // ucs_status_ptr_t
  },
  ucp_am_data_release: {
    parameters: [
      "usize", // ucp_worker_h worker
      "usize", // void *data
    ],
    result: "void",
  },
  ucp_tag_send_nbx: {
    parameters: [
      "usize", // ucp_ep_h ep
      "usize", // const void *buffer
      "usize", // size_t count
      "u64", // ucp_tag_t tag
      "usize", // const ucp_request_param_t *param
    ],
    result: "usize", // ucs_status_ptr_t
  },
  ucp_tag_send_sync_nbx: {
    parameters: [
      "usize", // ucp_ep_h ep
      "usize", // const void *buffer
      "usize", // size_t count
      "u64", // ucp_tag_t tag
      "usize", // const ucp_request_param_t *param
    ],
    result: "usize", // ucs_status_ptr_t
  },
  ucp_tag_recv_nbx: {
    parameters: [
      "usize", // ucp_worker_h worker
      "usize", // void *buffer
      "usize", // size_t count
      "u64", // ucp_tag_t tag
      "u64", // ucp_tag_t tag_mask
      "usize", // const ucp_request_param_t *param
    ],
    result: "usize", // ucs_status_ptr_t
  },
  ucp_tag_probe_nb: {
    parameters: [
      "usize", // ucp_worker_h worker
      "u64", // ucp_tag_t tag
      "u64", // ucp_tag_t tag_mask
      "i32", // int remove
      "usize", // ucp_tag_recv_info_t *info
    ],
    result: "usize", // ucp_tag_message_h
  },
  ucp_request_check_status: { parameters: ["usize" /* void *request */], result: "i8" },
  ucp_tag_recv_request_test: {
    parameters: [
      "usize", // void *request
      "usize", // ucp_tag_recv_info_t *info
    ],
    result: "i8",
  },
  ucp_request_cancel: {
    parameters: [
      "usize", // ucp_worker_h worker
      "usize", // void *request
    ],
    result: "void",
  },
  ucp_request_free: { parameters: ["usize" /* void *request */], result: "void" },
  ucp_mem_map: {
    parameters: [
      "usize", // ucp_context_h context
      "buffer", // const ucp_mem_map_params_t *params
      "buffer", // ucp_mem_h *memh_p
    ],
    result: "i8",
  },
  ucp_mem_query: {
    parameters: [
      "usize", // const ucp_mem_h memh
      "buffer", // ucp_mem_attr_t *attr
    ],
    result: "i8",
  },
  ucp_mem_unmap: {
    parameters: [
      "usize", // ucp_context_h context
      "usize", // ucp_mem_h memh
    ],
    result: "i8",
  },
  ucp_rkey_pack: {
    parameters: [
      "usize", // ucp_context_h context
      "usize", // ucp_mem_h memh
      "buffer", // void **rkey_buffer_p
      "buffer", // size_t *size_p
    ],
    result: "i8",
  },
  ucp_rkey_buffer_release: { parameters: ["usize" /* void *rkey_buffer */], result: "void" },
  ucp_ep_rkey_unpack: {
    parameters: [
      "usize", // ucp_ep_h ep
      "buffer", // const void *rkey_buffer
      "buffer", // ucp_rkey_h *rkey_p
    ],
    result: "i8",
  },
  ucp_rkey_ptr: {
    parameters: [
      "usize", // ucp_rkey_h rkey
      "u64", // uint64_t raddr
      "buffer", // void **addr_p
    ],
    result: "i8",
  },
  ucp_rkey_destroy: { parameters: ["usize" /* ucp_rkey_h */], result: "void" },
  ucp_get_nbx: {
    parameters: [
      "usize", // ucp_ep_h ep
      "usize", // void *buffer
      "usize", // size_t count
      "u64", // uint64_t remote_addr
      "usize", // ucp_rkey_h rkey
      "usize", // const ucp_request_param_t *param
    ],
    result: "usize", // ucs_status_ptr_t
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** The functions of an opened libucp. */
export type UcpSymbols = Deno.DynamicLibrary<typeof UCP_SYMBOLS>["symbols"];

/** An opened libucp. It stays open for the life of the process. */
export interface Ucp {
  /** The path that was opened. */
  readonly path: string;
  /** Version of the library, such as `"1.22.0"`. */
  readonly version: string;
  /** Functions of the library. */
  readonly symbols: UcpSymbols;
}

const opened = new Map<string, Ucp>();

/**
 * Opens libucp, once per path and isolate. It is never closed, not even at the end of an isolate: UCX has memory hooks, and a thread
 * that calls into it when a peer goes.
 *
 * @param path Absolute path of the shared object
 * @returns The functions and the version of the library
 * @throws {DipcError} `library_not_found`, `permission_denied`
 */
export function openUcp(path: string): Ucp {
  const known = opened.get(path);
  if (known !== undefined) return known;
  let library: Deno.DynamicLibrary<typeof UCP_SYMBOLS>;
  try {
    library = Deno.dlopen(path, UCP_SYMBOLS);
    keepLoaded(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotCapable) {
      throw new LocalError(
        "permission_denied",
        `cannot open libucp at ${path}: Deno may not load native libraries; run with --allow-ffi ` +
          "(without a path: Deno allows no raw pointers with a path-scoped permission)",
        { cause },
      );
    }
    const text = textOf(cause);
    throw new LocalError("library_not_found", `cannot open libucp at ${path}: ${text}`, { cause });
  }
  const parts = [new Uint32Array(1), new Uint32Array(1), new Uint32Array(1)];
  library.symbols.ucp_get_version(parts[0], parts[1], parts[2]);
  const ucp: Ucp = { path, version: parts.map((part) => part[0]).join("."), symbols: library.symbols };
  opened.set(path, ucp);
  return ucp;
}
