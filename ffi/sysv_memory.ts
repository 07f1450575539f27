/**
 * System V shared memory, in which UCX lets others read: what the kernel says about a segment, and about what is mapped here. No policy.
 *
 * @module
 */
import { fileLibrary, OPEN_READ } from "./files.ts";
import { cString, libc } from "./libc.ts";

const SYMBOLS = {
  // int shmctl(int shmid, int op, struct shmid_ds *buf)
  shmctl: { parameters: ["i32", "i32", "buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** `IPC_STAT` of sys/ipc.h; a test compares it with what a compiler says. */
export const SYSV_CONSTANTS = { IPC_STAT: 2 } as const;

/** Offsets of the fields used of struct shmid_ds, and its size; compared by the same test. */
export const SHMID_LAYOUT = { "shm_perm.uid": 4, shm_segsz: 48, size: 112 } as const;

let library: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] | undefined;

function calls(): NonNullable<typeof library> {
  if (library !== undefined) return library;
  libc(); // throws a clear error if the C library cannot be opened
  return library = Deno.dlopen("libc.so.6", SYMBOLS).symbols;
}

/** A segment of shared memory. */
export interface SegmentFacts {
  /** Its size in bytes, as it was requested. */
  readonly byteLength: number;
  /** The user whom it belongs to. */
  readonly user: number;
}

/** What the kernel says about a segment; `null` if there is none with that number, or this user may not see it. */
export function segmentFacts(id: number): SegmentFacts | null {
  const memory = new Uint8Array(SHMID_LAYOUT.size);
  if (calls().shmctl(id | 0, SYSV_CONSTANTS.IPC_STAT, memory) !== 0) return null;
  const view = new DataView(memory.buffer);
  return {
    byteLength: Number(view.getBigUint64(SHMID_LAYOUT.shm_segsz, true)),
    user: view.getUint32(SHMID_LAYOUT["shm_perm.uid"], true),
  };
}

/** A part of this process's memory, as `/proc/self/maps` has it. */
export interface Mapping {
  /** Address of its first byte. */
  readonly start: bigint;
  /** Address after its last byte. */
  readonly end: bigint;
  /** Number of the file; of a segment of System V, its number. */
  readonly inode: bigint;
  /** Such as `/SYSV00000000 (deleted)`. */
  readonly name: string;
}

const CHUNK_BYTES = 1 << 16;

/** The mapping in which an address of this process lies; `null` if the kernel does not say. */
export function mappingOf(address: bigint): Mapping | null {
  for (const line of linesOf("/proc/self/maps")) {
    const parts = /^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ (\d+) *(.*)$/.exec(line);
    if (parts === null) continue;
    const start = BigInt(`0x${parts[1]}`), end = BigInt(`0x${parts[2]}`);
    if (address >= start && address < end) return { start, end, inode: BigInt(parts[3]), name: parts[4] };
  }
  return null;
}

/** The lines of a file of the kernel, read without Deno's permission; none if it cannot be read. */
function linesOf(path: string): string[] {
  const fd = fileLibrary().open(cString(path), OPEN_READ, 0);
  if (fd < 0) return [];
  const chunk = new Uint8Array(CHUNK_BYTES);
  const decoder = new TextDecoder();
  let text = "", at = 0n;
  for (let read; (read = Number(libc().pread(fd, chunk, BigInt(CHUNK_BYTES), at))) > 0; at += BigInt(read)) {
    text += decoder.decode(chunk.subarray(0, read), { stream: true });
  }
  libc().close(fd);
  return text.split("\n");
}
