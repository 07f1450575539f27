/*
 * Common to all calls of the simulated driver: the lock, the call count, requested failures, complaints, the
 * current context, and the report at exit.
 */
#define _GNU_SOURCE
#include "sim.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_COMPLAINTS 1000
#define MAX_FUNCTIONS 128
#define MAX_DEPTH 64
#define COMPLAINT_STATUS 86

struct device sim_devices[MAX_DEVICES];
int sim_device_count = 2;
uint64_t sim_delay = 1;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_started, is_initialised;

static uint64_t calls, fail_at;
static CUresult fail_with = CUDA_ERROR_UNKNOWN;
static bool fail_sticky;
static char fail_function[64];
static struct { const char *name; uint64_t calls; } functions[MAX_FUNCTIONS];

static char *complaints[MAX_COMPLAINTS];
static uint64_t complaint_count;

static __thread struct context *stack[MAX_DEPTH];
static __thread int depth;
static __thread const char *function;

static const struct { CUresult result; const char *name, *text; } results[] = {
#define RESULT(name, text) {name, #name, text}
    RESULT(CUDA_SUCCESS, "no error"),
    RESULT(CUDA_ERROR_INVALID_VALUE, "invalid argument"),
    RESULT(CUDA_ERROR_OUT_OF_MEMORY, "out of memory"),
    RESULT(CUDA_ERROR_NOT_INITIALIZED, "initialization error"),
    RESULT(CUDA_ERROR_DEINITIALIZED, "driver shutting down"),
    RESULT(CUDA_ERROR_STUB_LIBRARY, "the library is a stub"),
    RESULT(CUDA_ERROR_DEVICE_UNAVAILABLE, "the device is busy or unavailable"),
    RESULT(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected"),
    RESULT(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal"),
    RESULT(CUDA_ERROR_INVALID_CONTEXT, "invalid device context"),
    RESULT(CUDA_ERROR_MAP_FAILED, "mapping of buffer object failed"),
    RESULT(CUDA_ERROR_ECC_UNCORRECTABLE, "uncorrectable ECC error encountered"),
    RESULT(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED, "peer access is not supported between these two devices"),
    RESULT(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle"),
    RESULT(CUDA_ERROR_NOT_FOUND, "named symbol not found"),
    RESULT(CUDA_ERROR_NOT_READY, "device not ready"),
    RESULT(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered"),
    RESULT(CUDA_ERROR_CONTEXT_IS_DESTROYED, "context is destroyed"),
    RESULT(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, "part of the memory has been registered already"),
    RESULT(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, "the pointer does not belong to a registered memory region"),
    RESULT(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure"),
    RESULT(CUDA_ERROR_NOT_PERMITTED, "operation not permitted"),
    RESULT(CUDA_ERROR_NOT_SUPPORTED, "operation not supported"),
    RESULT(CUDA_ERROR_SYSTEM_NOT_READY, "system not yet initialized"),
    RESULT(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "system has unsupported display driver / cuda driver combination"),
    RESULT(CUDA_ERROR_UNKNOWN, "unknown error"),
};
#define RESULTS (sizeof results / sizeof *results)

CUresult sim_result_of_name(const char *name) {
    for (size_t i = 0; i < RESULTS; i++)
        if (strcmp(results[i].name, name) == 0) return results[i].result;
    return (CUresult)strtoul(name, NULL, 10);
}

static uint64_t env_number(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text == NULL || *text == '\0' ? otherwise : strtoull(text, NULL, 10);
}

void sim_lock(void) { pthread_mutex_lock(&lock); }
void sim_unlock(void) { pthread_mutex_unlock(&lock); }
const char *sim_function(void) { return function; }
struct context *sim_current(void) { return depth > 0 ? stack[depth - 1] : NULL; }

static void report_at_exit(int status, void *unused) {
    (void)unused;
    sim_report_memory_leaks("when the process ended", -1);
    sim_report_host_leaks("when the process ended", -1);
    sim_report_handle_leaks("when the process ended", -1);
    for (int i = 0; i < sim_device_count; i++)
        if (sim_devices[i].primary.retained > 0)
            sim_complain(CUDA_SUCCESS, "leak", "the primary context of device %d was still retained when the process ended",
                         i);
    if (complaint_count == 0) return;
    for (uint64_t i = 0; i < complaint_count && i < MAX_COMPLAINTS; i++)
        fprintf(stderr, "cuda_sim: complaint: %s\n", complaints[i]);
    fprintf(stderr, "cuda_sim: %llu complaints\n", (unsigned long long)complaint_count);
    fflush(stderr);
    if (status == 0) _exit(COMPLAINT_STATUS);
}

static void start(void) {
    is_started = true;
    uint64_t count = env_number("CUDA_SIM_DEVICES", 2);
    sim_device_count = count > MAX_DEVICES ? MAX_DEVICES : (int)count;
    for (int i = 0; i < sim_device_count; i++) {
        sim_devices[i].bytes = env_number("CUDA_SIM_MEMORY", (uint64_t)1 << 30);
        sim_devices[i].primary.device = i;
    }
    sim_delay = env_number("CUDA_SIM_DELAY", 1);
    fail_at = env_number("CUDA_SIM_FAIL_AT", 0);
    fail_sticky = env_number("CUDA_SIM_FAIL_STICKY", 0) != 0;
    const char *always = getenv("CUDA_SIM_FAIL_FUNCTION");
    if (always != NULL) snprintf(fail_function, sizeof fail_function, "%s", always);
    const char *with = getenv("CUDA_SIM_FAIL_WITH");
    if (with != NULL && *with != '\0') fail_with = sim_result_of_name(with);
    if (!sim_start_devices()) {
        fprintf(stderr, "cuda_sim: cannot map the memory of the devices: %s\n", strerror(errno));
        abort();
    }
    sim_install_fault_handler();
    on_exit(report_at_exit, NULL);
}

static void count_call(void) {
    calls++;
    for (int i = 0; i < MAX_FUNCTIONS; i++) {
        if (functions[i].name == NULL) functions[i].name = function;
        if (strcmp(functions[i].name, function) != 0) continue;
        functions[i].calls++;
        return;
    }
}

CUresult sim_enter(const char *name, bool needs_context) {
    sim_lock();
    function = name;
    if (!is_started) start();
    count_call();
    if (fail_at != 0 && (calls == fail_at || (fail_sticky && calls > fail_at))) return fail_with;
    if (strcmp(fail_function, name) == 0) return fail_with;
    bool is_init = strcmp(name, "cuInit") == 0;
    if (is_init) is_initialised = true;
    else if (!is_initialised && strcmp(name, "cuDriverGetVersion") != 0)
        return sim_complain(CUDA_ERROR_NOT_INITIALIZED, "init", "%s before cuInit", name);
    if (!needs_context) return CUDA_SUCCESS;
    struct context *current = sim_current();
    if (current == NULL)
        return sim_complain(CUDA_ERROR_INVALID_CONTEXT, "context", "%s without a current context", name);
    if (current->retained == 0)
        return sim_complain(CUDA_ERROR_CONTEXT_IS_DESTROYED, "context", "%s in a context that was released", name);
    return CUDA_SUCCESS;
}

CUresult sim_leave(CUresult result) {
    sim_unlock();
    return result;
}

CUresult sim_complain(CUresult result, const char *kind, const char *format, ...) {
    char *text = NULL, *whole = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0 || asprintf(&whole, "%s: %s (call %llu)", kind, text, (unsigned long long)calls) < 0) abort();
    free(text);
    if (complaint_count < MAX_COMPLAINTS) complaints[complaint_count] = whole;
    else free(whole);
    complaint_count++;
    return result;
}

/* Initialisation, error texts and contexts. */

CUresult CUDAAPI cuInit(unsigned int flags) {
    ENTER(false);
    if (flags != 0) LEAVE(CUDA_ERROR_INVALID_VALUE);
    LEAVE(sim_device_count == 0 ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS);
}

CUresult CUDAAPI cuDriverGetVersion(int *version) {
    ENTER(false);
    NEED_POINTER(version);
    *version = CUDA_VERSION;
    LEAVE(CUDA_SUCCESS);
}

/* Not counted and never failed: they only read a table, and are called while another failure is reported. */
CUresult CUDAAPI cuGetErrorName(CUresult error, const char **text) {
    for (size_t i = 0; i < RESULTS; i++)
        if (results[i].result == error) return *text = results[i].name, CUDA_SUCCESS;
    return *text = NULL, CUDA_ERROR_INVALID_VALUE;
}

CUresult CUDAAPI cuGetErrorString(CUresult error, const char **text) {
    for (size_t i = 0; i < RESULTS; i++)
        if (results[i].result == error) return *text = results[i].text, CUDA_SUCCESS;
    return *text = NULL, CUDA_ERROR_INVALID_VALUE;
}

static CUresult check_context(struct context *context) {
    for (int i = 0; i < sim_device_count; i++)
        if (context == &sim_devices[i].primary)
            return context->retained > 0
                ? CUDA_SUCCESS
                : sim_complain(CUDA_ERROR_INVALID_CONTEXT, "context", "%s of a context that was released", function);
    return sim_complain(CUDA_ERROR_INVALID_CONTEXT, "context", "%s of an unknown context", function);
}

CUresult CUDAAPI cuCtxPushCurrent_v2(CUcontext context) {
    ENTER(false);
    CUresult result = check_context((struct context *)context);
    if (result != CUDA_SUCCESS) LEAVE(result);
    if (depth == MAX_DEPTH) LEAVE(sim_complain(CUDA_ERROR_INVALID_VALUE, "context", "contexts are pushed and never popped"));
    stack[depth++] = (struct context *)context;
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuCtxPopCurrent_v2(CUcontext *context) {
    ENTER(false);
    if (depth == 0) LEAVE(sim_complain(CUDA_ERROR_INVALID_CONTEXT, "context", "%s with no context pushed", function));
    depth--;
    if (context != NULL) *context = (CUcontext)stack[depth];
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuCtxSetCurrent(CUcontext context) {
    ENTER(false);
    if (context == NULL) {
        if (depth > 0) depth--;
        LEAVE(CUDA_SUCCESS);
    }
    CUresult result = check_context((struct context *)context);
    if (result != CUDA_SUCCESS) LEAVE(result);
    if (depth == 0) depth = 1;
    stack[depth - 1] = (struct context *)context;
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuCtxGetCurrent(CUcontext *context) {
    ENTER(false);
    NEED_POINTER(context);
    *context = (CUcontext)sim_current();
    LEAVE(CUDA_SUCCESS);
}

/* The control functions for the state of this file. */

uint64_t cuda_sim_calls(void) { return calls; }

uint64_t cuda_sim_calls_of(const char *name) {
    for (int i = 0; i < MAX_FUNCTIONS && functions[i].name != NULL; i++)
        if (strcmp(functions[i].name, name) == 0) return functions[i].calls;
    return 0;
}

void cuda_sim_fail_after(uint64_t after, int result, int sticky) {
    sim_lock();
    fail_at = result == 0 ? 0 : calls + after;
    fail_with = (CUresult)result;
    fail_sticky = sticky != 0;
    sim_unlock();
}

void cuda_sim_fail_function(const char *name, int result) {
    sim_lock();
    snprintf(fail_function, sizeof fail_function, "%s", name);
    fail_with = (CUresult)result;
    sim_unlock();
}

void cuda_sim_set_delay(uint64_t queries) { sim_delay = queries; }

uint64_t cuda_sim_complaints(void) { return complaint_count; }

int cuda_sim_complaint(uint64_t index, char *text, int bytes) {
    if (index >= complaint_count || index >= MAX_COMPLAINTS) return -1;
    return snprintf(text, (size_t)bytes, "%s", complaints[index]);
}

void cuda_sim_clear(void) {
    sim_lock();
    for (uint64_t i = 0; i < complaint_count && i < MAX_COMPLAINTS; i++) free(complaints[i]);
    complaint_count = 0;
    fail_at = 0;
    fail_function[0] = '\0';
    sim_unlock();
}

int cuda_sim_depth(void) { return depth; }

void cuda_sim_report_leaks(void) {
    sim_lock();
    sim_report_memory_leaks("when leaks were reported", -1);
    sim_report_host_leaks("when leaks were reported", -1);
    sim_report_handle_leaks("when leaks were reported", -1);
    sim_unlock();
}

uint64_t cuda_sim_live(const char *what) {
    if (strcmp(what, "contexts") == 0) {
        uint64_t retained = 0;
        for (int i = 0; i < sim_device_count; i++) retained += (uint64_t)sim_devices[i].primary.retained;
        return retained;
    }
    uint64_t count = sim_live_memory(what);
    if (count == UINT64_MAX) count = sim_live_host_memory(what);
    return count != UINT64_MAX ? count : sim_live_handles(what);
}
