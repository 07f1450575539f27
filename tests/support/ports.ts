/**
 * Ports for programs that cannot choose one themselves, for servers that come back at theirs, and ports at which nobody listens.
 *
 * A port that the system has chosen and that is closed again may be given to another program in the next moment: here to a test that
 * runs beside this one. So these lie below the range from which the system chooses.
 *
 * @module
 */

/** From here on; below are the ports of well-known services. */
const FIRST = 10_000;
const RANGE = "/proc/sys/net/ipv4/ip_local_port_range";

const taken = new Set<number>();

/** Ports from {@linkcode FIRST} up to, not including, this one are not given out by the system. */
function end(): number {
  const first = Number.parseInt(Deno.readTextFileSync(RANGE));
  if (first > FIRST) return first;
  throw new Error(`the system gives out all ports from ${first} on: ${RANGE} must begin above ${FIRST}`);
}

function isFree(port: number): boolean {
  try {
    Deno.listen({ hostname: "0.0.0.0", port }).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return false;
    throw error;
  }
}

/**
 * A port of IPv4 at which nobody listens. It is never given out twice, and never by the system.
 *
 * @param count So many ports from this one on are unused. Default 1
 */
export function unusedPort(count = 1): number {
  const starts = end() - FIRST - count;
  for (;;) {
    const first = FIRST + Math.floor(Math.random() * starts);
    const ports = Array.from({ length: count }, (_, i) => first + i);
    if (!ports.every((port) => !taken.has(port) && isFree(port))) continue;
    for (const port of ports) taken.add(port);
    return first;
  }
}
