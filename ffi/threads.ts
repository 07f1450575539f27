/**
 * The threads of this process, as the system sees them: those of native libraries, too.
 *
 * @module
 */
import { fileLibrary, OPEN_READ } from "./files.ts";
import { cString, libc, namesIn } from "./libc.ts";

/** Ticks a second of /proc: 100 on every platform of Deno. */
const TICKS_PER_SECOND = 100;
const FOLDER = "/proc/self/task";

/**
 * Processor time that the threads of a name have used so far, in seconds.
 *
 * @param name Name of the threads, up to 15 characters
 */
export function threadSeconds(name: string): number {
  let ticks = 0;
  for (const thread of namesIn(FOLDER)) {
    const stat = readStart(`${FOLDER}/${thread}/stat`);
    const nameEnd = stat.lastIndexOf(")");
    if (stat.slice(stat.indexOf("(") + 1, nameEnd) !== name) continue;
    // User and system time are the 14th and 15th field, the third follows the name.
    const fields = stat.slice(nameEnd + 2).split(" ");
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS_PER_SECOND;
}

/** The first bytes of a file, as text; empty if it cannot be read. */
function readStart(path: string): string {
  const descriptor = fileLibrary().open(cString(path), OPEN_READ, 0);
  if (descriptor < 0) return "";
  const bytes = new Uint8Array(1024);
  const length = libc().pread(descriptor, bytes, BigInt(bytes.byteLength), 0n);
  libc().close(descriptor);
  return new TextDecoder().decode(bytes.subarray(0, Math.max(0, Number(length))));
}
