/**
 * The UCX transports that the streams of this isolate share.
 *
 * @module
 */
import type { DeviceAccess, Transport } from "../transport.ts";
import { ucxTransport } from "./transport.ts";

const transports = new Map<string, { space: string; transport: Promise<Transport> }>();

/**
 * One transport for all streams of the isolate: making one costs milliseconds and file descriptors.
 *
 * @param library Path of libucp, empty for the usual rules
 * @param device The GPU whose memory it transfers directly, if there is one
 */
export function sharedTransport(library = "", device?: DeviceAccess): Promise<Transport> {
  const space = device?.space ?? "host";
  const key = `${space} ${library}`;
  const known = transports.get(key);
  if (known !== undefined) return known.transport;
  const transport = ucxTransport({ library: library || undefined, device });
  transports.set(key, { space, transport });
  transport.catch(() => transports.delete(key));
  return transport;
}

/** Releases the transports that are kept for the next stream. */
export async function releaseTransports(): Promise<void> {
  for (const space of new Set([...transports.values()].map(({ space }) => space))) await releaseTransportsOf(space);
}

/** @ignore Releases those that are for one memory space. */
export async function releaseTransportsOf(space: string): Promise<void> {
  const open = [...transports].filter(([, entry]) => entry.space === space);
  for (const [key] of open) transports.delete(key);
  for (const [, { transport }] of open) await (await transport).close();
}
