/* Devices of the simulated driver, and their primary contexts. */
#define _GNU_SOURCE
#include "sim.h"

#include <stdio.h>
#include <string.h>

static CUresult check_device(int device) {
    return device >= 0 && device < sim_device_count
        ? CUDA_SUCCESS
        : sim_complain(CUDA_ERROR_INVALID_DEVICE, "device", "%s of device %d, of which there are %d", sim_function(), device,
                       sim_device_count);
}

#define NEED_DEVICE(device)                                  \
    CUresult checked = check_device(device);                 \
    if (checked != CUDA_SUCCESS) LEAVE(checked)

CUresult CUDAAPI cuDeviceGetCount(int *count) {
    ENTER(false);
    NEED_POINTER(count);
    *count = sim_device_count;
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuDeviceGet(CUdevice *device, int ordinal) {
    ENTER(false);
    NEED_POINTER(device);
    NEED_DEVICE(ordinal);
    *device = ordinal;
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuDeviceGetName(char *name, int length, CUdevice device) {
    ENTER(false);
    NEED_POINTER(name);
    NEED_DEVICE(device);
    snprintf(name, (size_t)length, "Simulated GPU %d", device);
    LEAVE(CUDA_SUCCESS);
}

static CUresult get_uuid(CUuuid *uuid, CUdevice device) {
    NEED_POINTER(uuid);
    NEED_DEVICE(device);
    for (int i = 0; i < 16; i++) uuid->bytes[i] = (char)(0x10 * i + device);
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuDeviceGetUuid(CUuuid *uuid, CUdevice device) {
    ENTER(false);
    return get_uuid(uuid, device);
}

CUresult CUDAAPI cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
    ENTER(false);
    return get_uuid(uuid, device);
}

CUresult CUDAAPI cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
    ENTER(false);
    NEED_POINTER(bytes);
    NEED_DEVICE(device);
    *bytes = sim_devices[device].bytes;
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuDeviceGetPCIBusId(char *text, int length, CUdevice device) {
    ENTER(false);
    NEED_POINTER(text);
    NEED_DEVICE(device);
    snprintf(text, (size_t)length, "0000:%02x:00.0", device + 1);
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    ENTER(false);
    NEED_POINTER(value);
    NEED_DEVICE(device);
    switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = 9; break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = 0; break;
    case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT: *value = 2; break;
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING: *value = 1; break;
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: *value = 1; break;
    default: *value = 0;
    }
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    ENTER(false);
    NEED_POINTER(context);
    NEED_DEVICE(device);
    sim_devices[device].primary.retained++;
    *context = (CUcontext)&sim_devices[device].primary;
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    ENTER(false);
    NEED_DEVICE(device);
    struct context *context = &sim_devices[device].primary;
    if (context->retained == 0)
        LEAVE(sim_complain(CUDA_ERROR_INVALID_CONTEXT, "context", "the primary context of device %d was released more often "
                           "than it was retained", device));
    if (--context->retained > 0) LEAVE(CUDA_SUCCESS);
    /* The driver destroys everything made in the context together with it. */
    sim_report_memory_leaks("when its context was released", device);
    sim_report_host_leaks("when its context was released", device);
    sim_report_handle_leaks("when its context was released", device);
    sim_finish_all();
    sim_drop_context_memory(device);
    sim_drop_context_host_memory(device);
    sim_drop_context_handles(device);
    LEAVE(CUDA_SUCCESS);
}
