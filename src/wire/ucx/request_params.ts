/**
 * The parameters of requests, built once: UCX reads them on every call, and they differ only by kind of memory.
 *
 * @module
 */
import { addressOf } from "../../../ffi/libc.ts";
import { AM_SEND_RNDV, MEMORY_CUDA, requestParams } from "../../../ffi/ucp_structs.ts";
import { tagInfoAddress } from "./operations.ts";

/** Prebuilt parameter blocks, one set for the isolate. */
export interface RequestParams {
  /** Sends of host memory. */
  readonly plain: bigint;
  /** Active messages that are done only when the peer has fetched them. */
  readonly rendezvous: bigint;
  /** Tagged receives into host memory. */
  readonly receive: bigint;
  /** Sends of the memory of a GPU. */
  readonly deviceSend: bigint;
  /** Tagged receives into the memory of a GPU. */
  readonly deviceReceive: bigint;
  /** What the addresses point to. */
  readonly pinned: unknown[];
}

/** UCX before this minor version does not report tag and length of a receive that is done at once (seen in 1.13.1). */
const FIRST_MINOR_WITH_INFO = 18;
const params = new Map<boolean, RequestParams>();

/**
 * The blocks for a version of UCX.
 *
 * @param version Such as `"1.22.0"`
 */
export function sharedParams(version: string): RequestParams {
  const reportsInfo = Number(version.split(".")[1]) >= FIRST_MINOR_WITH_INFO;
  const known = params.get(reportsInfo);
  if (known !== undefined) return known;
  const plain = requestParams(), rendezvous = requestParams(AM_SEND_RNDV);
  const receive = requestParams(0, tagInfoAddress(), !reportsInfo);
  const deviceSend = requestParams(0, 0n, false, MEMORY_CUDA);
  const deviceReceive = requestParams(0, tagInfoAddress(), !reportsInfo, MEMORY_CUDA);
  const made: RequestParams = {
    plain: addressOf(plain.bytes),
    rendezvous: addressOf(rendezvous.bytes),
    receive: addressOf(receive.bytes),
    deviceSend: addressOf(deviceSend.bytes),
    deviceReceive: addressOf(deviceReceive.bytes),
    pinned: [plain, rendezvous, receive, deviceSend, deviceReceive],
  };
  params.set(reportsInfo, made);
  return made;
}
