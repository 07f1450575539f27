/**
 * UCX in several isolates of a process: one loads the libraries, which changes the environment, the others only open them.
 *
 * @module
 */
import { findLibucp } from "../../../ffi/find.ts";
import { adoptUcxLogs, type UcxLog, ucxLogs } from "../../../ffi/ucx_log.ts";
import type { Transport } from "../transport.ts";
import { loadUcp } from "./context.ts";
import { ucxTransport } from "./transport.ts";

/** Libraries of UCX that an isolate of this process has loaded. */
export interface LoadedUcx {
  /** Path of libucp. */
  readonly path: string;
  /** Their logs. */
  readonly logs: readonly UcxLog[];
}

/**
 * Loads UCX for isolates of this process, none of which may change the environment.
 *
 * @param library Path of libucp; found by the usual rules by default
 * @throws {DipcError} `library_not_found`, `permission_denied`
 */
export function loadUcxForIsolates(library?: string): LoadedUcx {
  const { path } = loadUcp(findLibucp(library).path);
  return { path, logs: ucxLogs() };
}

/**
 * Makes a transport in another isolate than the one that has loaded UCX.
 *
 * @param loaded Of {@linkcode loadUcxForIsolates} there
 * @throws {DipcError} `library_not_found`, `permission_denied`
 */
export async function transportOf({ path, logs }: LoadedUcx): Promise<Transport> {
  adoptUcxLogs(logs);
  return await ucxTransport({ library: path });
}
