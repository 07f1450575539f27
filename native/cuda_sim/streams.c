/* Streams and events of the simulated driver. */
#define _GNU_SOURCE
#include "sim.h"

#include <stdlib.h>
#include <string.h>

static struct stream *streams;
static struct event *events;

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
    sim_complain(CUDA_SUCCESS, "unknown handle", "%s: %s %p is unknown", function, what, (void *)handle);
    return NULL;
}

struct event *sim_event(CUevent handle, const char *what) {
    const char *function = sim_function();
    for (struct event *event = events; event != NULL; event = event->next) {
        if ((CUevent)event != handle) continue;
        if (!event->is_destroyed) {
            if (event->shared != NULL && event->shared->id != event->shared_id)
                sim_complain(CUDA_SUCCESS, "destroyed handle", "%s: %s was destroyed by the process that made it", function, what);
            return event;
        }
        sim_complain(CUDA_SUCCESS, "destroyed handle", "%s: %s was destroyed", function, what);
        return NULL;
    }
    sim_complain(CUDA_SUCCESS, "unknown handle", "%s: %s %p is unknown", function, what, (void *)handle);
    return NULL;
}

static uint64_t recorded(const struct event *event) { return __atomic_load_n(&event->shared->recorded, __ATOMIC_ACQUIRE); }

/* Whether another process has recorded the event last. */
static bool is_foreign(const struct event *event) { return event->shared != NULL && recorded(event) != event->mark; }

static bool is_foreign_done(const struct event *event) {
    return __atomic_load_n(&event->shared->executed, __ATOMIC_ACQUIRE) >= recorded(event);
}

CUresult CUDAAPI cuStreamCreate(CUstream *handle, unsigned int flags) {
    ENTER(true);
    NEED_POINTER(handle);
    if (flags > CU_STREAM_NON_BLOCKING) LEAVE(CUDA_ERROR_INVALID_VALUE);
    int slot = sim_new_slot(sim_current()->device, flags == CU_STREAM_DEFAULT);
    if (slot < 0) LEAVE(sim_complain(CUDA_ERROR_OUT_OF_MEMORY, "limit", "more than %d streams", MAX_STREAMS));
    struct stream *made = calloc(1, sizeof *made);
    made->context = sim_current();
    made->flags = flags;
    made->slot = slot;
    made->next = streams;
    streams = made;
    *handle = (CUstream)made;
    LEAVE(CUDA_SUCCESS);
}

static void destroy_stream(struct stream *stream) {
    stream->is_destroyed = true;
    sim_destroy_slot(stream->slot);
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
    sim_finish(sim_point_of_slot(stream->slot));
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuStreamQuery(CUstream handle) {
    ENTER(true);
    const struct stream *stream = sim_stream(handle, "the stream");
    if (stream == NULL) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    struct clock point = sim_point_of_slot(stream->slot);
    LEAVE(sim_query(&point));
}

CUresult CUDAAPI cuStreamWaitEvent(CUstream handle, CUevent event_handle, unsigned int flags) {
    ENTER(true);
    (void)flags;
    const struct stream *stream = sim_stream(handle, "the stream");
    const struct event *event = sim_event(event_handle, "the event");
    if (stream == NULL || event == NULL) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    if (is_foreign(event)) {
        struct work work = {.kind = WORK_WAIT, .shared = event->shared, .mark = recorded(event)};
        sim_submit(&work, stream->slot);
    } else if (event->is_recorded) {
        sim_order_slot_after(stream->slot, &event->clock);
    }
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuCtxSynchronize(void) {
    ENTER(true);
    sim_finish_device(sim_current()->device);
    LEAVE(CUDA_SUCCESS);
}

struct event *sim_new_event(unsigned flags) {
    struct event *made = calloc(1, sizeof *made);
    made->context = sim_current();
    made->flags = flags;
    made->next = events;
    events = made;
    return made;
}

static void destroy_event(struct event *event) {
    event->is_destroyed = true;
    if (event->shared != NULL) sim_unshare_event(event);
}

CUresult CUDAAPI cuEventCreate(CUevent *handle, unsigned int flags) {
    ENTER(true);
    NEED_POINTER(handle);
    bool is_shared = (flags & CU_EVENT_INTERPROCESS) != 0;
    if (is_shared && !(flags & CU_EVENT_DISABLE_TIMING))
        LEAVE(sim_complain(CUDA_ERROR_INVALID_VALUE, "argument", "an event for several processes must be without timing"));
    struct event *made = sim_new_event(flags);
    *handle = (CUevent)made;
    LEAVE(!is_shared || sim_share_event(made) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY);
}

CUresult CUDAAPI cuEventDestroy_v2(CUevent handle) {
    ENTER(true);
    struct event *event = sim_event(handle, "the event");
    if (event == NULL) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    destroy_event(event);
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
    struct work work = {.kind = WORK_RECORD, .shared = event->shared};
    if (event->shared != NULL) work.mark = event->mark = __atomic_add_fetch(&event->shared->recorded, 1, __ATOMIC_ACQ_REL);
    sim_submit(&work, stream->slot);
    event->is_recorded = true;
    event->slot = stream->slot;
    event->clock = sim_point_of_slot(stream->slot);
    event->seq = event->clock.seq[stream->slot];
    LEAVE(CUDA_SUCCESS);
}

CUresult CUDAAPI cuEventQuery(CUevent handle) {
    ENTER(true);
    const struct event *event = sim_event(handle, "the event");
    if (event == NULL) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    if (is_foreign(event)) {
        sim_pass_time();
        LEAVE(is_foreign_done(event) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY);
    }
    LEAVE(event->is_recorded ? sim_query(&event->clock) : CUDA_SUCCESS);
}

CUresult CUDAAPI cuEventSynchronize(CUevent handle) {
    ENTER(true);
    const struct event *event = sim_event(handle, "the event");
    if (event == NULL) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    int tries = 0;
    if (is_foreign(event)) while (!is_foreign_done(event) && sim_sleep(&tries));
    else if (event->is_recorded) sim_finish(event->clock);
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
    if (!sim_has_executed(&start->clock) || !sim_has_executed(&end->clock)) LEAVE(CUDA_ERROR_NOT_READY);
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
        if (!event->is_destroyed && event->context->device == device) destroy_event(event);
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
    return strcmp(what, "unseen") == 0 ? sim_unseen_work() : UINT64_MAX;
}
