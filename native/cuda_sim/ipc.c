/*
 * Device memory and events of the simulated driver that several processes use.
 *
 * A handle names the process, the descriptor of its memory, and a number. Which numbers are alive, and which are open elsewhere,
 * locks of bytes of that file say, far behind its end: the system drops them when a process dies.
 */
#define _GNU_SOURCE
#include "sim.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MEMORY_MAGIC 0x4d454d5f4d495343ull
#define EVENT_MAGIC 0x4556545f4d495343ull
#define MEMORY_FILE "/memfd:cuda_sim "
#define EVENTS_FILE "/memfd:cuda_sim_events "
#define ALIVE ((off_t)1 << 60)
#define OPEN ((off_t)1 << 61)
#define MAX_EVENTS 256
#define EVENT_BYTES (MAX_EVENTS * sizeof(struct shared_event))
/* What a driver hands out is whole blocks of this size, with whatever else lies there. */
#define BLOCK_BYTES ((size_t)2 << 20)

struct memory_handle {
    uint64_t magic, id, offset, bytes;
    int32_t pid, fd, device;
};

struct event_handle {
    uint64_t magic, id;
    int32_t pid, fd, index;
};

_Static_assert(sizeof(struct memory_handle) <= CU_IPC_HANDLE_SIZE, "a handle of memory is too long");
_Static_assert(sizeof(struct event_handle) <= CU_IPC_HANDLE_SIZE, "a handle of an event is too long");

struct import {
    struct memory_handle handle;
    int fd;
    int opens;
};

/* Numbers of memory and events that were handed out by this process. */
static uint64_t last_id;

static int events_fd = -1;
static struct shared_event *own_events;

/* Locks. */

static void set_lock(int fd, short type, off_t at) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    fcntl(fd, F_OFD_SETLK, &lock);
}

static bool is_locked_by_others(int fd, off_t at) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* Whether a process has a file of that name as this descriptor; a dead one has none. */
static bool has_file(int pid, int number, const char *name, char path[64]) {
    char target[64] = "";
    snprintf(path, 64, "/proc/%d/fd/%d", pid, number);
    return pid > 0 && readlink(path, target, sizeof target - 1) > 0 && strncmp(target, name, strlen(name)) == 0;
}

/* A descriptor of its own for what a handle names, at least so many bytes long; -1 if there is no such thing. */
static int open_of(int pid, int number, const char *name, uint64_t bytes) {
    char path[64];
    if (!has_file(pid, number, name, path)) return -1;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat facts;
    if (fd >= 0 && fstat(fd, &facts) == 0 && (uint64_t)facts.st_size >= bytes) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

/* Memory. */

CUresult CUDAAPI cuIpcGetMemHandle(CUipcMemHandle *target, CUdeviceptr address) {
    ENTER(true);
    NEED_POINTER(target);
    struct allocation *found = sim_find_allocation(address, false);
    if (found == NULL || found->address != address)
        LEAVE(sim_complain(CUDA_ERROR_INVALID_VALUE, "unknown pointer", "cuIpcGetMemHandle of 0x%llx, at which no memory begins",
                           address));
    if (found->import != NULL || found->is_pooled)
        LEAVE(sim_complain(CUDA_ERROR_INVALID_VALUE, "argument", "cuIpcGetMemHandle of 0x%llx, which %s", address,
                           found->is_pooled ? "was not made by cuMemAlloc" : "is memory of another process"));
    if (found->bytes % BLOCK_BYTES != 0)
        sim_complain(CUDA_SUCCESS, "argument", "cuIpcGetMemHandle of %zu bytes: a driver hands out whole blocks of %zu bytes, and "
                     "what else lies there", found->bytes, BLOCK_BYTES);
    const struct device *device = &sim_devices[found->device];
    if (found->export_id == 0) {
        found->export_id = ++last_id;
        set_lock(device->fd, F_RDLCK, ALIVE + (off_t)found->export_id);
    }
    struct memory_handle handle = {
        .magic = MEMORY_MAGIC, .id = found->export_id, .offset = address - (CUdeviceptr)device->view, .bytes = found->bytes,
        .pid = getpid(), .fd = device->fd, .device = found->device,
    };
    memset(target, 0, sizeof *target);
    memcpy(target, &handle, sizeof handle);
    LEAVE(CUDA_SUCCESS);
}

/* Called before exported memory is freed. */
void sim_end_export(const struct allocation *allocation) {
    if (allocation->export_id == 0) return;
    int fd = sim_devices[allocation->device].fd;
    set_lock(fd, F_UNLCK, ALIVE + (off_t)allocation->export_id);
    if (is_locked_by_others(fd, OPEN + (off_t)allocation->export_id))
        sim_complain(CUDA_SUCCESS, "open elsewhere", "%s of 0x%llx, which another process has not closed", sim_function(),
                     allocation->address);
}

static bool is_same(const struct import *import, const void *handle) {
    return memcmp(&import->handle, handle, sizeof import->handle) == 0;
}

/* Maps pages of another process in place of those of this device, or these again. */
static bool map_pages(const struct allocation *allocation, int fd, off_t offset) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t lead = allocation->address % page;
    char *alias = sim_device_alias(allocation->address) - lead;
    return mmap(alias, (lead + allocation->bytes + page - 1) / page * page, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, offset) != MAP_FAILED;
}

CUresult CUDAAPI cuIpcOpenMemHandle_v2(CUdeviceptr *address, CUipcMemHandle given, unsigned int flags) {
    ENTER(true);
    NEED_POINTER(address);
    if (flags != CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS)
        LEAVE(sim_complain(CUDA_ERROR_INVALID_VALUE, "argument", "cuIpcOpenMemHandle with the flags %u, of which there is one",
                           flags));
    struct memory_handle handle;
    memcpy(&handle, &given, sizeof handle);
    int number = sim_current()->device;
    /* A handle may come from anybody: a wrong one is an error, but not a complaint. Devices are not peers here. */
    if (handle.magic != MEMORY_MAGIC || handle.bytes == 0 || handle.offset + handle.bytes < handle.bytes)
        LEAVE(CUDA_ERROR_INVALID_VALUE);
    if (handle.pid == getpid()) LEAVE(CUDA_ERROR_INVALID_CONTEXT);
    if (handle.device != number) LEAVE(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED);
    struct allocation *known = sim_find_import(number, is_same, &handle);
    if (known != NULL) {
        known->import->opens++;
        *address = known->address;
        LEAVE(CUDA_SUCCESS);
    }
    int fd = open_of(handle.pid, handle.fd, MEMORY_FILE, handle.offset + handle.bytes);
    if (fd < 0) LEAVE(CUDA_ERROR_INVALID_VALUE);
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t lead = handle.offset % page;
    struct allocation *made = is_locked_by_others(fd, ALIVE + (off_t)handle.id) ? sim_reserve(number, handle.bytes, lead) : NULL;
    if (made == NULL) {
        close(fd);
        LEAVE(CUDA_ERROR_MAP_FAILED);
    }
    set_lock(fd, F_RDLCK, OPEN + (off_t)handle.id);
    made->import = calloc(1, sizeof *made->import);
    *made->import = (struct import){.handle = handle, .fd = fd, .opens = 1};
    if (!map_pages(made, fd, (off_t)(handle.offset - lead))) {
        sim_drop_allocation(made);
        LEAVE(CUDA_ERROR_MAP_FAILED);
    }
    *address = made->address;
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuIpcCloseMemHandle(CUdeviceptr address) {
    ENTER(true);
    struct allocation *found = sim_find_allocation(address, false);
    if (found == NULL || found->import == NULL || found->address != address)
        LEAVE(sim_complain(CUDA_ERROR_INVALID_VALUE, found == NULL && sim_was_freed(address) ? "double free" : "unknown pointer",
                           "cuIpcCloseMemHandle of 0x%llx, at which no memory of another process is open", address));
    if (found->device != sim_current()->device)
        LEAVE(sim_complain(CUDA_ERROR_INVALID_VALUE, "wrong device", "cuIpcCloseMemHandle of memory of device %d in a context of "
                           "device %d", found->device, sim_current()->device));
    if (--found->import->opens > 0) LEAVE(CUDA_SUCCESS);
    sim_finish_range(address, found->bytes, "device memory");
    sim_drop_allocation(found);
    LEAVE(CUDA_SUCCESS);
}

/* Called before memory of another process is forgotten. */
void sim_end_import(struct allocation *allocation) {
    const struct device *device = &sim_devices[allocation->device];
    const off_t page = sysconf(_SC_PAGESIZE);
    off_t offset = (off_t)(allocation->address - (CUdeviceptr)device->view);
    if (!map_pages(allocation, device->fd, offset / page * page)) abort();
    close(allocation->import->fd);
    free(allocation->import);
}

/* Whether the process that memory is of lives and has freed it. What a process leaves behind stays readable here. */
bool sim_is_stale(const struct allocation *allocation) {
    const struct import *import = allocation->import;
    if (import == NULL || is_locked_by_others(import->fd, ALIVE + (off_t)import->handle.id)) return false;
    char path[64];
    return has_file(import->handle.pid, import->handle.fd, MEMORY_FILE, path);
}

/* Events. */

/* Makes an event one that other processes can open. */
bool sim_share_event(struct event *event) {
    if (own_events == NULL) {
        events_fd = memfd_create("cuda_sim_events", MFD_CLOEXEC);
        if (events_fd < 0 || ftruncate(events_fd, EVENT_BYTES) != 0) return false;
        void *mapped = mmap(NULL, EVENT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, events_fd, 0);
        if (mapped == MAP_FAILED) return false;
        own_events = mapped;
    }
    for (int i = 0; i < MAX_EVENTS; i++) {
        if (own_events[i].id != 0) continue;
        own_events[i] = (struct shared_event){.id = ++last_id};
        event->shared = &own_events[i];
        event->shared_id = last_id;
        return true;
    }
    return false;
}

/* Called when an event is destroyed. */
void sim_unshare_event(struct event *event) {
    if (!event->is_imported) event->shared->id = 0;
    /* Those of another process stay mapped: work that waits for one may be under way. */
    event->shared = NULL;
}

CUresult CUDAAPI cuIpcGetEventHandle(CUipcEventHandle *target, CUevent given) {
    ENTER(true);
    NEED_POINTER(target);
    const struct event *event = sim_event(given, "the event");
    if (event == NULL) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    if (event->shared == NULL || event->is_imported)
        LEAVE(sim_complain(CUDA_ERROR_INVALID_HANDLE, "argument", "cuIpcGetEventHandle of an event that was %s",
                           event->is_imported ? "made by another process" : "not made for several processes"));
    struct event_handle handle = {
        .magic = EVENT_MAGIC, .id = event->shared_id, .pid = getpid(), .fd = events_fd, .index = (int)(event->shared - own_events),
    };
    memset(target, 0, sizeof *target);
    memcpy(target, &handle, sizeof handle);
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuIpcOpenEventHandle(CUevent *target, CUipcEventHandle given) {
    ENTER(true);
    NEED_POINTER(target);
    struct event_handle handle;
    memcpy(&handle, &given, sizeof handle);
    if (handle.magic != EVENT_MAGIC || handle.index < 0 || handle.index >= MAX_EVENTS) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    if (handle.pid == getpid()) LEAVE(CUDA_ERROR_INVALID_CONTEXT);
    int fd = open_of(handle.pid, handle.fd, EVENTS_FILE, EVENT_BYTES);
    if (fd < 0) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    struct shared_event *events = mmap(NULL, EVENT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (events == MAP_FAILED) LEAVE(CUDA_ERROR_MAP_FAILED);
    if (events[handle.index].id != handle.id) {
        munmap(events, EVENT_BYTES);
        LEAVE(CUDA_ERROR_INVALID_HANDLE);
    }
    struct event *made = sim_new_event(CU_EVENT_DISABLE_TIMING);
    made->shared = &events[handle.index];
    made->shared_id = handle.id;
    made->is_imported = true;
    *target = (CUevent)made;
    LEAVE(CUDA_SUCCESS);
}
