/* Memory of the simulated driver: device allocations, pinned and registered host memory, and what an address is. */
#define _GNU_SOURCE
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The alignment that drivers give. */
#define ALIGNMENT 512
/* Fresh memory is filled with this, so that nobody relies on zeros; not beyond the first MiB, for speed. */
#define FRESH_BYTE 0xA5
#define FRESH_BYTES ((size_t)1 << 20)
/* Addresses for each byte of a device. */
#define ADDRESSES 4
/* Freed ranges that are remembered, to tell a double free from an unknown pointer. */
#define MAX_FREED 4096

static struct allocation *allocations;
static struct pinned *pinned_list;
static struct { uintptr_t address; size_t bytes; } freed[MAX_FREED];
static unsigned freed_count;

static void remember_freed(uintptr_t address, size_t bytes) {
    freed[freed_count % MAX_FREED].address = address;
    freed[freed_count % MAX_FREED].bytes = bytes;
    freed_count++;
}

static bool was_freed(uintptr_t address) {
    for (unsigned i = 0; i < MAX_FREED && i < freed_count; i++)
        if (address >= freed[i].address && address < freed[i].address + freed[i].bytes) return true;
    return false;
}

/* Two views of the same pages: one to give out, one to copy through. */
static bool map_twice(size_t bytes, int protection, char **view, char **alias) {
    int fd = memfd_create("cuda_sim", MFD_CLOEXEC);
    if (fd < 0) return false;
    bool is_mapped = ftruncate(fd, (off_t)bytes) == 0;
    if (is_mapped) {
        *view = mmap(NULL, bytes, protection, MAP_SHARED | MAP_NORESERVE, fd, 0);
        *alias = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
        is_mapped = *view != MAP_FAILED && *alias != MAP_FAILED;
    }
    close(fd);
    return is_mapped;
}

bool sim_start_devices(void) {
    for (int i = 0; i < sim_device_count; i++) {
        struct device *device = &sim_devices[i];
        device->address_bytes = ADDRESSES * device->bytes;
        if (!map_twice(device->address_bytes, PROT_NONE, &device->view, &device->alias)) return false;
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

char *sim_host_alias(const struct pinned *pinned, const void *address) {
    return pinned->alias + ((const char *)address - pinned->user);
}

struct allocation *sim_find_allocation(CUdeviceptr address, bool freed_too) {
    for (struct allocation *a = allocations; a != NULL; a = a->next)
        if (address >= a->address && address < a->address + a->bytes && (freed_too || !a->is_freed)) return a;
    return NULL;
}

static struct pinned *find_pinned(const void *address) {
    for (struct pinned *p = pinned_list; p != NULL; p = p->next)
        if ((const char *)address >= p->user && (const char *)address < p->user + p->bytes) return p;
    return NULL;
}

CUresult sim_check_device_range(CUdeviceptr address, size_t bytes, int device, const char *what) {
    const char *function = sim_function();
    const struct allocation *found = sim_find_allocation(address, false);
    if (found == NULL) {
        if (sim_find_allocation(address, true) != NULL || was_freed(address))
            return sim_complain(CUDA_ERROR_INVALID_VALUE, "freed pointer", "%s: %s 0x%llx was freed", function, what, address);
        return sim_complain(CUDA_ERROR_INVALID_VALUE, "unknown pointer", "%s: %s 0x%llx is no device memory", function, what,
                            address);
    }
    if (address + bytes > found->address + found->bytes)
        return sim_complain(CUDA_ERROR_INVALID_VALUE, "past the end", "%s: %s 0x%llx of %zu bytes goes %llu bytes past its "
                            "allocation", function, what, address, bytes,
                            address + bytes - found->address - found->bytes);
    if (found->device != device)
        return sim_complain(CUDA_ERROR_INVALID_VALUE, "wrong device", "%s: %s 0x%llx is memory of device %d, the context is "
                            "of device %d", function, what, address, found->device, device);
    return CUDA_SUCCESS;
}

CUresult sim_check_host_range(const void *address, size_t bytes, struct pinned **pinned, const char *what) {
    const char *function = sim_function();
    *pinned = find_pinned(address);
    if (sim_device_of_view(address) >= 0)
        return sim_complain(CUDA_ERROR_INVALID_VALUE, "unknown pointer", "%s: %s %p is device memory", function, what, address);
    if (*pinned == NULL && was_freed((uintptr_t)address))
        return sim_complain(CUDA_ERROR_INVALID_VALUE, "freed pointer", "%s: %s %p was freed", function, what, address);
    if (*pinned != NULL && (const char *)address + bytes > (*pinned)->user + (*pinned)->bytes)
        return sim_complain(CUDA_ERROR_INVALID_VALUE, "past the end", "%s: %s %p of %zu bytes goes past its pinned memory",
                            function, what, address, bytes);
    return CUDA_SUCCESS;
}

/* Next fit: addresses come again late, so that stale ones are found out. */
static struct allocation *allocate(int number, size_t wanted) {
    struct device *device = &sim_devices[number];
    size_t bytes = (wanted + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (bytes > device->bytes - device->used) return NULL;
    for (int round = 0; round < 2; round++) {
        size_t offset = round == 0 ? device->next : 0;
        while (offset + bytes <= device->address_bytes) {
            size_t past = 0;
            for (const struct allocation *a = allocations; a != NULL; a = a->next) {
                if (a->device != number) continue;
                size_t start = a->address - (CUdeviceptr)device->view;
                size_t end = start + (a->bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
                if (start < offset + bytes && offset < end && end > past) past = end;
            }
            if (past > 0) {
                offset = past;
                continue;
            }
            struct allocation *made = calloc(1, sizeof *made);
            made->address = (CUdeviceptr)device->view + offset;
            made->bytes = wanted;
            made->device = number;
            made->next = allocations;
            allocations = made;
            device->used += bytes;
            device->next = offset + bytes;
            memset(device->alias + offset, FRESH_BYTE, wanted < FRESH_BYTES ? wanted : FRESH_BYTES);
            return made;
        }
    }
    return NULL;
}

void sim_drop_allocation(struct allocation *dropped) {
    struct device *device = &sim_devices[dropped->device];
    size_t bytes = (dropped->bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    device->used -= bytes;
    remember_freed(dropped->address, dropped->bytes);
    /* Gives the pages back to the system; only whole ones, as neighbours share the others. */
    uintptr_t from = ((uintptr_t)sim_device_alias(dropped->address) + 4095) & ~(uintptr_t)4095;
    uintptr_t to = ((uintptr_t)sim_device_alias(dropped->address) + bytes) & ~(uintptr_t)4095;
    if (to > from) madvise((void *)from, to - from, MADV_REMOVE);
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
        return was_freed(address) || *found != NULL
            ? sim_complain(CUDA_ERROR_INVALID_VALUE, "double free", "%s of 0x%llx, which was freed before", function, address)
            : sim_complain(CUDA_ERROR_INVALID_VALUE, "unknown pointer", "%s of 0x%llx, which is no device memory", function,
                           address);
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
    LEAVE(allocate_for(address, bytes));
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
    result = sim_submit(&work, stream);
    found->is_freed = true;
    LEAVE(result);
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

/* Host memory. */

CUresult CUDAAPI cuMemHostAlloc(void **address, size_t bytes, unsigned int flags) {
    ENTER(true);
    NEED_POINTER(address);
    (void)flags;
    if (bytes == 0) LEAVE(sim_complain(CUDA_ERROR_INVALID_VALUE, "argument", "cuMemHostAlloc of 0 bytes"));
    struct pinned *made = calloc(1, sizeof *made);
    if (!map_twice(bytes, PROT_READ | PROT_WRITE, &made->user, &made->alias)) {
        free(made);
        LEAVE(CUDA_ERROR_OUT_OF_MEMORY);
    }
    made->bytes = bytes;
    made->device = sim_current()->device;
    made->next = pinned_list;
    pinned_list = made;
    *address = made->user;
    LEAVE(CUDA_SUCCESS);
}

static void drop_pinned(struct pinned *dropped) {
    remember_freed((uintptr_t)dropped->user, dropped->bytes);
    for (struct pinned **at = &pinned_list; *at != NULL; at = &(*at)->next) {
        if (*at != dropped) continue;
        *at = dropped->next;
        break;
    }
    if (!dropped->is_registered) {
        munmap(dropped->user, dropped->bytes);
        munmap(dropped->alias, dropped->bytes);
    }
    free(dropped);
}

static CUresult free_pinned(void *address, bool registered, CUresult otherwise) {
    struct pinned *found = find_pinned(address);
    const char *function = sim_function();
    if (found == NULL)
        return was_freed((uintptr_t)address)
            ? sim_complain(otherwise, "double free", "%s of %p, which was freed before", function, address)
            : sim_complain(otherwise, "unknown pointer", "%s of %p, which is not pinned", function, address);
    if (found->user != address || found->is_registered != registered)
        return sim_complain(otherwise, "unknown pointer", "%s of %p, which was not made that way", function, address);
    sim_finish_range((uintptr_t)address, found->bytes, "pinned memory");
    drop_pinned(found);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemFreeHost(void *address) {
    ENTER(true);
    LEAVE(free_pinned(address, false, CUDA_ERROR_INVALID_VALUE));
}

CUresult CUDAAPI cuMemHostRegister_v2(void *address, size_t bytes, unsigned int flags) {
    ENTER(true);
    (void)flags;
    if (address == NULL || bytes == 0) LEAVE(CUDA_ERROR_INVALID_VALUE);
    for (const struct pinned *p = pinned_list; p != NULL; p = p->next)
        if ((char *)address < p->user + p->bytes && p->user < (char *)address + bytes)
            LEAVE(sim_complain(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, "registration", "%p is registered already", address));
    struct pinned *made = calloc(1, sizeof *made);
    made->user = made->alias = address;
    made->bytes = bytes;
    made->is_registered = true;
    made->device = sim_current()->device;
    made->next = pinned_list;
    pinned_list = made;
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuMemHostUnregister(void *address) {
    ENTER(true);
    LEAVE(free_pinned(address, true, CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED));
}

/* What an address is. */

static CUresult pointer_attribute(void *data, CUpointer_attribute attribute, CUdeviceptr address) {
    const struct allocation *device = sim_find_allocation(address, false);
    const struct pinned *host = device == NULL ? find_pinned((const void *)address) : NULL;
    bool is_known = device != NULL || host != NULL;
    int number = device != NULL ? device->device : host != NULL ? host->device : -2;
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
        *(CUcontext *)data = is_known ? (CUcontext)&sim_devices[number].primary : NULL;
        break;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        *(CUmemorytype *)data = device != NULL ? CU_MEMORYTYPE_DEVICE : host != NULL ? CU_MEMORYTYPE_HOST : 0;
        break;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
        *(bool *)data = false;
        break;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        *(int *)data = number;
        break;
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
        *(bool *)data = device != NULL;
        break;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
        *(CUdeviceptr *)data = device != NULL ? device->address : host != NULL ? (CUdeviceptr)host->user : 0;
        break;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
        *(size_t *)data = device != NULL ? device->bytes : host != NULL ? host->bytes : 0;
        break;
    default:
        return sim_complain(CUDA_ERROR_INVALID_VALUE, "argument", "pointer attribute %d is not simulated", attribute);
    }
    return is_known ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult CUDAAPI cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr address) {
    ENTER(true);
    NEED_POINTER(data);
    LEAVE(pointer_attribute(data, attribute, address));
}

/* Unlike the function for one attribute this one answers 0 for what is unknown, and succeeds. */
CUresult CUDAAPI cuPointerGetAttributes(unsigned int count, CUpointer_attribute *attributes, void **data, CUdeviceptr address) {
    ENTER(true);
    NEED_POINTER(attributes);
    NEED_POINTER(data);
    for (unsigned i = 0; i < count; i++) pointer_attribute(data[i], attributes[i], address);
    LEAVE(CUDA_SUCCESS);
}

/* Sharing between processes is not simulated. */

CUresult CUDAAPI cuIpcGetMemHandle(CUipcMemHandle *handle, CUdeviceptr address) {
    ENTER(true);
    (void)handle, (void)address;
    LEAVE(CUDA_ERROR_NOT_SUPPORTED);
}

CUresult CUDAAPI cuIpcOpenMemHandle_v2(CUdeviceptr *address, CUipcMemHandle handle, unsigned int flags) {
    ENTER(true);
    (void)address, (void)handle, (void)flags;
    LEAVE(CUDA_ERROR_NOT_SUPPORTED);
}

CUresult CUDAAPI cuIpcCloseMemHandle(CUdeviceptr address) {
    ENTER(true);
    (void)address;
    LEAVE(CUDA_ERROR_NOT_SUPPORTED);
}

/* Leaks and counts. */

void sim_report_memory_leaks(const char *when, int device) {
    for (const struct allocation *a = allocations; a != NULL; a = a->next)
        if ((device < 0 || a->device == device) && !a->is_freed)
            sim_complain(CUDA_SUCCESS, "leak", "%zu bytes of device %d at 0x%llx were not freed %s", a->bytes, a->device,
                         a->address, when);
    for (const struct pinned *p = pinned_list; p != NULL; p = p->next)
        if (device < 0 || p->device == device)
            sim_complain(CUDA_SUCCESS, "leak", "%zu bytes of %s memory at %p were not freed %s", p->bytes,
                         p->is_registered ? "registered" : "pinned", (void *)p->user, when);
}

void sim_drop_context_memory(int device) {
    struct allocation *next;
    for (struct allocation *a = allocations; a != NULL; a = next) {
        next = a->next;
        if (a->device != device) continue;
        sim_finish_range(a->address, a->bytes, "device memory");
        sim_drop_allocation(a);
    }
    struct pinned *next_pinned;
    for (struct pinned *p = pinned_list; p != NULL; p = next_pinned) {
        next_pinned = p->next;
        if (p->device != device) continue;
        sim_finish_range((uintptr_t)p->user, p->bytes, "pinned memory");
        drop_pinned(p);
    }
}

uint64_t sim_live_memory(const char *what) {
    uint64_t count = 0, bytes = 0, pinned_count = 0, pinned_bytes = 0;
    for (const struct allocation *a = allocations; a != NULL; a = a->next) count++, bytes += a->bytes;
    for (const struct pinned *p = pinned_list; p != NULL; p = p->next) pinned_count++, pinned_bytes += p->bytes;
    if (strcmp(what, "allocations") == 0) return count;
    if (strcmp(what, "bytes") == 0) return bytes;
    if (strcmp(what, "pinned") == 0) return pinned_count;
    if (strcmp(what, "pinnedBytes") == 0) return pinned_bytes;
    return UINT64_MAX;
}

int cuda_sim_peek(uint64_t address, void *target, uint64_t bytes) {
    sim_lock();
    const struct allocation *found = sim_find_allocation(address, false);
    bool is_inside = found != NULL && address + bytes <= found->address + found->bytes;
    if (is_inside) memcpy(target, sim_device_alias(address), bytes);
    sim_unlock();
    return is_inside ? 0 : -1;
}
