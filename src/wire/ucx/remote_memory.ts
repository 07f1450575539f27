/**
 * Memory that crosses the border of a process by UCX: what this one lends, and what it may read of the peer.
 *
 * @module
 */
import { DipcError, LocalError } from "../../errors.ts";
import { addressOf, libc } from "../../../ffi/libc.ts";
import { describeStatus, isStatusError, pointerStatus, statusError, UCS_OK } from "../../../ffi/status.ts";
import { effectiveUser } from "../../../ffi/shared_memory.ts";
import { mappingOf, segmentFacts } from "../../../ffi/sysv_memory.ts";
import type { UcpSymbols } from "../../../ffi/ucp.ts";
import { LAYOUT, memoryAttr, memoryParams, requestParams } from "../../../ffi/ucp_structs.ts";
import type { Block } from "../../memory/block.ts";
import type { LentMemory, Operation, RemoteMemory, RemoteRange } from "../transport.ts";
import type { UcxContext } from "./context.ts";
import { FailedOperation, requestError, type RequestList, UcxRequest } from "./operations.ts";
import { packRemoteKey, parseRemoteKey, type SegmentKey } from "./remote_key.ts";

const params = requestParams();
let paramsAddress = 0n;

/**
 * Provides memory that peers can read.
 *
 * @param context The context of the connections to those peers, made with remote memory; it must outlive the memory
 * @param byteLength Its least size in bytes
 * @throws {DipcError} `out_of_memory`, `ucx`
 */
export function lendMemory(context: UcxContext, byteLength: number): LentMemory {
  const { symbols, handle } = context;
  const out = new BigUint64Array(16);
  let status = symbols.ucp_mem_map(handle, memoryParams(byteLength).bytes, out);
  if (status !== UCS_OK) {
    throw statusError(status, `lend ${byteLength} bytes of memory`, "`ipcs -l` shows the limits", "out_of_memory");
  }
  const memory = out[0];
  const attr = memoryAttr();
  status = symbols.ucp_mem_query(memory, attr.bytes);
  if (status === UCS_OK) status = symbols.ucp_rkey_pack(handle, memory, out, new Uint8Array(out.buffer, 8));
  if (status !== UCS_OK) {
    symbols.ucp_mem_unmap(handle, memory);
    throw statusError(status, `lend ${byteLength} bytes of memory`);
  }
  const key = new Uint8Array(Number(out[1]));
  new Deno.UnsafePointerView(Deno.UnsafePointer.create(out[0])!).copyInto(key);
  symbols.ucp_rkey_buffer_release(out[0]);
  let isClosed = false;
  return {
    base: attr.view.getBigUint64(LAYOUT.ucp_mem_attr_t.address, true),
    byteLength,
    key,
    close() {
      if (!isClosed) symbols.ucp_mem_unmap(handle, memory);
      isClosed = true;
    },
  };
}

/** The connection by which memory is read. */
export interface RemoteAccess {
  readonly symbols: UcpSymbols;
  /** `ucp_ep_h`, connected. */
  readonly endpoint: bigint;
  /** The channel's requests. */
  readonly requests: RequestList;
  /** Called after each request. */
  onRequest(): void;
}

/** Memory of the peer. Its key was unpacked once, and is forgotten with the channel. */
export class UcxRemoteMemory implements RemoteMemory {
  readonly range: RemoteRange | null;
  readonly fetchReason: string;
  readonly #access: RemoteAccess;
  /** `ucp_rkey_h`. */
  #handle: bigint;
  /** Address here of the first byte of the range. */
  #local = 0n;

  /**
   * Unpacks a key, of which nothing is left that was not checked.
   *
   * @param access The connection
   * @param key The packed key
   * @throws {DipcError} `protocol`, `unsupported`, `ucx`
   */
  constructor(access: RemoteAccess, key: Uint8Array) {
    this.#access = access;
    const segments = parseRemoteKey(key);
    this.#handle = 0n;
    const found = this.#map(segments);
    if (typeof found !== "string") {
      this.range = found;
      this.fetchReason = "";
      return;
    }
    this.range = null;
    this.fetchReason = found;
    this.#handle = unpack(access, null);
  }

  copy(address: bigint, target: bigint, byteLength: number): void {
    libc().memcpy(target, this.#local + (address - this.range!.base), BigInt(byteLength));
  }

  fetch(address: bigint, target: Block, at: number, byteLength: number): Operation | null {
    if (paramsAddress === 0n) paramsAddress = addressOf(params.bytes);
    const { symbols, endpoint, requests } = this.#access;
    const request = symbols.ucp_get_nbx(
      endpoint,
      target.address + BigInt(at),
      BigInt(byteLength),
      address,
      this.#handle,
      paramsAddress,
    );
    if (request === 0n) return null;
    if (isStatusError(request)) return new FailedOperation(requestError(pointerStatus(request)));
    this.#access.onRequest();
    return new UcxRequest(requests, request, target);
  }

  /** Forgets the key. Nothing may be under way, and the endpoint must still be there. */
  close(): void {
    if (this.#handle !== 0n) this.#access.symbols.ucp_rkey_destroy(this.#handle);
    this.#handle = 0n;
  }

  /** Maps the segment that a key names, if it names one that can be. @returns its range in the peer, or why it cannot be */
  #map(segments: readonly SegmentKey[]): RemoteRange | string {
    let reason = "the server's memory is not of a kind that can be mapped here";
    for (const segment of segments) {
      // A number that names nothing, or something of another user, must not come to UCX: 1.13 may end the process over it.
      const facts = segmentFacts(segment.id);
      const own = effectiveUser();
      if (facts === null || facts.byteLength === 0 || (facts.user !== own && facts.user !== 0 && own !== 0)) {
        reason = "this process may not map the server's memory, or it is not on this machine";
        continue;
      }
      if (segment.base === 0n || segment.base + BigInt(facts.byteLength) > 1n << 64n) continue;
      const outcome = this.#tryMap(segment, facts.byteLength);
      if (outcome === null) return { base: segment.base, byteLength: facts.byteLength };
      reason = outcome;
    }
    return reason;
  }

  /** @returns why it cannot be mapped, `null` if it is */
  #tryMap(segment: SegmentKey, byteLength: number): string | null {
    const { symbols } = this.#access;
    try {
      this.#handle = unpack(this.#access, segment);
    } catch (error) {
      if (error instanceof DipcError) return error.message;
      throw error;
    }
    const out = new BigUint64Array(16);
    const status = symbols.ucp_rkey_ptr(this.#handle, segment.base, out);
    // UCX checks no bounds: the kernel says what is mapped there, and how much of it.
    const mapping = status === UCS_OK ? mappingOf(out[0]) : null;
    const isSegment = mapping !== null && mapping.inode === BigInt(segment.id >>> 0) &&
      mapping.name.startsWith("/SYSV") && mapping.start === out[0] && mapping.end - out[0] >= BigInt(byteLength);
    if (isSegment) {
      this.#local = out[0];
      return null;
    }
    this.close();
    return status === UCS_OK
      ? "the server's key leads to other memory than it names"
      : `UCX cannot map the server's memory over this connection (${describeStatus(status)})`;
  }
}

function unpack({ symbols, endpoint }: RemoteAccess, segment: SegmentKey | null): bigint {
  const out = new BigUint64Array(16);
  const status = symbols.ucp_ep_rkey_unpack(endpoint, packRemoteKey(segment), out);
  if (status === UCS_OK) return out[0];
  throw statusError(status, "unpack the server's remote key");
}

/** The error of a transport, or a channel, that has no remote memory. */
export function noRemoteMemory(): LocalError {
  return new LocalError("unsupported", "cannot use remote memory: the connection was made without it");
}
