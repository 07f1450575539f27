/*
 * The rules for producers: a consumer that looks at everything it is called with.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit.h"

enum {
    BEFORE_PRODUCER = 1,
    BEFORE_SCHEMA = 2,
    CONCURRENT = 4,
    NESTED = 8,
    AFTER_RELEASE = 16,
    AFTER_ERROR = 32,
    AFTER_END = 64,
    TOO_MANY = 128,
    PRODUCER_GONE = 256,
    WRONG_DATA = 512,
    WRONG_DEVICE = 1024,
    WRONG_SCHEMA = 2048,
    IN_CANCEL = 4096,
    AFTER_REFUSAL = 8192,
    MOST_TASKS = 4096
};

static const char *const FAULTS[] = {
    "a callback came before the producer was set",
    "a task came before on_schema",
    "two callbacks ran concurrently",
    "a callback came within a request of the same thread",
    "a callback came after release",
    "a callback other than release came after on_error",
    "a callback other than release came after the end",
    "more tasks came than were requested",
    "the producer's struct was changed or freed before release",
    "a batch had other values, or came out of order",
    "a batch was on another device than the producer's",
    "the schema is not that of a struct of one int64",
    "a callback other than on_error came within cancel",
    "a callback other than release came after a refusal",
};

struct probe {
    struct ArrowAsyncDeviceStreamHandler handler;
    /* What it does. */
    int64_t request_in_schema, request_in_task, cancel_at, refuse_at;
    int cancels, cancels_on_threads, refuses_schema, holds, is_slow;
    int64_t request_after_cancel;
    /* What it saw. */
    _Atomic int64_t schemas, tasks, ends, errors, releases, requested, extracted;
    _Atomic int faults, inside, is_refused;
    _Atomic int error_code;
    struct ArrowAsyncProducer copy;
    struct ArrowSchema schema;
    struct ArrowAsyncTask held[MOST_TASKS];
    const struct implementation *implementation;
    int64_t batches, fail_after, delay_us;
};

static _Thread_local int in_request, in_cancel;

static void fault(struct probe *probe, int what) { atomic_fetch_or(&probe->faults, what); }

static void request(struct probe *probe, int64_t n) {
    if (n > 0) {
        int64_t before = probe->requested;
        probe->requested = before > INT64_MAX - n ? INT64_MAX : before + n;
    }
    if (probe->copy.request == NULL) return;
    in_request++;
    probe->copy.request(probe->handler.producer, n);
    in_request--;
}

static void cancel(struct probe *probe) {
    if (probe->copy.cancel == NULL) return;
    in_cancel++;
    probe->copy.cancel(probe->handler.producer);
    in_cancel--;
}

/* Looks at an array, and releases it. */
static void check_array(struct probe *probe, struct ArrowDeviceArray *array, int64_t index) {
    const struct ArrowArray *root = &array->array;
    if (root->release == NULL || root->length != ROWS || root->n_children != 1) {
        fault(probe, WRONG_DATA);
    } else {
        const struct ArrowArray *column = root->children[0];
        const int64_t *values = (const int64_t *)column->buffers[1] + column->offset + root->offset;
        for (int64_t i = 0; i < ROWS; i++) {
            if (values[i] != ROWS * index + i) fault(probe, WRONG_DATA);
        }
    }
    if (array->device_type != probe->copy.device_type) fault(probe, WRONG_DEVICE);
    if (root->release != NULL) array->array.release(&array->array);
}

static void extract(struct probe *probe, struct ArrowAsyncTask *task, int64_t index) {
    struct ArrowDeviceArray array;
    memset(&array, 0, sizeof(array));
    if (task->extract_data(task, &array) != 0) fault(probe, WRONG_DATA);
    else check_array(probe, &array, index);
    probe->extracted++;
}

static void enter(struct probe *probe, int is_release, int is_error) {
    if (atomic_exchange(&probe->inside, 1) != 0) fault(probe, CONCURRENT);
    if (in_request > 0 && !is_error) fault(probe, NESTED);
    if (in_cancel > 0 && !is_error) fault(probe, IN_CANCEL);
    if (probe->releases > 0) fault(probe, AFTER_RELEASE);
    if (!is_release && probe->errors > 0) fault(probe, AFTER_ERROR);
    if (!is_release && probe->ends > 0) fault(probe, AFTER_END);
    if (!is_release && probe->is_refused) fault(probe, AFTER_REFUSAL);
    if (!is_release && probe->handler.producer == NULL) fault(probe, BEFORE_PRODUCER);
    if (probe->schemas > 0 && probe->handler.producer != NULL &&
        memcmp(&probe->copy, probe->handler.producer, sizeof(probe->copy)) != 0) {
        fault(probe, PRODUCER_GONE);
    }
    if (probe->is_slow) sleep_us(500);
}

static void leave(struct probe *probe) { probe->inside = 0; }

static int probe_schema(struct ArrowAsyncDeviceStreamHandler *handler, struct ArrowSchema *schema) {
    struct probe *probe = handler->private_data;
    enter(probe, 0, 0);
    if (handler->producer != NULL) probe->copy = *handler->producer;
    probe->schemas++;
    if (schema == NULL || schema->release == NULL || strcmp(schema->format, "+s") != 0 || schema->n_children != 1 ||
        strcmp(schema->children[0]->format, "l") != 0 || strcmp(schema->children[0]->name, "n") != 0) {
        fault(probe, WRONG_SCHEMA);
    }
    if (schema != NULL && probe->schemas == 1) {
        probe->schema = *schema;
        schema->release = NULL;
    }
    if (probe->request_in_schema > 0) request(probe, probe->request_in_schema);
    if (probe->cancel_at == 0) cancel(probe);
    if (probe->refuses_schema) probe->is_refused = 1;
    leave(probe);
    return probe->refuses_schema ? EINVAL : 0;
}

static void *cancel_on_thread(void *argument) {
    cancel(argument);
    return NULL;
}

/* The producer cannot come to its end meanwhile: it waits for the callback that this is called in. */
static void cancel_within(struct probe *probe) {
    pthread_t threads[4];
    for (int i = 0; i < (probe->cancels > 0 ? probe->cancels : 1); i++) cancel(probe);
    for (int i = 0; i < 4 && probe->cancels_on_threads; i++) pthread_create(&threads[i], NULL, cancel_on_thread, probe);
    for (int i = 0; i < 4 && probe->cancels_on_threads; i++) pthread_join(threads[i], NULL);
    if (probe->request_after_cancel > 0) probe->copy.request(probe->handler.producer, probe->request_after_cancel);
}

static int probe_task(struct ArrowAsyncDeviceStreamHandler *handler, struct ArrowAsyncTask *task, const char *metadata) {
    struct probe *probe = handler->private_data;
    (void)metadata;
    enter(probe, 0, 0);
    if (probe->schemas == 0) fault(probe, BEFORE_SCHEMA);
    if (task == NULL) {
        probe->ends++;
        leave(probe);
        return 0;
    }
    int64_t index = probe->tasks;
    if (index >= probe->requested) fault(probe, TOO_MANY);
    if (index == probe->refuse_at) {
        probe->is_refused = 1;
        probe->tasks++;
        leave(probe);
        return EINVAL;
    }
    if (probe->holds && index < MOST_TASKS) probe->held[index] = *task;
    else extract(probe, task, index);
    if (probe->request_in_task > 0) request(probe, probe->request_in_task);
    if (index + 1 == probe->cancel_at) cancel_within(probe);
    probe->tasks++;
    leave(probe);
    return 0;
}

static void probe_error(
    struct ArrowAsyncDeviceStreamHandler *handler, int code, const char *message, const char *metadata) {
    struct probe *probe = handler->private_data;
    (void)message;
    (void)metadata;
    /* It may come within a request. */
    int is_nested = in_request > 0;
    if (!is_nested) enter(probe, 0, 1);
    probe->error_code = code;
    probe->errors++;
    if (!is_nested) leave(probe);
}

static void probe_release(struct ArrowAsyncDeviceStreamHandler *handler) {
    struct probe *probe = handler->private_data;
    enter(probe, 1, 0);
    probe->releases++;
    leave(probe);
}

/* Never freed: a producer that breaks the rules may call it at any time. */
static struct probe *new_probe(void) {
    struct probe *probe = calloc(1, sizeof(*probe));
    probe->handler.on_schema = probe_schema;
    probe->handler.on_next_task = probe_task;
    probe->handler.on_error = probe_error;
    probe->handler.release = probe_release;
    probe->handler.private_data = probe;
    probe->cancel_at = probe->refuse_at = -1;
    return probe;
}

static void *produce_on_thread(void *argument) {
    struct probe *probe = argument;
    probe->implementation->produce(&probe->handler, probe->batches, probe->fail_after, probe->delay_us);
    return NULL;
}

static void start(struct probe *probe, const struct implementation *implementation, int64_t batches) {
    probe->implementation = implementation;
    probe->batches = batches;
    if (probe->fail_after == 0) probe->fail_after = -1;
    on_thread(produce_on_thread, probe);
}

/* Waits for the release, and then a little longer. `allowed` are the faults that do not count. */
static int finish(struct probe *probe, int allowed, char *detail) {
    AWAIT(probe->releases > 0, PATIENCE_MS);
    if (probe->releases == 0) {
        snprintf(detail, DETAIL_BYTES, "no release within %d ms (schemas %d, tasks %d, ends %d, errors %d)", PATIENCE_MS,
            (int)probe->schemas, (int)probe->tasks, (int)probe->ends, (int)probe->errors);
        return 1;
    }
    sleep_us(1000 * LOOK_MS / 4);
    if (probe->schema.release != NULL) probe->schema.release(&probe->schema);
    int faults = probe->faults & ~allowed;
    for (int i = 0; faults != 0; i++, faults >>= 1) {
        if (faults & 1) FAIL("%s", FAULTS[i]);
    }
    return 0;
}

/* Faults that rules of their own are about. */
enum { OTHERS = PRODUCER_GONE };

/* More than a stream has, so that a producer whose end has to be requested ends. */
enum { PLENTY = 100 };

/* A stream of ten batches, all requested in on_schema. `about` are the faults that count. */
static int plain(const struct implementation *implementation, int about, int is_slow, char *detail) {
    struct probe *probe = new_probe();
    probe->request_in_schema = PLENTY;
    probe->is_slow = is_slow;
    start(probe, implementation, 10);
    if (finish(probe, ~about, detail)) return 1;
    if (probe->tasks != 10) FAIL("%d tasks came, expected 10", (int)probe->tasks);
    return 0;
}

#define RULE(name) static int name(const struct implementation *implementation, char *detail)

RULE(sets_producer) { return plain(implementation, BEFORE_PRODUCER, 0, detail); }
RULE(schema_first) { return plain(implementation, BEFORE_SCHEMA, 0, detail); }
RULE(schema_valid) { return plain(implementation, WRONG_SCHEMA, 0, detail); }
RULE(serial) { return plain(implementation, CONCURRENT, 1, detail); }
RULE(in_order) { return plain(implementation, WRONG_DATA, 0, detail); }
RULE(device) { return plain(implementation, WRONG_DEVICE, 0, detail); }
RULE(after_end) { return plain(implementation, AFTER_END, 0, detail); }
RULE(after_release) { return plain(implementation, AFTER_RELEASE, 0, detail); }

RULE(schema_once) {
    struct probe *probe = new_probe();
    probe->request_in_schema = PLENTY;
    start(probe, implementation, 3);
    if (finish(probe, -1, detail)) return 1;
    if (probe->schemas != 1) FAIL("on_schema came %d times", (int)probe->schemas);
    return 0;
}

RULE(schema_moves) {
    struct probe *probe = new_probe();
    probe->request_in_schema = PLENTY;
    start(probe, implementation, 1);
    AWAIT(probe->releases > 0, PATIENCE_MS);
    /* It was moved in on_schema; the producer is gone, and it must still be readable. */
    if (probe->schema.release == NULL || strcmp(probe->schema.children[0]->name, "n") != 0) FAIL("the schema is gone");
    return finish(probe, -1, detail);
}

RULE(no_demand) {
    struct probe *probe = new_probe();
    start(probe, implementation, 3);
    AWAIT(probe->schemas > 0, PATIENCE_MS);
    sleep_us(1000 * LOOK_MS);
    if (probe->tasks != 0) FAIL("%d tasks came without a request", (int)probe->tasks);
    request(probe, PLENTY);
    return finish(probe, OTHERS, detail);
}

static int demand(const struct implementation *implementation, int64_t first, int64_t second, char *detail) {
    struct probe *probe = new_probe();
    probe->request_in_schema = first;
    start(probe, implementation, 10);
    AWAIT(probe->tasks >= first, PATIENCE_MS);
    if (second > 0) request(probe, second);
    int64_t sum = first + second;
    AWAIT(probe->tasks >= sum, PATIENCE_MS);
    sleep_us(1000 * LOOK_MS);
    int64_t seen = probe->tasks;
    request(probe, 100);
    if (finish(probe, OTHERS, detail)) return 1;
    if (seen != sum) FAIL("%d tasks came, and %d were requested", (int)seen, (int)sum);
    if (probe->tasks != 10) FAIL("%d tasks came in the end, expected 10", (int)probe->tasks);
    return 0;
}

RULE(demand_limits) { return demand(implementation, 3, 0, detail); }
RULE(demand_adds) { return demand(implementation, 2, 3, detail); }

RULE(demand_saturates) {
    struct probe *probe = new_probe();
    probe->request_in_schema = INT64_MAX;
    probe->request_in_task = INT64_MAX;
    start(probe, implementation, 10);
    if (finish(probe, OTHERS, detail)) return 1;
    if (probe->tasks != 10) FAIL("%d tasks came, expected 10", (int)probe->tasks);
    return 0;
}

static int one_by_one(const struct implementation *implementation, int about, char *detail) {
    struct probe *probe = new_probe();
    probe->request_in_schema = 1;
    probe->request_in_task = 1;
    start(probe, implementation, 10);
    if (finish(probe, ~about, detail)) return 1;
    if (probe->tasks != 10) FAIL("%d tasks came, expected 10", (int)probe->tasks);
    return 0;
}

RULE(request_within) { return one_by_one(implementation, 0, detail); }
RULE(no_recursion) { return one_by_one(implementation, NESTED, detail); }

RULE(request_elsewhere) {
    struct probe *probe = new_probe();
    probe->delay_us = 500;
    start(probe, implementation, 20);
    AWAIT(probe->schemas > 0, PATIENCE_MS);
    for (int i = 0; i < 20; i++) {
        request(probe, i == 19 ? PLENTY : 1);
        AWAIT(probe->tasks > i, PATIENCE_MS);
    }
    if (finish(probe, OTHERS, detail)) return 1;
    if (probe->tasks != 20) FAIL("%d tasks came, expected 20", (int)probe->tasks);
    return 0;
}

RULE(ends) {
    struct probe *probe = new_probe();
    probe->request_in_schema = PLENTY;
    start(probe, implementation, 5);
    if (finish(probe, OTHERS, detail)) return 1;
    if (probe->ends != 1 || probe->errors != 0) FAIL("%d ends, %d errors", (int)probe->ends, (int)probe->errors);
    return 0;
}

RULE(ends_unrequested) {
    struct probe *probe = new_probe();
    probe->request_in_schema = 5;
    start(probe, implementation, 5);
    return finish(probe, -1, detail);
}

RULE(ends_empty) {
    struct probe *probe = new_probe();
    probe->request_in_schema = 1;
    start(probe, implementation, 0);
    if (finish(probe, OTHERS, detail)) return 1;
    if (probe->schemas != 1 || probe->ends != 1) FAIL("%d schemas, %d ends", (int)probe->schemas, (int)probe->ends);
    return 0;
}

RULE(releases_once) {
    struct probe *probe = new_probe();
    probe->request_in_schema = PLENTY;
    start(probe, implementation, 5);
    if (finish(probe, -1, detail)) return 1;
    sleep_us(1000 * LOOK_MS);
    if (probe->releases != 1) FAIL("release came %d times", (int)probe->releases);
    return 0;
}

static int failing(const struct implementation *implementation, int about, struct probe **out, char *detail) {
    struct probe *probe = *out = new_probe();
    probe->request_in_schema = 100;
    probe->fail_after = 3;
    start(probe, implementation, 10);
    return finish(probe, ~about, detail);
}

RULE(reports_error) {
    struct probe *probe;
    if (failing(implementation, 0, &probe, detail)) return 1;
    if (probe->errors != 1 || probe->error_code == 0) FAIL("%d errors, code %d", (int)probe->errors, probe->error_code);
    return 0;
}

RULE(error_is_last) {
    struct probe *probe;
    return failing(implementation, AFTER_ERROR | AFTER_RELEASE, &probe, detail);
}

static int cancelling(
    const struct implementation *implementation, int64_t at, int times, int about, struct probe **out, char *detail) {
    struct probe *probe = *out = new_probe();
    probe->request_in_schema = at == 0 ? 0 : 5;
    probe->request_in_task = at == 0 ? 0 : 1;
    probe->cancel_at = at;
    probe->cancels = times;
    probe->delay_us = 200;
    start(probe, implementation, 100000);
    return finish(probe, ~about, detail);
}

RULE(cancel_stops) {
    struct probe *probe;
    if (cancelling(implementation, 3, 1, 0, &probe, detail)) return 1;
    if (probe->tasks > 8) FAIL("%d tasks came, and 8 were requested", (int)probe->tasks);
    return 0;
}

RULE(cancel_again) {
    struct probe *probe;
    if (cancelling(implementation, 3, 4, 0, &probe, detail)) return 1;
    if (probe->releases != 1) FAIL("release came %d times", (int)probe->releases);
    return 0;
}

RULE(cancel_no_error) {
    struct probe *probe;
    if (cancelling(implementation, 3, 1, 0, &probe, detail)) return 1;
    if (probe->errors != 0) FAIL("on_error came with code %d", probe->error_code);
    return 0;
}

RULE(cancel_no_call) {
    struct probe *probe;
    return cancelling(implementation, 3, 1, IN_CANCEL, &probe, detail);
}

RULE(cancel_first) {
    struct probe *probe;
    if (cancelling(implementation, 0, 1, 0, &probe, detail)) return 1;
    if (probe->tasks != 0) FAIL("%d tasks came without a request", (int)probe->tasks);
    return 0;
}

RULE(request_after_cancel) {
    struct probe *probe = new_probe();
    probe->request_in_schema = 2;
    probe->cancel_at = 2;
    probe->request_after_cancel = 50;
    start(probe, implementation, 100);
    if (finish(probe, -1, detail)) return 1;
    if (probe->tasks > 2) FAIL("%d tasks came, and 2 were requested before the cancellation", (int)probe->tasks);
    return 0;
}

RULE(cancel_threads) {
    struct probe *probe = new_probe();
    probe->request_in_schema = 100;
    probe->cancel_at = 2;
    probe->cancels_on_threads = 1;
    start(probe, implementation, 100000);
    if (finish(probe, OTHERS | AFTER_ERROR, detail)) return 1;
    if (probe->releases != 1) FAIL("release came %d times", (int)probe->releases);
    return 0;
}

static int refusing(const struct implementation *implementation, int64_t at, char *detail) {
    struct probe *probe = new_probe();
    probe->request_in_schema = 10;
    probe->refuses_schema = at < 0;
    probe->refuse_at = at;
    start(probe, implementation, 10);
    if (finish(probe, ~AFTER_REFUSAL, detail)) {
        if (probe->errors > 0) FAIL("on_error came after the refusal, code %d", probe->error_code);
        return 1;
    }
    return 0;
}

RULE(schema_refused) { return refusing(implementation, -1, detail); }
RULE(task_refused) { return refusing(implementation, 2, detail); }

static int bad_request(const struct implementation *implementation, int64_t n, char *detail) {
    struct probe *probe = new_probe();
    start(probe, implementation, 10);
    AWAIT(probe->schemas > 0, PATIENCE_MS);
    request(probe, n);
    AWAIT(probe->errors > 0 || probe->tasks > 0, PATIENCE_MS);
    if (probe->errors == 1) return finish(probe, OTHERS, detail);
    sleep_us(1000 * LOOK_MS);
    FAIL("no error came, and %d tasks", (int)probe->tasks);
}

RULE(request_zero) { return bad_request(implementation, 0, detail); }
RULE(request_negative) { return bad_request(implementation, -1, detail); }

static struct probe *holding(const struct implementation *implementation) {
    struct probe *probe = new_probe();
    probe->request_in_schema = PLENTY;
    probe->holds = 1;
    start(probe, implementation, 10);
    return probe;
}

static void *extract_held(void *argument) {
    struct probe *probe = argument;
    for (int64_t i = probe->tasks - 1; i >= 0; i--) extract(probe, &probe->held[i], i);
    return NULL;
}

RULE(extract_elsewhere) {
    struct probe *probe = holding(implementation);
    pthread_t thread;
    AWAIT(probe->tasks == 10, PATIENCE_MS);
    pthread_create(&thread, NULL, extract_held, probe);
    pthread_join(thread, NULL);
    return finish(probe, OTHERS, detail);
}

RULE(extract_late) {
    struct probe *probe = holding(implementation);
    AWAIT(probe->releases > 0, PATIENCE_MS);
    sleep_us(1000 * LOOK_MS);
    if (probe->tasks != 10) FAIL("%d tasks came, expected 10", (int)probe->tasks);
    extract_held(probe);
    return finish(probe, OTHERS, detail);
}

RULE(array_alone) {
    struct probe *probe = holding(implementation);
    struct ArrowDeviceArray arrays[10];
    AWAIT(probe->tasks == 10, PATIENCE_MS);
    if (probe->tasks != 10) FAIL("%d tasks came, expected 10", (int)probe->tasks);
    memset(arrays, 0, sizeof(arrays));
    for (int i = 0; i < 10; i++) {
        if (probe->held[i].extract_data(&probe->held[i], &arrays[i]) != 0) FAIL("extract_data failed");
    }
    if (finish(probe, OTHERS, detail)) return 1;
    for (int i = 0; i < 10; i++) check_array(probe, &arrays[i], i);
    return finish(probe, OTHERS, detail);
}

RULE(producer_stays) {
    struct probe *probe = new_probe();
    probe->request_in_schema = PLENTY;
    start(probe, implementation, 5);
    return finish(probe, ~PRODUCER_GONE, detail);
}

#define H "ArrowAsyncDeviceStreamHandler."
#define P "ArrowAsyncProducer."
#define T "ArrowAsyncTask."

const struct rule producer_rules[] = {
    {"sets-producer", H "producer", "MUST be populated by the producer BEFORE calling any callbacks other than release", sets_producer},
    {"producer-stays", H "producer", "must exist until the release callback is called", producer_stays},
    {"schema-first", H "on_schema", "this must be the first callback function which is called by a producer", schema_first},
    {"schema-once", H "on_schema", "must only be called exactly once", schema_once},
    {"schema-valid", H "on_schema", "Handler for receiving a schema", schema_valid},
    {"schema-moves", H "on_schema", "producer is giving ownership of the schema to the handler", schema_moves},
    {"schema-refused", H "on_schema", "A producer that receives a non-zero return here should stop producing and eventually call release instead", schema_refused},
    {"no-demand", P "request", "A consumer must call this function to start receiving on_next_task calls", no_demand},
    {"demand-limits", P "request", "should only call on_next_task at most the registered number of arrays", demand_limits},
    {"demand-adds", P "request", "must register the given number of additional arrays/batches", demand_adds},
    {"demand-saturates", P "request", "must register the given number of additional arrays/batches (2^63 - 1 and more)", demand_saturates},
    {"request-within", P "request", "must be valid to call this synchronously from within on_next_task or on_schema", request_within},
    {"no-recursion", P "request", "must not immediately call on_next_task so as to avoid recursion and reentrant callbacks", no_recursion},
    {"request-elsewhere", P "request", "must register the given number of additional arrays/batches (from another thread)", request_elsewhere},
    {"request-zero", P "request", "It is invalid to call this with a value of n <= 0, producers should error if given such a value", request_zero},
    {"request-negative", P "request", "It is invalid to call this with a value of n <= 0, producers should error if given such a value", request_negative},
    {"cancel-stops", P "cancel", "must eventually stop calling on_next_task and subsequently call release", cancel_stops},
    {"cancel-again", P "cancel", "must be idempotent: subsequent calls must be NOPs", cancel_again},
    {"cancel-threads", P "cancel", "must be idempotent and thread-safe", cancel_threads},
    {"cancel-no-error", P "cancel", "Successful cancellation should not result in the producer calling on_error", cancel_no_error},
    {"cancel-no-call", P "cancel", "This must not call any consumer-side handlers other than on_error", cancel_no_call},
    {"cancel-first", P "cancel", "must eventually call release on the async handler (without any request)", cancel_first},
    {"request-after-cancel", P "request", "After cancel has been called, additional calls to this function must be NOPs, but allowed", request_after_cancel},
    {"serial", H "on_next_task", "A producer must not call this concurrently from multiple different threads", serial},
    {"in-order", T "extract_data", "The order of ArrowAsyncTasks enables a consumer to ensure the order of data to process", in_order},
    {"device", P "device_type", "The device type that this stream produces data on", device},
    {"task-refused", H "on_next_task", "After receiving such a return, the only interaction is for the producer to call the release callback", task_refused},
    {"extract-elsewhere", T "extract_data", "the consumer can determine when the decoding occurs and on which thread", extract_elsewhere},
    {"extract-late", H "on_next_task", "it must copy or move the contents of it to a new ArrowAsyncTask (extracted after release)", extract_late},
    {"array-alone", T "extract_data", "Ownership of the Array is passed to the consumer, and so it must be released separately", array_alone},
    {"ends", H "on_next_task", "The producer indicates the end of the stream by passing NULL", ends},
    {"ends-unrequested", P "request", "at most the registered number of arrays/batches (the end is none, and needs no request)", ends_unrequested},
    {"ends-empty", H "on_next_task", "The producer indicates the end of the stream by passing NULL (without any batch)", ends_empty},
    {"after-end", H "on_next_task", "The producer indicates the end of the stream by passing NULL (and then only releases)", after_end},
    {"reports-error", H "on_error", "Handler for encountering an error", reports_error},
    {"error-is-last", H "on_error", "The producer should call release after this returns", error_is_last},
    {"releases-once", H "release", "Should always be called by a producer when it is done utilizing a handler", releases_once},
    {"after-release", H "release", "No callbacks should be called after this is called", after_release},
};
const int producer_rule_count = sizeof(producer_rules) / sizeof(producer_rules[0]);
