/*
 * A strict CUDA driver without a GPU, for tests: the functions of libcuda that dipc uses, on host memory.
 *
 * It is compiled against NVIDIA's cuda.h, so that its signatures are the driver's. Misuse that a driver ignores, crashes on
 * or answers with stale data is reported as a complaint: kept for cuda_sim_complaint(), printed when the process ends,
 * and turned into exit status 86 if the process would have ended with 0.
 *
 * Environment: CUDA_SIM_DEVICES (2), CUDA_SIM_MEMORY (bytes of each, 1 GiB), CUDA_SIM_DELAY (queries that work takes
 * before it is done, 1), CUDA_SIM_FAIL_AT (number of the call to fail, from 1), CUDA_SIM_FAIL_FUNCTION (its name: all calls of it
 * fail), CUDA_SIM_FAIL_WITH (number or name of a CUresult, CUDA_ERROR_UNKNOWN), CUDA_SIM_FAIL_STICKY (1: every later call fails
 * too).
 */
#ifndef CUDA_SIM_H
#define CUDA_SIM_H

/* Everything else is hidden, so that it cannot clash with symbols of other libraries. */
#pragma GCC visibility push(default)
#include <cuda.h>
#pragma GCC visibility pop
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_DEVICES 16
#define MAX_STREAMS 64
#define EXPORT __attribute__((visibility("default")))

/* The work of each stream that precedes something: sequence numbers by stream. */
struct clock {
    uint64_t seq[MAX_STREAMS];
};

struct context {
    int device;
    int retained;
    bool was_made;
};

/*
 * Device memory: `view` is the address that is returned and that the CPU cannot read, `alias` is what copies go through.
 * There are more addresses than memory, as on a GPU, whose free memory is never too fragmented to use.
 */
struct device {
    int fd;
    char *view;
    char *alias;
    size_t bytes;
    size_t address_bytes;
    size_t used;
    size_t next;
    struct context primary;
};

struct allocation {
    struct allocation *next;
    CUdeviceptr address;
    size_t bytes;
    int device;
    bool is_freed;
    bool is_pooled;
    uint64_t export_id;      /* 0: never handed to other processes. */
    struct import *import;   /* Of another process; NULL: of this one. */
};

/* Pinned host memory; `alias` maps the same pages as `user`, so that these can be protected while a copy is under way. */
struct pinned {
    struct pinned *next;
    char *user;
    char *alias;
    size_t bytes;
    bool is_registered;
    bool is_freed;
    int device;
};

struct stream {
    struct stream *next;
    struct context *context;
    unsigned flags;
    int slot;
    bool is_destroyed;
};

/* The state of an event that several processes use, in memory that they share. */
struct shared_event {
    uint64_t id; /* 0 once it was destroyed. */
    uint64_t recorded;
    uint64_t executed;
};

struct event {
    struct event *next;
    struct context *context;
    unsigned flags;
    bool is_recorded;
    bool is_destroyed;
    int slot;
    uint64_t seq;
    struct clock clock;
    struct shared_event *shared; /* NULL: of this process alone. */
    uint64_t shared_id;
    uint64_t mark; /* Its last recording by this process. */
    bool is_imported;
};

/* A range of memory that work reads or writes: device memory, or pinned host memory. */
struct range {
    uintptr_t address;
    size_t bytes;
    bool writes;
};

enum work_kind { WORK_COPY, WORK_FILL, WORK_RECORD, WORK_FREE, WORK_WAIT };

/* Work on a stream, until the host has observed that it is done. */
struct work {
    struct work *next;
    enum work_kind kind;
    const char *function;
    int slot;
    uint64_t seq;
    uint64_t due;
    bool is_executed;
    struct clock needs;
    struct range ranges[2];
    int range_count;
    char *to;
    const char *from;
    size_t bytes;
    int value;
    struct allocation *freed;
    struct shared_event *shared; /* What WORK_RECORD marks, and WORK_WAIT waits for. */
    uint64_t mark;
    struct pinned *guarded;
    int guard;
    bool is_guarded;
};

/* core.c: common to all calls. */
extern struct device sim_devices[MAX_DEVICES];
extern int sim_device_count;
extern uint64_t sim_delay;
CUresult sim_enter(const char *function, bool needs_context);
CUresult sim_leave(CUresult result);
CUresult sim_complain(CUresult result, const char *kind, const char *format, ...) __attribute__((format(printf, 3, 4)));
const char *sim_function(void);
struct context *sim_current(void);
void sim_lock(void);
void sim_unlock(void);
CUresult sim_result_of_name(const char *name);

/* device_memory.c */
bool sim_start_devices(void);
bool sim_map_twice(size_t bytes, int protection, int *fd, char **view, char **alias);
void sim_remember_freed(uintptr_t address, size_t bytes);
bool sim_was_freed(uintptr_t address);
int sim_device_of_view(const void *address);
char *sim_device_alias(CUdeviceptr address);
struct allocation *sim_find_allocation(CUdeviceptr address, bool freed_too);
struct allocation *sim_find_import(int device, bool (*matches)(const struct import *, const void *), const void *wanted);
struct allocation *sim_reserve(int device, size_t bytes, size_t lead);
CUresult sim_check_device_range(CUdeviceptr address, size_t bytes, int device, const char *what);
void sim_drop_allocation(struct allocation *allocation);
void sim_drop_context_memory(int device);
void sim_report_memory_leaks(const char *when, int device);
uint64_t sim_live_memory(const char *what);

/* ipc.c */
void sim_end_export(const struct allocation *allocation);
void sim_end_import(struct allocation *allocation);
bool sim_is_stale(const struct allocation *allocation);
bool sim_share_event(struct event *event);
void sim_unshare_event(struct event *event);

/* host_memory.c */
char *sim_host_alias(const struct pinned *pinned, const void *address);
CUresult sim_check_host_range(const void *address, size_t bytes, struct pinned **pinned, const char *what);
void sim_drop_context_host_memory(int device);
void sim_report_host_leaks(const char *when, int device);
uint64_t sim_live_host_memory(const char *what);

/* work.c */
int sim_new_slot(int device, bool is_blocking);
void sim_destroy_slot(int slot);
struct clock sim_point_of_slot(int slot);
void sim_order_slot_after(int slot, const struct clock *clock);
void sim_submit(const struct work *work, int slot);
void sim_submit_now(const struct work *work);
CUresult sim_query(const struct clock *point);
void sim_pass_time(void);
bool sim_sleep(int *tries);
void sim_finish(struct clock wanted);
void sim_finish_device(int device);
void sim_finish_all(void);
void sim_finish_range(uintptr_t address, size_t bytes, const char *what);
bool sim_has_executed(const struct clock *point);
uint64_t sim_unseen_work(void);
void sim_install_fault_handler(void);

/* streams.c */
struct stream *sim_stream(CUstream handle, const char *what);
struct event *sim_event(CUevent handle, const char *what);
struct event *sim_new_event(unsigned flags);
void sim_drop_context_handles(int device);
void sim_report_handle_leaks(const char *when, int device);
uint64_t sim_live_handles(const char *what);

/* Every exported driver function starts and ends with these: calls are counted, checked and failed on request. */
#define ENTER(needs_context)                                    \
    CUresult entered = sim_enter(__func__, needs_context);      \
    if (entered != CUDA_SUCCESS) return sim_leave(entered)
#define LEAVE(result) return sim_leave(result)
#define NEED_POINTER(pointer)                                                                        \
    if ((pointer) == NULL)                                                                           \
        LEAVE(sim_complain(CUDA_ERROR_INVALID_VALUE, "argument", "%s: null as the place of a result", __func__))

/* The control functions, called by tests by FFI. */
EXPORT uint64_t cuda_sim_calls(void);
EXPORT uint64_t cuda_sim_calls_of(const char *function);
EXPORT void cuda_sim_fail_after(uint64_t calls, int result, int sticky);
EXPORT void cuda_sim_fail_function(const char *function, int result);
EXPORT void cuda_sim_set_delay(uint64_t queries);
EXPORT uint64_t cuda_sim_complaints(void);
EXPORT int cuda_sim_complaint(uint64_t index, char *text, int bytes);
EXPORT void cuda_sim_clear(void);
EXPORT uint64_t cuda_sim_live(const char *what);
EXPORT void cuda_sim_report_leaks(void);
EXPORT int cuda_sim_peek(uint64_t address, void *target, uint64_t bytes);
EXPORT int cuda_sim_depth(void);
#endif
