/*
 * Prints the layouts and constants of ffi/unix_sockets.ts, ffi/shared_memory.ts, ffi/sysv_memory.ts and ffi/page_faults.ts as the C
 * library's headers have them, as JSON.
 * Build: cc -o socket_layout socket_layout.c
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/vfs.h>

#define BEGIN(type) printf("\"%s\": {\"size\": %zu", #type + 7, sizeof(type))
#define FIELD(type, field) printf(", \"" #field "\": %zu", offsetof(type, field))
#define END() printf("},\n")
#define CONSTANT(name) printf("\"" #name "\": %lld,\n", (long long)(name))

int main(void) {
    printf("{\n");
    BEGIN(struct sockaddr_un);
    FIELD(struct sockaddr_un, sun_family);
    FIELD(struct sockaddr_un, sun_path);
    END();
    BEGIN(struct iovec);
    FIELD(struct iovec, iov_base);
    FIELD(struct iovec, iov_len);
    END();
    BEGIN(struct msghdr);
    FIELD(struct msghdr, msg_name);
    FIELD(struct msghdr, msg_iov);
    FIELD(struct msghdr, msg_iovlen);
    FIELD(struct msghdr, msg_control);
    FIELD(struct msghdr, msg_controllen);
    FIELD(struct msghdr, msg_flags);
    END();
    BEGIN(struct cmsghdr);
    FIELD(struct cmsghdr, cmsg_len);
    FIELD(struct cmsghdr, cmsg_level);
    FIELD(struct cmsghdr, cmsg_type);
    END();
    BEGIN(struct ucred);
    FIELD(struct ucred, pid);
    FIELD(struct ucred, uid);
    FIELD(struct ucred, gid);
    END();
    BEGIN(struct pollfd);
    FIELD(struct pollfd, fd);
    FIELD(struct pollfd, events);
    FIELD(struct pollfd, revents);
    END();
    BEGIN(struct statfs);
    FIELD(struct statfs, f_type);
    END();
    BEGIN(struct shmid_ds);
    FIELD(struct shmid_ds, shm_perm.uid);
    FIELD(struct shmid_ds, shm_segsz);
    END();
    BEGIN(struct rusage);
    FIELD(struct rusage, ru_minflt);
    FIELD(struct rusage, ru_majflt);
    END();
    CONSTANT(IPC_STAT);
    CONSTANT(AF_UNIX);
    CONSTANT(SOCK_SEQPACKET);
    CONSTANT(SOCK_NONBLOCK);
    CONSTANT(SOCK_CLOEXEC);
    CONSTANT(SOL_SOCKET);
    CONSTANT(SO_PEERCRED);
    CONSTANT(SCM_RIGHTS);
    CONSTANT(MSG_CTRUNC);
    CONSTANT(MSG_TRUNC);
    CONSTANT(MSG_DONTWAIT);
    CONSTANT(MSG_NOSIGNAL);
    CONSTANT(MSG_CMSG_CLOEXEC);
    CONSTANT(POLLIN);
    CONSTANT(MFD_CLOEXEC);
    CONSTANT(MFD_ALLOW_SEALING);
    CONSTANT(F_ADD_SEALS);
    CONSTANT(F_GET_SEALS);
    CONSTANT(F_SEAL_SEAL);
    CONSTANT(F_SEAL_SHRINK);
    CONSTANT(F_SEAL_GROW);
    CONSTANT(F_SEAL_WRITE);
    CONSTANT(F_SEAL_FUTURE_WRITE);
    CONSTANT(PROT_READ);
    CONSTANT(MAP_SHARED);
    CONSTANT(MAP_PRIVATE);
    CONSTANT(MAP_NORESERVE);
    CONSTANT(TMPFS_MAGIC);
    printf("\"end\": 0\n}\n");
    return 0;
}
