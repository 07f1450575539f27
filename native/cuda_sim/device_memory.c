/* Device memory of the simulated driver. */
#define _GNU_SOURCE
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The alignment that drivers guarantee. */
#define ALIGNMENT 512
/* Fresh memory is filled with this, so that no caller relies on zeros; only the first MiB, for speed. */
#define FRESH_BYTE 0xA5
#define FRESH_BYTES ((size_t)1 << 20)
/* Addresses for each byte of a device. */
#define ADDRESSES 4
/* Freed ranges that are remembered, to distinguish a double free from an unknown pointer. */
#define MAX_FREED 4096

static struct allocation *allocations;
static struct { uintptr_t address; size_t bytes; } freed[MAX_FREED];
static unsigned freed_count;

void sim_remember_freed(uintptr_t address, size_t bytes) {
    freed[freed_count % MAX_FREED].address = address;
    freed[freed_count % MAX_FREED].bytes = bytes;
    freed_count++;
}

bool sim_was_freed(uintptr_t address) {
    for (unsigned i = 0; i < MAX_FREED && i < freed_count; i++)
        if (address >= freed[i].address && address < freed[i].address + freed[i].bytes) return true;
    return false;
}

/* Two views of the same pages: one to return, one to copy through. Their file is kept if there is a place for it. */
bool sim_map_twice(size_t bytes, int protection, int *kept, char **view, char **alias) {
    int fd = memfd_create("cuda_sim", MFD_CLOEXEC);
    if (fd < 0) return false;
    bool is_mapped = ftruncate(fd, (off_t)bytes) == 0;
    if (is_mapped) {
        *view = mmap(NULL, bytes, protection, MAP_SHARED | MAP_NORESERVE, fd, 0);
        *alias = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
        is_mapped = *view != MAP_FAILED && *alias != MAP_FAILED;
    }
    if (is_mapped && kept != NULL) *kept = fd;
    else close(fd);
    return is_mapped;
}

bool sim_start_devices(void) {
    for (int i = 0; i < sim_device_count; i++) {
        struct device *device = &sim_devices[i];
        device->address_bytes = ADDRESSES * device->bytes;
        if (!sim_map_twice(device->address_bytes, PROT_NONE, &device->fd, &device->view, &device->alias)) return false;
    }
    return true;
}

int sim_device_of_view(const void *address) {
    for (int i = 0; i < sim_device_count; i++) {
        const struct device *device = &sim_devices[i];
        if ((const char *)address >= device->view && (const char *)address < device->view + device->address_bytes) return i;
    }
    return -1;
}

char *sim_device_alias(CUdeviceptr address) {
    const struct device *device = &sim_devices[sim_device_of_view((const void *)address)];
    return device->alias + ((const char *)address - device->view);
}

struct allocation *sim_find_allocation(CUdeviceptr address, bool freed_too) {
    for (struct allocation *a = allocations; a != NULL; a = a->next)
        if (address >= a->address && address < a->address + a->bytes && (freed_too || !a->is_freed)) return a;
    return NULL;
}

CUresult sim_check_device_range(CUdeviceptr address, size_t bytes, int device, const char *what) {
    const char *function = sim_function();
    const struct allocation *found = sim_find_allocation(address, false);
    if (found == NULL) {
        if (sim_find_allocation(address, true) != NULL || sim_was_freed(address))
            return sim_complain(CUDA_ERROR_INVALID_VALUE, "freed pointer", "%s: %s 0x%llx was freed", function, what, address);
        return sim_complain(CUDA_ERROR_INVALID_VALUE, "unknown pointer", "%s: %s 0x%llx is not device memory", function, what,
                            address);
    }
    if (address + bytes > found->address + found->bytes)
        return sim_complain(CUDA_ERROR_INVALID_VALUE, "past the end", "%s: %s 0x%llx of %zu bytes goes %llu bytes past its "
                            "allocation", function, what, address, bytes,
                            address + bytes - found->address - found->bytes);
    if (found->device != device)
        return sim_complain(CUDA_ERROR_INVALID_VALUE, "wrong device", "%s: %s 0x%llx is memory of device %d, the context is "
                            "of device %d", function, what, address, found->device, device);
    if (sim_is_stale(found))
        return sim_complain(CUDA_ERROR_INVALID_VALUE, "freed pointer", "%s: %s 0x%llx was freed by the process that it is of",
                            function, what, address);
    return CUDA_SUCCESS;
}

/* The addresses that an allocation takes up: of another process's memory whole pages are mapped. */
static void footprint(const struct allocation *a, size_t *start, size_t *end) {
    const size_t unit = a->import == NULL ? ALIGNMENT : (size_t)sysconf(_SC_PAGESIZE);
    size_t offset = a->address - (CUdeviceptr)sim_devices[a->device].view;
    *start = offset / unit * unit;
    *end = (offset + a->bytes + unit - 1) / unit * unit;
}

/* Next fit: addresses are reused late, so that stale ones are detected. */
static struct allocation *place(int number, size_t bytes, size_t alignment) {
    struct device *device = &sim_devices[number];
    for (int round = 0; round < 2; round++) {
        size_t offset = round == 0 ? device->next : 0;
        for (;;) {
            offset = (offset + alignment - 1) / alignment * alignment;
            if (offset + bytes > device->address_bytes) break;
            size_t past = 0;
            for (const struct allocation *a = allocations; a != NULL; a = a->next) {
                if (a->device != number) continue;
                size_t start, end;
                footprint(a, &start, &end);
                if (start < offset + bytes && offset < end && end > past) past = end;
            }
            if (past > 0) {
                offset = past;
                continue;
            }
            struct allocation *made = calloc(1, sizeof *made);
            made->address = (CUdeviceptr)device->view + offset;
            made->device = number;
            made->next = allocations;
            allocations = made;
            device->next = offset + bytes;
            return made;
        }
    }
    return NULL;
}

static struct allocation *allocate(int number, size_t wanted) {
    struct device *device = &sim_devices[number];
    size_t bytes = (wanted + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct allocation *made = bytes > device->bytes - device->used ? NULL : place(number, bytes, ALIGNMENT);
    if (made == NULL) return NULL;
    made->bytes = wanted;
    device->used += bytes;
    memset(sim_device_alias(made->address), FRESH_BYTE, wanted < FRESH_BYTES ? wanted : FRESH_BYTES);
    return made;
}

/* Addresses, whole pages, for `bytes` of another process's memory that begin `lead` bytes into a page of it. */
struct allocation *sim_reserve(int number, size_t bytes, size_t lead) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct allocation *made = place(number, (lead + bytes + page - 1) / page * page, page);
    if (made == NULL) return NULL;
    made->address += lead;
    made->bytes = bytes;
    return made;
}

struct allocation *sim_find_import(int device, bool (*matches)(const struct import *, const void *), const void *wanted) {
    for (struct allocation *a = allocations; a != NULL; a = a->next)
        if (a->import != NULL && a->device == device && matches(a->import, wanted)) return a;
    return NULL;
}

/* Returns the pages to the system; only complete ones, as neighbours share the others. */
static void give_back_pages(const struct allocation *dropped) {
    sim_end_export(dropped);
    size_t bytes = (dropped->bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    sim_devices[dropped->device].used -= bytes;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)sim_device_alias(dropped->address) + page - 1) & ~(page - 1);
    uintptr_t to = ((uintptr_t)sim_device_alias(dropped->address) + bytes) & ~(page - 1);
    if (to > from) madvise((void *)from, to - from, MADV_REMOVE);
}

void sim_drop_allocation(struct allocation *dropped) {
    sim_remember_freed(dropped->address, dropped->bytes);
    if (dropped->import != NULL) sim_end_import(dropped);
    else give_back_pages(dropped);
    for (struct allocation **at = &allocations; *at != NULL; at = &(*at)->next) {
        if (*at != dropped) continue;
        *at = dropped->next;
        break;
    }
    free(dropped);
}

static CUresult allocate_for(CUdeviceptr *address, size_t bytes) {
    if (bytes == 0) return sim_complain(CUDA_ERROR_INVALID_VALUE, "argument", "%s of 0 bytes", sim_function());
    struct allocation *made = allocate(sim_current()->device, bytes);
    if (made == NULL) return CUDA_ERROR_OUT_OF_MEMORY;
    *address = made->address;
    return CUDA_SUCCESS;
}

/* What may be freed: the start of a live allocation of this device. */
static CUresult check_free(CUdeviceptr address, struct allocation **found) {
    const char *function = sim_function();
    *found = sim_find_allocation(address, true);
    if (*found == NULL || (*found)->is_freed)
        return sim_was_freed(address) || *found != NULL
            ? sim_complain(CUDA_ERROR_INVALID_VALUE, "double free", "%s of 0x%llx, which was freed before", function, address)
            : sim_complain(CUDA_ERROR_INVALID_VALUE, "unknown pointer", "%s of 0x%llx, which is not device memory", function,
                           address);
    if ((*found)->import != NULL)
        return sim_complain(CUDA_ERROR_INVALID_VALUE, "unknown pointer", "%s of 0x%llx, which is memory of another process",
                            function, address);
    if ((*found)->address != address)
        return sim_complain(CUDA_ERROR_INVALID_VALUE, "unknown pointer", "%s of 0x%llx, which lies inside an allocation",
                            function, address);
    if ((*found)->device != sim_current()->device)
        return sim_complain(CUDA_ERROR_INVALID_VALUE, "wrong device", "%s of memory of device %d in a context of device %d",
                            function, (*found)->device, sim_current()->device);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemAlloc_v2(CUdeviceptr *address, size_t bytes) {
    ENTER(true);
    NEED_POINTER(address);
    LEAVE(allocate_for(address, bytes));
}

CUresult CUDAAPI cuMemFree_v2(CUdeviceptr address) {
    ENTER(true);
    if (address == 0) LEAVE(CUDA_SUCCESS);
    struct allocation *found;
    CUresult result = check_free(address, &found);
    if (result != CUDA_SUCCESS) LEAVE(result);
    sim_finish_range(address, found->bytes, "device memory");
    sim_drop_allocation(found);
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuMemAllocAsync(CUdeviceptr *address, size_t bytes, CUstream handle) {
    ENTER(true);
    NEED_POINTER(address);
    if (sim_stream(handle, "a stream") == NULL) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    CUresult result = allocate_for(address, bytes);
    if (result == CUDA_SUCCESS) allocations->is_pooled = true;
    LEAVE(result);
}

CUresult CUDAAPI cuMemFreeAsync(CUdeviceptr address, CUstream handle) {
    ENTER(true);
    struct stream *stream = sim_stream(handle, "a stream");
    if (stream == NULL) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    struct allocation *found;
    CUresult result = check_free(address, &found);
    if (result != CUDA_SUCCESS) LEAVE(result);
    struct work work = {.kind = WORK_FREE, .freed = found, .range_count = 1};
    work.ranges[0] = (struct range){address, found->bytes, true};
    sim_submit(&work, stream->slot);
    found->is_freed = true;
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
    ENTER(true);
    NEED_POINTER(free_bytes);
    NEED_POINTER(total);
    const struct device *device = &sim_devices[sim_current()->device];
    *free_bytes = device->bytes - device->used;
    *total = device->bytes;
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *bytes, CUdeviceptr address) {
    ENTER(true);
    const struct allocation *found = sim_find_allocation(address, false);
    if (found == NULL) LEAVE(CUDA_ERROR_NOT_FOUND);
    if (base != NULL) *base = found->address;
    if (bytes != NULL) *bytes = found->bytes;
    LEAVE(CUDA_SUCCESS);
}

/* Leaks and counts. */

void sim_report_memory_leaks(const char *when, int device) {
    for (const struct allocation *a = allocations; a != NULL; a = a->next)
        if ((device < 0 || a->device == device) && !a->is_freed)
            sim_complain(CUDA_SUCCESS, "leak", "%zu bytes of device %d at 0x%llx were not %s %s", a->bytes, a->device,
                         a->address, a->import == NULL ? "freed" : "closed", when);
}

void sim_drop_context_memory(int device) {
    struct allocation *next;
    for (struct allocation *a = allocations; a != NULL; a = next) {
        next = a->next;
        if (a->device == device) sim_drop_allocation(a);
    }
}

uint64_t sim_live_memory(const char *what) {
    uint64_t count = 0, bytes = 0, imports = 0;
    for (const struct allocation *a = allocations; a != NULL; a = a->next) {
        if (a->import != NULL) imports++;
        else count++, bytes += a->bytes;
    }
    if (strcmp(what, "imports") == 0) return imports;
    return strcmp(what, "allocations") == 0 ? count : strcmp(what, "bytes") == 0 ? bytes : UINT64_MAX;
}

int cuda_sim_peek(uint64_t address, void *target, uint64_t bytes) {
    sim_lock();
    const struct allocation *found = sim_find_allocation(address, false);
    bool is_inside = found != NULL && address + bytes <= found->address + found->bytes;
    if (is_inside) memcpy(target, sim_device_alias(address), bytes);
    sim_unlock();
    return is_inside ? 0 : -1;
}
