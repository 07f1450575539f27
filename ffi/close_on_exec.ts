/**
 * Keeps child processes from inheriting what UCX opens. UCX opens its sockets without `O_CLOEXEC`: a child would hold the
 * listening port after its parent's end, and the connections, so that no client would notice that the server is gone.
 *
 * @module
 */
import { type Libc, libc } from "./libc.ts";
import { CLOSE_RANGE_CLOEXEC, F_GETFD, F_SETFD, FD_CLOEXEC, SYS_CLOSE_RANGE } from "./libc_symbols.ts";

/** The system assigns the lowest free number, so behind this many free ones there are hardly any in use. */
const FREE_IN_A_ROW = 256;
/** Highest descriptor that close_range accepts. */
const LAST = 0xffff_ffff;
/** Shortest time between two looks at every descriptor, in milliseconds; for systems that cannot mark a range. */
const LOOK_EVERY_MS = 20;

/** Ranges without the descriptors that were inheritable before UCX was loaded: those are somebody else's on purpose. */
let ranges: readonly (readonly [first: number, last: number])[] | null = null;
let canMarkRanges = true;
let nextLook = 0;

/** Calls `visit` for the descriptors of a range that children inherit. */
function visitInheritable(c: Libc, first: number, last: number, visit: (descriptor: number) => void): void {
  for (let descriptor = first, free = 0; descriptor <= last && free < FREE_IN_A_ROW; descriptor++) {
    const flags = c.fcntl(descriptor, F_GETFD, 0);
    free = flags < 0 ? free + 1 : 0;
    if (flags === 0) visit(descriptor);
  }
}

/** Remembers which descriptors children inherit already. Called before UCX is loaded; later calls do nothing. */
export function keepInheritable(): void {
  if (ranges !== null) return;
  const found: [number, number][] = [];
  let first = 0;
  visitInheritable(libc(), 0, LAST, (descriptor) => {
    if (descriptor > first) found.push([first, descriptor - 1]);
    first = descriptor + 1;
  });
  ranges = [...found, [first, LAST]];
}

/** Marks what was opened since {@linkcode keepInheritable} as close-on-exec. Takes about a microsecond. */
export function closeOnExec(): void {
  if (ranges === null) return;
  const c = libc();
  if (canMarkRanges) {
    for (const [first, last] of ranges) {
      canMarkRanges &&= c.syscall(SYS_CLOSE_RANGE, first, last, CLOSE_RANGE_CLOEXEC) === 0n;
    }
    if (canMarkRanges) return;
  }
  const now = performance.now();
  if (now < nextLook) return;
  nextLook = now + LOOK_EVERY_MS;
  for (const [first, last] of ranges) {
    visitInheritable(c, first, last, (descriptor) => c.fcntl(descriptor, F_SETFD, FD_CLOEXEC));
  }
}
