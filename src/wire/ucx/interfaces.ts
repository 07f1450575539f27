/**
 * What an address decides: the network interface that UCX uses, and whether memory may be shared.
 *
 * @module
 */
import { formatAddress, interfaceAddresses, sourceAddress } from "../../../ffi/interfaces.ts";
import { cString, libc } from "../../../ffi/libc.ts";
import type { SockAddr } from "../../../ffi/ucp_structs.ts";
import { isWildcardHost } from "../../reachable_host.ts";
import { isLoopback } from "./address.ts";

/** The way to a peer. */
export interface Path {
  /** Name of the interface that the data takes; `null` if the address does not say. */
  readonly device: string | null;
  /** Whether the address is one of this machine, as this process sees it (in its network namespace). */
  readonly isLocal: boolean;
}

const LOOPBACK: Path = { device: "lo", isLocal: true };

function interfaceOf(host: string | null): string | null {
  const name = interfaceAddresses().find((each) => each.isActive && each.host === host)?.name;
  // UCX uses active interfaces that it finds there. Limited to another it would have none, and 1.13 ends the process then.
  return name !== undefined && libc().access(cString(`/sys/class/net/${name}`), 0) === 0 ? name : null;
}

/**
 * The path to a server. UCX would spread the data over all interfaces that it believes to lead there; it is limited to the one
 * that the system would take.
 *
 * Memory is shared only with a server at an address of this machine: one at another address is in another network namespace if it
 * is on this machine at all, and UCX cannot wake up a process there.
 *
 * @param target The server's address
 */
export function pathTo(target: SockAddr): Path {
  if (isLoopback(target)) return LOOPBACK;
  const source = sourceAddress(target);
  return { device: interfaceOf(source), isLocal: source === formatAddress(target.bytes).host };
}

/**
 * The path of a server's clients: through the interface that has the address it listens on.
 *
 * @param address The address to listen on
 */
export function pathOf(address: SockAddr): Path {
  if (isLoopback(address)) return LOOPBACK;
  const { host } = formatAddress(address.bytes);
  return { device: isWildcardHost(host) ? null : interfaceOf(host), isLocal: true };
}
