/* Host memory of the simulated driver, pinned and registered, and the attributes of addresses. */
#define _GNU_SOURCE
#include "sim.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct pinned *pinned_list;

static struct pinned *find_pinned(const void *address) {
    for (struct pinned *p = pinned_list; p != NULL; p = p->next)
        if ((const char *)address >= p->user && (const char *)address < p->user + p->bytes) return p;
    return NULL;
}

char *sim_host_alias(const struct pinned *pinned, const void *address) {
    return pinned->alias + ((const char *)address - pinned->user);
}

/* Whether memory is mapped there now: the system reuses the addresses of freed memory. */
static bool is_mapped(const void *address) {
    unsigned char residency;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    return mincore((void *)((uintptr_t)address / page * page), 1, &residency) == 0;
}

CUresult sim_check_host_range(const void *address, size_t bytes, struct pinned **pinned, const char *what) {
    const char *function = sim_function();
    *pinned = find_pinned(address);
    if (sim_device_of_view(address) >= 0)
        return sim_complain(CUDA_ERROR_INVALID_VALUE, "unknown pointer", "%s: %s %p is device memory", function, what, address);
    if (*pinned == NULL && sim_was_freed((uintptr_t)address) && !is_mapped(address))
        return sim_complain(CUDA_ERROR_INVALID_VALUE, "freed pointer", "%s: %s %p was freed", function, what, address);
    if (*pinned != NULL && (const char *)address + bytes > (*pinned)->user + (*pinned)->bytes)
        return sim_complain(CUDA_ERROR_INVALID_VALUE, "past the end", "%s: %s %p of %zu bytes goes past its pinned memory",
                            function, what, address, bytes);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemHostAlloc(void **address, size_t bytes, unsigned int flags) {
    ENTER(true);
    NEED_POINTER(address);
    (void)flags;
    if (bytes == 0) LEAVE(sim_complain(CUDA_ERROR_INVALID_VALUE, "argument", "cuMemHostAlloc of 0 bytes"));
    struct pinned *made = calloc(1, sizeof *made);
    if (!sim_map_twice(bytes, PROT_READ | PROT_WRITE, NULL, &made->user, &made->alias)) {
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
    sim_remember_freed((uintptr_t)dropped->user, dropped->bytes);
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
        return sim_was_freed((uintptr_t)address)
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

/* Attributes of addresses. */

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
        *(bool *)data = device != NULL && !device->is_pooled && device->import == NULL;
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

/* Unlike the function for one attribute this one succeeds for unknown pointers, with 0. */
CUresult CUDAAPI cuPointerGetAttributes(unsigned int count, CUpointer_attribute *attributes, void **data, CUdeviceptr address) {
    ENTER(true);
    NEED_POINTER(attributes);
    NEED_POINTER(data);
    for (unsigned i = 0; i < count; i++) pointer_attribute(data[i], attributes[i], address);
    LEAVE(CUDA_SUCCESS);
}

/* Leaks and counts. */

void sim_report_host_leaks(const char *when, int device) {
    for (const struct pinned *p = pinned_list; p != NULL; p = p->next)
        if (device < 0 || p->device == device)
            sim_complain(CUDA_SUCCESS, "leak", "%zu bytes of %s memory at %p were not freed %s", p->bytes,
                         p->is_registered ? "registered" : "pinned", (void *)p->user, when);
}

void sim_drop_context_host_memory(int device) {
    struct pinned *next;
    for (struct pinned *p = pinned_list; p != NULL; p = next) {
        next = p->next;
        if (p->device == device) drop_pinned(p);
    }
}

uint64_t sim_live_host_memory(const char *what) {
    uint64_t count = 0, bytes = 0;
    for (const struct pinned *p = pinned_list; p != NULL; p = p->next) count++, bytes += p->bytes;
    return strcmp(what, "pinned") == 0 ? count : strcmp(what, "pinnedBytes") == 0 ? bytes : UINT64_MAX;
}
