/*
 * Streams and events of the simulated driver. Work is done late: not when it is submitted, but after some queries or in a
 * wait. What the host has not seen the end of stays known, and whatever touches its memory meanwhile is reported.
 */
#define _GNU_SOURCE
#include "sim.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE ((uintptr_t)4096)

/* Slot 0 is the default stream. Work of a slot is done in the order of its sequence numbers. */
static struct {
    bool is_used;
    bool is_blocking;
    bool is_destroyed;
    int device;
    uint64_t submitted, executed;
    struct clock before;
} slots[MAX_STREAMS] = {{.is_used = true, .is_blocking = true}};

static struct stream *streams;
static struct event *events;
/* Work that the host has not seen the end of, oldest first. */
static struct work *first_work, **last_work = &first_work;
/* What the host has seen the end of. */
static struct clock host;
/* Counts queries. */
static uint64_t now;

static void merge(struct clock *into, const struct clock *from) {
    for (int i = 0; i < MAX_STREAMS; i++)
        if (from->seq[i] > into->seq[i]) into->seq[i] = from->seq[i];
}

/* Protection of the user's view of pinned memory while a copy is under way. */

/* The whole pages inside what the work reads or writes: others may be in use by neighbours. */
static bool guarded_pages(const struct work *work, uintptr_t *from, size_t *bytes) {
    const struct range *range = &work->ranges[work->guard];
    *from = (range->address + PAGE - 1) & ~(PAGE - 1);
    uintptr_t to = (range->address + range->bytes) & ~(PAGE - 1);
    *bytes = to > *from ? to - *from : 0;
    return *bytes > 0;
}

static void protect(const struct work *work) {
    uintptr_t from;
    size_t bytes;
    if (!work->is_guarded || !guarded_pages(work, &from, &bytes)) return;
    mprotect((void *)from, bytes, work->ranges[work->guard].writes ? PROT_NONE : PROT_READ);
}

static void unprotect(struct work *work) {
    uintptr_t from;
    size_t bytes;
    if (!work->is_guarded || !guarded_pages(work, &from, &bytes)) return;
    work->is_guarded = false;
    mprotect((void *)from, bytes, PROT_READ | PROT_WRITE);
    /* Others may protect some of the same pages. */
    for (const struct work *other = first_work; other != NULL; other = other->next)
        if (other->guarded == work->guarded) protect(other);
}

static struct sigaction earlier_handler;

static void on_fault(int number, siginfo_t *info, void *context) {
    uintptr_t address = (uintptr_t)info->si_addr;
    sim_lock();
    bool is_ours = false;
    for (struct work *work = first_work; work != NULL; work = work->next) {
        uintptr_t from;
        size_t bytes;
        if (!work->is_guarded || !guarded_pages(work, &from, &bytes)) continue;
        if (address < from || address >= from + bytes) continue;
        sim_complain(CUDA_SUCCESS, "not waited for", "the CPU %s pinned memory at 0x%llx while %s uses it",
                     work->ranges[work->guard].writes ? "touches" : "writes", (unsigned long long)address, work->function);
        unprotect(work);
        is_ours = true;
        break;
    }
    int device = is_ours ? -1 : sim_device_of_view(info->si_addr);
    sim_unlock();
    if (is_ours) return;
    if (device >= 0) {
        char text[128];
        int length = snprintf(text, sizeof text, "cuda_sim: the CPU dereferenced memory of device %d at %p\n", device,
                              info->si_addr);
        if (write(2, text, (size_t)length) < 0) abort();
    }
    if (earlier_handler.sa_flags & SA_SIGINFO) {
        earlier_handler.sa_sigaction(number, info, context);
    } else if (earlier_handler.sa_handler == SIG_DFL || earlier_handler.sa_handler == SIG_IGN) {
        signal(number, SIG_DFL); /* The access is done again, and ends the process. */
    } else {
        earlier_handler.sa_handler(number);
    }
}

void sim_install_fault_handler(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &action, &earlier_handler);
}

/* Doing the work. */

static void execute(struct work *work) {
    switch (work->kind) {
    case WORK_COPY: memmove(work->to, work->from, work->bytes); break;
    case WORK_FILL: memset(work->to, work->value, work->bytes); break;
    case WORK_FREE: sim_drop_allocation(work->freed); break;
    case WORK_RECORD: break;
    }
    work->is_executed = true;
    slots[work->slot].executed = work->seq;
}

static bool may_execute(const struct work *work, bool at_once) {
    if (!at_once && work->due > now) return false;
    if (slots[work->slot].executed + 1 != work->seq) return false;
    for (int i = 0; i < MAX_STREAMS; i++)
        if (i != work->slot && slots[i].executed < work->needs.seq[i]) return false;
    return true;
}

/* Does what is due, or up to a point at once. */
static void run(const struct clock *wanted) {
    bool did_something;
    do {
        did_something = false;
        for (struct work *work = first_work; work != NULL; work = work->next) {
            bool at_once = wanted != NULL && work->seq <= wanted->seq[work->slot];
            if (work->is_executed || !may_execute(work, at_once)) continue;
            execute(work);
            did_something = true;
        }
    } while (did_something);
}

/* What must be done before some point, also by the order between streams. */
static struct clock closure(struct clock wanted) {
    for (bool grew = true; grew;) {
        grew = false;
        for (const struct work *work = first_work; work != NULL; work = work->next) {
            if (work->seq > wanted.seq[work->slot]) continue;
            for (int i = 0; i < MAX_STREAMS; i++)
                if (work->needs.seq[i] > wanted.seq[i]) wanted.seq[i] = work->needs.seq[i], grew = true;
        }
    }
    return wanted;
}

/* The host has seen the end of all that a clock covers. */
static void observe(const struct clock *clock) {
    merge(&host, clock);
    struct work **at = &first_work;
    while (*at != NULL) {
        struct work *work = *at;
        if (!work->is_executed || work->seq > host.seq[work->slot]) {
            at = &work->next;
            continue;
        }
        *at = work->next;
        unprotect(work);
        free(work);
    }
    last_work = at;
}

static void finish(struct clock wanted) {
    wanted = closure(wanted);
    run(&wanted);
    observe(&wanted);
}

static struct clock point_of_slot(int slot) {
    struct clock clock = slots[slot].before;
    clock.seq[slot] = slots[slot].submitted;
    return clock;
}

/* Handles. */

struct stream *sim_stream(CUstream handle, const char *what) {
    static struct stream default_stream;
    const char *function = sim_function();
    if (handle == NULL) {
        default_stream.context = sim_current();
        return &default_stream;
    }
    for (struct stream *stream = streams; stream != NULL; stream = stream->next) {
        if ((CUstream)stream != handle) continue;
        if (stream->is_destroyed) {
            sim_complain(CUDA_SUCCESS, "destroyed handle", "%s: %s was destroyed", function, what);
            return NULL;
        }
        if (stream->context != sim_current()) {
            sim_complain(CUDA_SUCCESS, "wrong device", "%s: %s is of device %d, the context of device %d", function, what,
                         stream->context->device, sim_current()->device);
            return NULL;
        }
        return stream;
    }
    sim_complain(CUDA_SUCCESS, "unknown handle", "%s: %s %p is none", function, what, (void *)handle);
    return NULL;
}

struct event *sim_event(CUevent handle, const char *what) {
    const char *function = sim_function();
    for (struct event *event = events; event != NULL; event = event->next) {
        if ((CUevent)event != handle) continue;
        if (!event->is_destroyed) return event;
        sim_complain(CUDA_SUCCESS, "destroyed handle", "%s: %s was destroyed", function, what);
        return NULL;
    }
    sim_complain(CUDA_SUCCESS, "unknown handle", "%s: %s %p is none", function, what, (void *)handle);
    return NULL;
}

/* Submitting. */

static bool overlap(const struct range *a, const struct range *b) {
    return (a->writes || b->writes) && a->address < b->address + b->bytes && b->address < a->address + a->bytes;
}

/* Reports work that uses the same memory and that this one is not ordered after. */
static void check_order(const struct work *work, const struct clock *before) {
    for (const struct work *other = first_work; other != NULL; other = other->next) {
        if (other->seq <= before->seq[other->slot] || other->slot == work->slot) continue;
        for (int i = 0; i < work->range_count; i++)
            for (int j = 0; j < other->range_count; j++)
                if (overlap(&work->ranges[i], &other->ranges[j])) {
                    sim_complain(CUDA_SUCCESS, "not waited for", "%s %s memory at 0x%llx that %s on another stream %s, with "
                                 "nothing that orders them", sim_function(), work->ranges[i].writes ? "writes" : "reads",
                                 (unsigned long long)work->ranges[i].address, other->function,
                                 other->ranges[j].writes ? "writes" : "reads");
                    return;
                }
    }
}

static void submit_to_slot(const struct work *given, int slot) {
    struct work *work = malloc(sizeof *work);
    *work = *given;
    work->function = sim_function();
    work->slot = slot;
    /* The default stream and those that were not made non-blocking wait for each other. */
    for (int i = 0; slots[slot].is_blocking && i < MAX_STREAMS; i++) {
        if (i == slot || !slots[i].is_used || !slots[i].is_blocking || (slot != 0 && i != 0)) continue;
        struct clock other = point_of_slot(i);
        merge(&slots[slot].before, &other);
    }
    struct clock before = slots[slot].before;
    merge(&before, &host);
    check_order(work, &before);
    work->needs = slots[slot].before;
    work->needs.seq[slot] = 0;
    work->seq = ++slots[slot].submitted;
    work->due = now + 1 + sim_delay;
    work->next = NULL;
    *last_work = work;
    last_work = &work->next;
    work->is_guarded = work->guarded != NULL;
    protect(work);
}

CUresult sim_submit(struct work *work, struct stream *stream) {
    submit_to_slot(work, stream->slot);
    return CUDA_SUCCESS;
}

/* Work on the default stream that the caller waits for. */
CUresult sim_submit_now(struct work *work) {
    submit_to_slot(work, 0);
    finish(point_of_slot(0));
    return CUDA_SUCCESS;
}

static struct clock everything(void) {
    struct clock clock = {{0}};
    for (int slot = 0; slot < MAX_STREAMS; slot++) clock.seq[slot] = slots[slot].submitted;
    return clock;
}

/* Before memory goes away: whatever uses it is reported, and done. */
void sim_finish_range(uintptr_t address, size_t bytes, const char *what) {
    const struct range all = {address, bytes, true};
    for (const struct work *work = first_work; work != NULL; work = work->next)
        for (int i = 0; i < work->range_count; i++) {
            if (!overlap(&all, &work->ranges[i])) continue;
            sim_complain(CUDA_SUCCESS, "not waited for", "%s of %s at 0x%llx that %s uses", sim_function(), what,
                         (unsigned long long)address, work->function);
            finish(everything());
            return;
        }
}

/* Before a context goes away. */
void sim_finish_all(void) {
    if (first_work != NULL)
        sim_complain(CUDA_SUCCESS, "not waited for", "%s while %s is under way", sim_function(), first_work->function);
    finish(everything());
}

/* The driver's functions. */

CUresult CUDAAPI cuStreamCreate(CUstream *handle, unsigned int flags) {
    ENTER(true);
    NEED_POINTER(handle);
    if (flags > CU_STREAM_NON_BLOCKING) LEAVE(CUDA_ERROR_INVALID_VALUE);
    int slot = 1;
    while (slot < MAX_STREAMS && slots[slot].is_used &&
           !(slots[slot].is_destroyed && slots[slot].executed == slots[slot].submitted &&
             host.seq[slot] >= slots[slot].submitted))
        slot++;
    if (slot == MAX_STREAMS) LEAVE(sim_complain(CUDA_ERROR_OUT_OF_MEMORY, "limit", "more than %d streams", MAX_STREAMS));
    struct stream *made = calloc(1, sizeof *made);
    made->context = sim_current();
    made->flags = flags;
    made->slot = slot;
    made->next = streams;
    streams = made;
    slots[slot].is_used = true;
    slots[slot].is_destroyed = false;
    slots[slot].is_blocking = flags == CU_STREAM_DEFAULT;
    slots[slot].device = made->context->device;
    *handle = (CUstream)made;
    LEAVE(CUDA_SUCCESS);
}

static void destroy_stream(struct stream *stream) {
    stream->is_destroyed = true;
    slots[stream->slot].is_destroyed = true;
}

CUresult CUDAAPI cuStreamDestroy_v2(CUstream handle) {
    ENTER(true);
    struct stream *stream = handle == NULL ? NULL : sim_stream(handle, "the stream");
    if (stream == NULL) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    destroy_stream(stream);
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuStreamSynchronize(CUstream handle) {
    ENTER(true);
    const struct stream *stream = sim_stream(handle, "the stream");
    if (stream == NULL) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    finish(point_of_slot(stream->slot));
    LEAVE(CUDA_SUCCESS);
}

static CUresult query(struct clock point) {
    now++;
    run(NULL);
    for (int i = 0; i < MAX_STREAMS; i++)
        if (slots[i].executed < point.seq[i]) return CUDA_ERROR_NOT_READY;
    observe(&point);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamQuery(CUstream handle) {
    ENTER(true);
    const struct stream *stream = sim_stream(handle, "the stream");
    if (stream == NULL) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    LEAVE(query(point_of_slot(stream->slot)));
}

CUresult CUDAAPI cuStreamWaitEvent(CUstream handle, CUevent event_handle, unsigned int flags) {
    ENTER(true);
    (void)flags;
    const struct stream *stream = sim_stream(handle, "the stream");
    const struct event *event = sim_event(event_handle, "the event");
    if (stream == NULL || event == NULL) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    if (event->is_recorded) merge(&slots[stream->slot].before, &event->clock);
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuCtxSynchronize(void) {
    ENTER(true);
    struct clock all = {{0}};
    for (int i = 0; i < MAX_STREAMS; i++)
        if (i == 0 || slots[i].device == sim_current()->device) all.seq[i] = slots[i].submitted;
    finish(all);
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuEventCreate(CUevent *handle, unsigned int flags) {
    ENTER(true);
    NEED_POINTER(handle);
    struct event *made = calloc(1, sizeof *made);
    made->context = sim_current();
    made->flags = flags;
    made->next = events;
    events = made;
    *handle = (CUevent)made;
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuEventDestroy_v2(CUevent handle) {
    ENTER(true);
    struct event *event = sim_event(handle, "the event");
    if (event == NULL) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    event->is_destroyed = true;
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuEventRecord(CUevent handle, CUstream stream_handle) {
    ENTER(true);
    struct event *event = sim_event(handle, "the event");
    struct stream *stream = sim_stream(stream_handle, "the stream");
    if (event == NULL || stream == NULL) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    if (event->context != stream->context)
        LEAVE(sim_complain(CUDA_ERROR_INVALID_HANDLE, "wrong device", "cuEventRecord: the event is of device %d, the stream "
                           "of device %d", event->context->device, stream->context->device));
    struct work work = {.kind = WORK_RECORD};
    sim_submit(&work, stream);
    event->is_recorded = true;
    event->slot = stream->slot;
    event->clock = point_of_slot(stream->slot);
    event->seq = event->clock.seq[stream->slot];
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuEventQuery(CUevent handle) {
    ENTER(true);
    const struct event *event = sim_event(handle, "the event");
    if (event == NULL) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    LEAVE(event->is_recorded ? query(event->clock) : CUDA_SUCCESS);
}

CUresult CUDAAPI cuEventSynchronize(CUevent handle) {
    ENTER(true);
    const struct event *event = sim_event(handle, "the event");
    if (event == NULL) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    if (event->is_recorded) finish(event->clock);
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuEventElapsedTime(float *milliseconds, CUevent start_handle, CUevent end_handle) {
    ENTER(true);
    NEED_POINTER(milliseconds);
    const struct event *start = sim_event(start_handle, "the first event");
    const struct event *end = sim_event(end_handle, "the second event");
    if (start == NULL || end == NULL || !start->is_recorded || !end->is_recorded ||
        ((start->flags | end->flags) & CU_EVENT_DISABLE_TIMING))
        LEAVE(CUDA_ERROR_INVALID_HANDLE);
    for (int i = 0; i < MAX_STREAMS; i++)
        if (slots[i].executed < start->clock.seq[i] || slots[i].executed < end->clock.seq[i]) LEAVE(CUDA_ERROR_NOT_READY);
    *milliseconds = (float)(end->seq - start->seq);
    LEAVE(CUDA_SUCCESS);
}

/* Leaks and counts. */

void sim_report_handle_leaks(const char *when, int device) {
    for (const struct stream *stream = streams; stream != NULL; stream = stream->next)
        if (!stream->is_destroyed && (device < 0 || stream->context->device == device))
            sim_complain(CUDA_SUCCESS, "leak", "a stream of device %d was not destroyed %s", stream->context->device, when);
    for (const struct event *event = events; event != NULL; event = event->next)
        if (!event->is_destroyed && (device < 0 || event->context->device == device))
            sim_complain(CUDA_SUCCESS, "leak", "an event of device %d was not destroyed %s", event->context->device, when);
}

void sim_drop_context_handles(int device) {
    for (struct stream *stream = streams; stream != NULL; stream = stream->next)
        if (!stream->is_destroyed && stream->context->device == device) destroy_stream(stream);
    for (struct event *event = events; event != NULL; event = event->next)
        if (event->context->device == device) event->is_destroyed = true;
}

uint64_t sim_live_handles(const char *what) {
    uint64_t count = 0;
    if (strcmp(what, "streams") == 0) {
        for (const struct stream *stream = streams; stream != NULL; stream = stream->next) count += !stream->is_destroyed;
        return count;
    }
    if (strcmp(what, "events") == 0) {
        for (const struct event *event = events; event != NULL; event = event->next) count += !event->is_destroyed;
        return count;
    }
    if (strcmp(what, "unseen") == 0) {
        for (const struct work *work = first_work; work != NULL; work = work->next) count++;
        return count;
    }
    return UINT64_MAX;
}
