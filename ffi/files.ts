/**
 * The calls of libc that read, map and write files at an address: one symbol table, no policy.
 *
 * @module
 */
import { libc } from "./libc.ts";

/** C signatures of the file calls used. `off_t` has 64 bits on every supported platform. */
const SYMBOLS = {
  // int open(const char *path, int flags, mode_t mode)
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
  // ssize_t pread(int fd, void *buf, size_t count, off_t offset)
  pread: { parameters: ["i32", "usize", "usize", "i64"], result: "isize" },
  // ssize_t preadv(int fd, const struct iovec *iov, int count, off_t offset)
  preadv: { parameters: ["i32", "buffer", "i32", "i64"], result: "isize" },
  // ssize_t writev(int fd, const struct iovec *iov, int count)
  writev: { parameters: ["i32", "buffer", "i32"], result: "isize" },
  // int statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *buf); its layout is the same everywhere
  statx: { parameters: ["i32", "buffer", "i32", "u32", "buffer"], result: "i32" },
  // int fsync(int fd)
  fsync: { parameters: ["i32"], result: "i32" },
  // int posix_fadvise(int fd, off_t offset, off_t len, int advice)
  posix_fadvise: { parameters: ["i32", "i64", "i64", "i32"], result: "i32" },
  // int fcntl(int fd, int op, int arg)
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // void *mremap(void *old_address, size_t old_size, size_t new_size, int flags, void *new_address)
  mremap: { parameters: ["usize", "usize", "usize", "i32", "usize"], result: "usize" },
  // int *__errno_location(void)
  __errno_location: { parameters: [], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The opened table. */
export type FileLibrary = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** `O_RDONLY | O_CLOEXEC` of fcntl.h. */
export const OPEN_READ = 0o2000000;
/** `O_WRONLY | O_CLOEXEC` of fcntl.h. */
export const OPEN_WRITE = 0o2000001;
/** `POSIX_FADV_SEQUENTIAL` of fcntl.h. */
export const ADVISE_SEQUENTIAL = 2;
/** `MAP_PRIVATE` of sys/mman.h. */
export const MAP_PRIVATE = 2;
/** `MREMAP_MAYMOVE | MREMAP_FIXED` of sys/mman.h. */
export const MREMAP_REPLACE = 3;
/** `MADV_DONTNEED` of sys/mman.h. */
export const MADV_DONTNEED = 4;
/** `MADV_POPULATE_READ` of sys/mman.h, since Linux 5.14. */
export const MADV_POPULATE_READ = 22;
/** `F_SETSIG` of fcntl.h: sets the signal that reports the break of a lease. */
export const F_SETSIG = 10;
/** `F_SETLEASE` of fcntl.h. */
export const F_SETLEASE = 1024;
/** `F_GETLEASE` of fcntl.h. */
export const F_GETLEASE = 1025;
/** `F_RDLCK` of fcntl.h: a read lease. */
export const F_RDLCK = 0;
/** `F_UNLCK` of fcntl.h: no lease. */
export const F_UNLCK = 2;
/** `SIGURG` of signal.h on x86-64 and arm64: a signal that is ignored by default. */
export const SIGURG = 23;
/** `EINVAL` of errno.h. */
export const EINVAL = 22;
/** `EINTR` of errno.h. */
export const EINTR = 4;
/** `EAGAIN` of errno.h. */
export const EAGAIN = 11;

/** Texts of the `errno` values that calls on files and connections set, as in errno(3). */
const ERRNO_TEXTS: Record<number, string> = {
  1: "Operation not permitted",
  2: "No such file or directory",
  4: "Interrupted system call",
  5: "Input/output error",
  9: "Bad file descriptor",
  11: "Resource temporarily unavailable",
  12: "Cannot allocate memory",
  13: "Permission denied",
  14: "Bad address",
  17: "File exists",
  19: "No such device",
  20: "Not a directory",
  21: "Is a directory",
  22: "Invalid argument",
  23: "Too many open files in system",
  24: "Too many open files",
  27: "File too large",
  28: "No space left on device",
  29: "Illegal seek",
  30: "Read-only file system",
  32: "Broken pipe",
  36: "File name too long",
  100: "Network is down",
  101: "Network is unreachable",
  104: "Connection reset by peer",
  105: "No buffer space available",
  107: "Transport endpoint is not connected",
  110: "Connection timed out",
  113: "No route to host",
  116: "Stale file handle",
  122: "Disk quota exceeded",
};

let library: FileLibrary | undefined;

/**
 * The file calls of this process's libc, opened on first use.
 *
 * @throws {DipcError} `permission_denied` without `--allow-ffi`, `unsupported` on a system without glibc
 */
export function fileLibrary(): FileLibrary {
  if (library !== undefined) return library;
  libc(); // throws a clear error if the C library cannot be opened
  return library = Deno.dlopen("libc.so.6", SYMBOLS).symbols;
}

/** `errno` of this thread; only meaningful immediately after a failed call of {@linkcode fileLibrary}. */
export function fileErrno(): number {
  const location = fileLibrary().__errno_location();
  return location === null ? 0 : new Deno.UnsafePointerView(location).getInt32();
}

/** The text of an `errno` value. */
export function errnoText(errno: number): string {
  return ERRNO_TEXTS[errno] ?? `errno ${errno}`;
}

/** `AT_EMPTY_PATH` of fcntl.h: applies to the descriptor itself. */
const AT_EMPTY_PATH = 0x1000;
/** `STATX_BASIC_STATS` of linux/stat.h. */
const STATX_BASIC_STATS = 0x7ff;
const EMPTY_PATH = new Uint8Array(1);

/**
 * Fills `target` (256 bytes, a `struct statx`) for an open descriptor.
 *
 * @returns Whether the call succeeded; if not, {@linkcode fileErrno} has the reason
 */
export function statDescriptor(fd: number, target: Uint8Array<ArrayBuffer>): boolean {
  return fileLibrary().statx(fd, EMPTY_PATH, AT_EMPTY_PATH, STATX_BASIC_STATS, target) === 0;
}

/** Offsets in `struct statx` of linux/stat.h of the fields used. */
export const STATX = {
  /** u64: size in bytes. */
  size: 40,
  /** i64 seconds, u32 nanoseconds. */
  modifyTime: 112,
  /** Size of the whole structure. */
  byteLength: 256,
} as const;
