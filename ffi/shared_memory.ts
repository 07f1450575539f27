/**
 * Memory that processes share by a file descriptor: memfds, their seals, and what the kernel says about mapped pages. No policy.
 *
 * @module
 */
import { fileErrno, fileLibrary, MADV_DONTNEED, OPEN_READ, statDescriptor, STATX } from "./files.ts";
import { cString, libc } from "./libc.ts";
import { MAP_FAILED, PROT_READ_WRITE } from "./libc_symbols.ts";

const SYMBOLS = {
  // int fstatfs(int fd, struct statfs *buf)
  fstatfs: { parameters: ["i32", "buffer"], result: "i32" },
  // uid_t geteuid(void)
  geteuid: { parameters: [], result: "u32" },
  // int getpagesize(void)
  getpagesize: { parameters: [], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Constants of fcntl.h, sys/mman.h and linux/magic.h, by their names there; a test compares them with what a compiler says. */
export const MEMORY_CONSTANTS = {
  MFD_CLOEXEC: 1,
  MFD_ALLOW_SEALING: 2,
  F_ADD_SEALS: 1033,
  F_GET_SEALS: 1034,
  F_SEAL_SEAL: 1,
  F_SEAL_SHRINK: 2,
  F_SEAL_GROW: 4,
  F_SEAL_WRITE: 8,
  F_SEAL_FUTURE_WRITE: 16,
  PROT_READ: 1,
  MAP_SHARED: 1,
  MAP_PRIVATE: 2,
  MAP_NORESERVE: 0x4000,
  TMPFS_MAGIC: 0x01021994,
} as const;

/** Offset of the field used of struct statfs, and its size; compared by the same test. */
export const STATFS_LAYOUT = { f_type: 0, size: 120 } as const;

let library: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] | undefined;

function calls(): NonNullable<typeof library> {
  if (library !== undefined) return library;
  libc(); // throws a clear error if the C library cannot be opened
  return library = Deno.dlopen("libc.so.6", SYMBOLS).symbols;
}

let knownPageBytes = 0;

/** Bytes of a page of memory on this machine. */
export function pageBytes(): number {
  return knownPageBytes ||= calls().getpagesize();
}

/** The effective user of this process. */
export function effectiveUser(): number {
  return calls().geteuid();
}

/**
 * Makes a memfd of a size that can be sealed. Its pages are provided when they are first touched.
 *
 * @param name Shown in `/proc`
 * @param byteLength Its size in bytes
 * @returns its descriptor, or minus `errno`
 */
export function createMemory(name: string, byteLength: number): number {
  const { MFD_CLOEXEC, MFD_ALLOW_SEALING } = MEMORY_CONSTANTS;
  const fd = libc().memfd_create(cString(name), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return -fileErrno();
  if (libc().ftruncate(fd, BigInt(byteLength)) === 0) return fd;
  const error = -fileErrno();
  libc().close(fd);
  return error;
}

/** Adds seals, a sum of `F_SEAL_…`. @returns 0, or minus `errno` */
export function addSeals(fd: number, seals: number): number {
  return libc().fcntl(fd, MEMORY_CONSTANTS.F_ADD_SEALS, seals) === 0 ? 0 : -fileErrno();
}

/** The seals of a descriptor, a sum of `F_SEAL_…`; minus `errno` if it cannot have any. */
export function sealsOf(fd: number): number {
  const seals = libc().fcntl(fd, MEMORY_CONSTANTS.F_GET_SEALS, 0);
  return seals < 0 ? -fileErrno() : seals;
}

/** Whether a descriptor is memory in pages of the usual size, which the system provides when they are touched. */
export function isPlainMemory(fd: number): boolean {
  const memory = new Uint8Array(STATFS_LAYOUT.size);
  if (calls().fstatfs(fd, memory) !== 0) return false;
  return new DataView(memory.buffer).getBigInt64(STATFS_LAYOUT.f_type, true) === BigInt(MEMORY_CONSTANTS.TMPFS_MAGIC);
}

/** The size of an open file in bytes, as the kernel says; −1 if it does not. */
export function sizeOfDescriptor(fd: number): number {
  const memory = new Uint8Array(STATX.byteLength);
  if (!statDescriptor(fd, memory)) return -1;
  return Number(new DataView(memory.buffer).getBigUint64(STATX.size, true));
}

/** Opens what a descriptor of this process is open on once more, for reading only. @returns the descriptor, or minus `errno` */
export function reopenForReading(fd: number): number {
  const opened = fileLibrary().open(cString(`/proc/self/fd/${fd}`), OPEN_READ, 0);
  return opened < 0 ? -fileErrno() : opened;
}

/** How memory is mapped: for its owner, who writes; to read; or to read, with writes that nobody else sees. */
export type MappingKind = "writable" | "readable" | "private";

/**
 * Maps a descriptor.
 *
 * @param byteLength Size of the mapping in bytes
 * @returns its address, or `null` if the system refused
 */
export function mapDescriptor(fd: number, byteLength: number, kind: MappingKind): bigint | null {
  const { PROT_READ, MAP_SHARED, MAP_PRIVATE, MAP_NORESERVE } = MEMORY_CONSTANTS;
  const flags = kind === "private" ? MAP_PRIVATE | MAP_NORESERVE : MAP_SHARED;
  const address = libc().mmap(
    0n,
    BigInt(byteLength),
    kind === "readable" ? PROT_READ : PROT_READ_WRITE,
    flags,
    fd,
    0n,
  );
  return address === MAP_FAILED ? null : address;
}

/** Ends a mapping. */
export function unmap(address: bigint, byteLength: number): void {
  libc().munmap(address, BigInt(byteLength));
}

/** Forgets the private pages of a range of whole pages: what is mapped shows through again. */
export function dropPrivatePages(address: bigint, byteLength: number): void {
  libc().madvise(address, BigInt(byteLength), MADV_DONTNEED);
}

/** Opens what the kernel says about the pages of this process. @returns the descriptor, or minus `errno` */
export function openPagemap(): number {
  const fd = fileLibrary().open(cString("/proc/self/pagemap"), OPEN_READ, 0);
  return fd < 0 ? -fileErrno() : fd;
}

/** Bytes of an entry, and entries that are read by one call. */
const ENTRY_BYTES = 8, ENTRIES_AT_ONCE = 2048;
/** In the upper half of an entry: present in memory, swapped out, of a file or shared memory. */
const PRESENT = 1 << 31, SWAPPED = 1 << 30, OF_FILE = 1 << 29;

const entries = new Uint32Array(2 * ENTRIES_AT_ONCE);
const entryBytes = new Uint8Array(entries.buffer);

/**
 * Whether a range of a private mapping has pages of its own, because something was written to them.
 *
 * @param pagemap Descriptor of {@linkcode openPagemap}
 * @param address Start of a page
 * @param byteLength Bytes of whole pages
 * @returns true also if the kernel does not say
 */
export function hasPrivatePages(pagemap: number, address: bigint, byteLength: number): boolean {
  const page = pageBytes();
  const first = Number(address) / page, count = Math.ceil(byteLength / page);
  for (let done = 0; done < count;) {
    const now = Math.min(ENTRIES_AT_ONCE, count - done);
    const wanted = BigInt(now * ENTRY_BYTES);
    if (BigInt(libc().pread(pagemap, entryBytes, wanted, BigInt((first + done) * ENTRY_BYTES))) !== wanted) return true;
    for (let i = 0; i < now; i++) {
      const state = entries[2 * i + 1];
      if ((state & (PRESENT | SWAPPED)) !== 0 && (state & OF_FILE) === 0) return true;
    }
    done += now;
  }
  return false;
}
