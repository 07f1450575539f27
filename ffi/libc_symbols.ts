/**
 * The functions of the C library that dipc uses, as C declares them, and the constants that go with them. No policy here.
 *
 * @module
 */

/** Symbol table of libc. */
export const LIBC_SYMBOLS = {
  memcpy: {
    parameters: [
      "usize", // void *dest
      "usize", // const void *src
      "usize", // size_t n
    ],
    result: "void", // void *, which is dest
  },
  memcmp: {
    parameters: [
      "usize", // const void *s1
      "usize", // const void *s2
      "usize", // size_t n
    ],
    result: "i32",
  },
  lsearch: {
    parameters: [
      "usize", // const void *key
      "usize", // void *base
      "usize", // size_t *nelp
      "usize", // size_t width
      "usize", // int (*compar)(const void *key, const void *element)
    ],
    result: "void", // void *, the element
  },
  mmap: {
    parameters: [
      "usize", // void *addr
      "usize", // size_t length
      "i32", // int prot
      "i32", // int flags
      "i32", // int fd
      "i64", // off_t offset
    ],
    result: "usize", // void *
  },
  munmap: {
    parameters: [
      "usize", // void *addr
      "usize", // size_t length
    ],
    result: "i32",
  },
  madvise: {
    parameters: [
      "usize", // void *addr
      "usize", // size_t length
      "i32", // int advice
    ],
    result: "i32",
  },
  eventfd: {
    parameters: [
      "u32", // unsigned int initval
      "i32", // int flags
    ],
    result: "i32",
  },
  epoll_create1: { parameters: ["i32" /* int flags */], result: "i32" },
  epoll_ctl: {
    parameters: [
      "i32", // int epfd
      "i32", // int op
      "i32", // int fd
      "buffer", // struct epoll_event *event
    ],
    result: "i32",
  },
  epoll_wait: {
    parameters: [
      "i32", // int epfd
      "buffer", // struct epoll_event *events
      "i32", // int maxevents
      "i32", // int timeout, milliseconds
    ],
    result: "i32",
  },
  // The same function, waiting on a thread of Deno's pool instead of blocking the isolate; there its memory must be native.
  epollWaitAsync: {
    name: "epoll_wait",
    parameters: [
      "i32", // int epfd
      "usize", // struct epoll_event *events
      "i32", // int maxevents
      "i32", // int timeout, milliseconds
    ],
    result: "i32",
    nonblocking: true,
  },
  sched_yield: { parameters: [], result: "i32" },
  read: {
    parameters: [
      "i32", // int fd
      "buffer", // void *buf
      "usize", // size_t count
    ],
    result: "isize",
  },
  write: {
    parameters: [
      "i32", // int fd
      "buffer", // const void *buf
      "usize", // size_t count
    ],
    result: "isize",
  },
  close: { parameters: ["i32" /* int fd */], result: "i32" },
  getrlimit: {
    parameters: [
      "i32", // int resource
      "buffer", // struct rlimit *rlim
    ],
    result: "i32",
  },
  open_memstream: {
    parameters: [
      "buffer", // char **bufp
      "buffer", // size_t *sizep
    ],
    result: "usize", // FILE *
  },
  fclose: { parameters: ["usize" /* FILE * */], result: "i32" },
  free: { parameters: ["usize" /* void * */], result: "void" },
  access: {
    parameters: [
      "buffer", // const char *pathname
      "i32", // int mode
    ],
    result: "i32",
  },
  getenv: { parameters: ["buffer" /* const char *name */], result: "usize" },
  setenv: {
    parameters: [
      "buffer", // const char *name
      "buffer", // const char *value
      "i32", // int overwrite
    ],
    result: "i32",
  },
  // Name resolution may ask the network, so it waits on a thread of Deno's pool.
  getaddrinfo: {
    parameters: [
      "usize", // const char *node
      "usize", // const char *service
      "usize", // const struct addrinfo *hints
      "usize", // struct addrinfo **res
    ],
    result: "i32",
    nonblocking: true,
  },
  getifaddrs: { parameters: ["buffer" /* struct ifaddrs **ifap */], result: "i32" },
  freeifaddrs: { parameters: ["usize" /* struct ifaddrs *ifa */], result: "void" },
  socket: {
    parameters: [
      "i32", // int domain
      "i32", // int type
      "i32", // int protocol
    ],
    result: "i32",
  },
  connect: {
    parameters: [
      "i32", // int sockfd
      "buffer", // const struct sockaddr *addr
      "u32", // socklen_t addrlen
    ],
    result: "i32",
  },
  getsockname: {
    parameters: [
      "i32", // int sockfd
      "buffer", // struct sockaddr *addr
      "buffer", // socklen_t *addrlen
    ],
    result: "i32",
  },
  getpeername: {
    parameters: [
      "i32", // int sockfd
      "buffer", // struct sockaddr *addr
      "buffer", // socklen_t *addrlen
    ],
    result: "i32",
  },
  getsockopt: {
    parameters: [
      "i32", // int sockfd
      "i32", // int level
      "i32", // int optname
      "buffer", // void *optval
      "buffer", // socklen_t *optlen
    ],
    result: "i32",
  },
  setsockopt: {
    parameters: [
      "i32", // int sockfd
      "i32", // int level
      "i32", // int optname
      "buffer", // const void *optval
      "u32", // socklen_t optlen
    ],
    result: "i32",
  },
  shutdown: {
    parameters: [
      "i32", // int sockfd
      "i32", // int how
    ],
    result: "i32",
  },
  dup3: {
    parameters: [
      "i32", // int oldfd
      "i32", // int newfd
      "i32", // int flags
    ],
    result: "i32",
  },
  // Both are variadic in C; with these arguments the calling conventions of x86-64 and arm64 on Linux are the same.
  fcntl: {
    parameters: [
      "i32", // int fd
      "i32", // int cmd
      "i32", // int arg
    ],
    result: "i32",
  },
  syscall: {
    parameters: [
      "i64", // long number
      "u32",
      "u32",
      "i32",
    ],
    result: "i64",
  },
  memfd_create: {
    parameters: [
      "buffer", // const char *name
      "u32", // unsigned int flags
    ],
    result: "i32",
  },
  ftruncate: {
    parameters: [
      "i32", // int fd
      "i64", // off_t length
    ],
    result: "i32",
  },
  lseek: {
    parameters: [
      "i32", // int fd
      "i64", // off_t offset
      "i32", // int whence
    ],
    result: "i64",
  },
  pread: {
    parameters: [
      "i32", // int fd
      "buffer", // void *buf
      "usize", // size_t count
      "i64", // off_t offset
    ],
    result: "isize",
  },
  readlink: {
    parameters: [
      "buffer", // const char *path
      "buffer", // char *buf
      "usize", // size_t bufsiz
    ],
    result: "isize",
  },
  opendir: { parameters: ["buffer" /* const char *name */], result: "usize" }, // DIR *
  readdir: { parameters: ["usize" /* DIR *dirp */], result: "usize" }, // struct dirent *
  closedir: { parameters: ["usize" /* DIR *dirp */], result: "i32" },
  unsetenv: { parameters: ["buffer" /* const char *name */], result: "i32" },
  freeaddrinfo: { parameters: ["usize" /* struct addrinfo *res */], result: "void" },
  gai_strerror: { parameters: ["i32" /* int errcode */], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** `PROT_READ | PROT_WRITE` of mmap. */
export const PROT_READ_WRITE = 3;
/** `MAP_PRIVATE | MAP_ANONYMOUS` of mmap on Linux. */
export const MAP_PRIVATE_ANONYMOUS = 0x22;
/** `MAP_FAILED` of mmap as an unsigned address. */
export const MAP_FAILED = 0xffff_ffff_ffff_ffffn;
/** `MADV_HUGEPAGE` of madvise. */
export const MADV_HUGEPAGE = 14;
/** `MADV_POPULATE_WRITE` of madvise, since Linux 5.14. */
export const MADV_POPULATE_WRITE = 23;
/** `EPOLLIN` of epoll. */
export const EPOLLIN = 1;
/** `EPOLLONESHOT` of epoll: no further event until the next `EPOLL_CTL_MOD`. */
export const EPOLLONESHOT = 0x40000000;
/** `EPOLL_CTL_ADD` of epoll_ctl. */
export const EPOLL_CTL_ADD = 1;
/** `EPOLL_CTL_DEL` of epoll_ctl. */
export const EPOLL_CTL_DEL = 2;
/** `EPOLL_CTL_MOD` of epoll_ctl. */
export const EPOLL_CTL_MOD = 3;
/** `EPOLL_CLOEXEC` of epoll_create1. */
export const EPOLL_CLOEXEC = 0x80000;
/** `EFD_CLOEXEC | EFD_NONBLOCK` of eventfd. */
export const EFD_CLOEXEC_NONBLOCK = 0x80800;
/** `F_GETFD` of fcntl. */
export const F_GETFD = 1;
/** `F_SETFD` of fcntl. */
export const F_SETFD = 2;
/** `FD_CLOEXEC` of fcntl. */
export const FD_CLOEXEC = 1;
/** `SOCK_DGRAM | SOCK_CLOEXEC` of socket on Linux. */
export const SOCK_DGRAM_CLOEXEC = 0x80002;
/** Number of the system call close_range, since Linux 5.9, the same on all architectures. */
export const SYS_CLOSE_RANGE = 436n;
/** `CLOSE_RANGE_CLOEXEC` of close_range, since Linux 5.11. */
export const CLOSE_RANGE_CLOEXEC = 4;
/** `RLIMIT_NOFILE` of getrlimit on x86-64 and arm64. */
export const RLIMIT_NOFILE = 7;
