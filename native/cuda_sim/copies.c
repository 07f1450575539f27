/* Copies and fills of the simulated driver. */
#define _GNU_SOURCE
#include "sim.h"

#include <string.h>

static struct work copy_work(char *to, const char *from, size_t bytes, uintptr_t written, uintptr_t read) {
    struct work work = {.kind = WORK_COPY, .to = to, .from = from, .bytes = bytes, .range_count = 2};
    work.ranges[0] = (struct range){written, bytes, true};
    work.ranges[1] = (struct range){read, bytes, false};
    return work;
}

/* Without a stream the caller waits for the work. */
static void submit(const struct work *work, const struct stream *stream) {
    if (stream == NULL) sim_submit_now(work);
    else sim_submit(work, stream->slot);
}

/* Submits a copy with a host side. Without `stream` the caller waits for it. */
static CUresult copy_with_host(CUdeviceptr device_side, const void *host_side, size_t bytes, bool to_device,
                               struct stream *stream) {
    if (bytes == 0) return CUDA_SUCCESS;
    CUresult result = sim_check_device_range(device_side, bytes, sim_current()->device, to_device ? "target" : "source");
    if (result != CUDA_SUCCESS) return result;
    struct pinned *pinned;
    result = sim_check_host_range(host_side, bytes, &pinned, to_device ? "source" : "target");
    if (result != CUDA_SUCCESS) return result;
    char *host_alias = pinned == NULL ? (char *)host_side : sim_host_alias(pinned, host_side);
    char *device_alias = sim_device_alias(device_side);
    struct work work = to_device
        ? copy_work(device_alias, host_alias, bytes, device_side, (uintptr_t)host_side)
        : copy_work(host_alias, device_alias, bytes, (uintptr_t)host_side, device_side);
    if (stream == NULL) {
        sim_submit_now(&work);
        return CUDA_SUCCESS;
    }
    if (pinned == NULL) {
        /* The driver would stage it and block: the memory may be reused at once, so the copy is done now. */
        sim_complain(CUDA_SUCCESS, "not pinned", "%s: host memory at %p is not pinned", sim_function(), host_side);
        sim_submit_now(&work);
        return CUDA_SUCCESS;
    }
    if (!pinned->is_registered) {
        work.guarded = pinned;
        work.guard = to_device ? 1 : 0;
    }
    sim_submit(&work, stream->slot);
    return CUDA_SUCCESS;
}

static CUresult copy_on_device(CUdeviceptr to, int to_device, CUdeviceptr from, int from_device, size_t bytes,
                               struct stream *stream) {
    if (bytes == 0) return CUDA_SUCCESS;
    CUresult result = sim_check_device_range(to, bytes, to_device, "target");
    if (result != CUDA_SUCCESS) return result;
    result = sim_check_device_range(from, bytes, from_device, "source");
    if (result != CUDA_SUCCESS) return result;
    if (to < from + bytes && from < to + bytes)
        return sim_complain(CUDA_ERROR_INVALID_VALUE, "argument", "%s: source and target overlap", sim_function());
    struct work work = copy_work(sim_device_alias(to), sim_device_alias(from), bytes, to, from);
    submit(&work, stream);
    return CUDA_SUCCESS;
}

static CUresult fill(CUdeviceptr to, unsigned char value, size_t bytes, struct stream *stream) {
    if (bytes == 0) return CUDA_SUCCESS;
    CUresult result = sim_check_device_range(to, bytes, sim_current()->device, "target");
    if (result != CUDA_SUCCESS) return result;
    struct work work = {.kind = WORK_FILL, .to = sim_device_alias(to), .bytes = bytes, .value = value, .range_count = 1};
    work.ranges[0] = (struct range){to, bytes, true};
    submit(&work, stream);
    return CUDA_SUCCESS;
}

#define NEED_STREAM(handle)                                          \
    struct stream *stream = sim_stream(handle, "the stream");        \
    if (stream == NULL) LEAVE(CUDA_ERROR_INVALID_HANDLE)

CUresult CUDAAPI cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) {
    ENTER(true);
    LEAVE(copy_with_host(to, from, bytes, true, NULL));
}

CUresult CUDAAPI cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
    ENTER(true);
    LEAVE(copy_with_host(from, to, bytes, false, NULL));
}

CUresult CUDAAPI cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    ENTER(true);
    LEAVE(copy_on_device(to, sim_current()->device, from, sim_current()->device, bytes, NULL));
}

CUresult CUDAAPI cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream handle) {
    ENTER(true);
    NEED_STREAM(handle);
    LEAVE(copy_with_host(to, from, bytes, true, stream));
}

CUresult CUDAAPI cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream handle) {
    ENTER(true);
    NEED_STREAM(handle);
    LEAVE(copy_with_host(from, to, bytes, false, stream));
}

CUresult CUDAAPI cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream handle) {
    ENTER(true);
    NEED_STREAM(handle);
    LEAVE(copy_on_device(to, sim_current()->device, from, sim_current()->device, bytes, stream));
}

CUresult CUDAAPI cuMemcpyPeerAsync(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context,
                                   size_t bytes, CUstream handle) {
    ENTER(true);
    NEED_STREAM(handle);
    if (to_context == NULL || from_context == NULL)
        LEAVE(sim_complain(CUDA_ERROR_INVALID_CONTEXT, "context", "cuMemcpyPeerAsync without a context"));
    LEAVE(copy_on_device(to, ((struct context *)to_context)->device, from, ((struct context *)from_context)->device, bytes,
                         stream));
}

CUresult CUDAAPI cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t bytes) {
    ENTER(true);
    LEAVE(fill(to, value, bytes, NULL));
}

CUresult CUDAAPI cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream handle) {
    ENTER(true);
    NEED_STREAM(handle);
    LEAVE(fill(to, value, bytes, stream));
}
