/*
 * The rules for consumers: a producer that calls the handler step by step, and counts what comes back.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit.h"

enum { MOST_TASKS = 256 };

struct feeder {
    struct ArrowAsyncProducer producer;
    struct ArrowAsyncDeviceStreamHandler handler;
    const struct implementation *implementation;
    void *consumer;
    struct reading reading;
    _Atomic int64_t requested, requests, bad_requests, cancels, in_error, in_release, after_release, late_extracts;
    _Atomic int extracts[MOST_TASKS], releases[MOST_TASKS];
    _Atomic int is_in_error, is_in_release, is_released, is_closed, fails_extracts;
    int64_t sent;
    int schema_left;
};

/* The data of one task. */
struct data {
    struct feeder *feeder;
    int64_t index;
    int64_t values[ROWS];
    const void *root_buffers[1], *column_buffers[2];
    struct ArrowArray column;
    struct ArrowArray *children[1];
};

static void note_call(struct feeder *feeder) {
    if (feeder->is_in_error) feeder->in_error++;
    if (feeder->is_in_release) feeder->in_release++;
    if (feeder->is_released) feeder->after_release++;
}

static void feeder_request(struct ArrowAsyncProducer *self, int64_t n) {
    struct feeder *feeder = self->private_data;
    note_call(feeder);
    feeder->requests++;
    if (n <= 0) feeder->bad_requests++;
    else if (feeder->requested < (int64_t)1 << 40) feeder->requested += n < (int64_t)1 << 40 ? n : (int64_t)1 << 40;
}

static void feeder_cancel(struct ArrowAsyncProducer *self) {
    struct feeder *feeder = self->private_data;
    note_call(feeder);
    feeder->cancels++;
}

static void release_column(struct ArrowArray *array) { array->release = NULL; }

static void release_data(struct ArrowArray *array) {
    struct data *data = array->private_data;
    data->feeder->releases[data->index]++;
    if (array->children[0]->release != NULL) array->children[0]->release(array->children[0]);
    array->release = NULL; /* the data are kept: a second release is counted */
}

static int extract(struct ArrowAsyncTask *task, struct ArrowDeviceArray *out) {
    struct data *data = task->private_data;
    struct feeder *feeder = data->feeder;
    feeder->extracts[data->index]++;
    if (feeder->fails_extracts) return EIO;
    struct ArrowDeviceArray unused;
    if (out == NULL) out = &unused;
    memset(out, 0, sizeof(*out));
    for (int i = 0; i < ROWS; i++) data->values[i] = ROWS * data->index + i;
    data->column_buffers[1] = data->values;
    data->column = (struct ArrowArray){
        .length = ROWS, .n_buffers = 2, .buffers = data->column_buffers, .release = release_column};
    data->children[0] = &data->column;
    out->array = (struct ArrowArray){.length = ROWS,
        .n_buffers = 1,
        .buffers = data->root_buffers,
        .n_children = 1,
        .children = data->children,
        .release = release_data,
        .private_data = data};
    out->device_type = ARROW_DEVICE_CPU;
    out->device_id = -1;
    if (out == &unused) release_data(&out->array);
    return 0;
}

static void release_schema(struct ArrowSchema *schema) {
    for (int64_t i = 0; i < schema->n_children; i++) {
        if (schema->children[i]->release != NULL) schema->children[i]->release(schema->children[i]);
        free(schema->children[i]);
    }
    free(schema->children);
    schema->release = NULL;
}

static int feed_schema(struct feeder *feeder, const char *format) {
    struct ArrowSchema *child = calloc(1, sizeof(*child)), root = {.format = "+s", .name = ""};
    child->format = format;
    child->name = "n";
    child->release = release_schema;
    root.n_children = 1;
    root.children = malloc(sizeof(child));
    root.children[0] = child;
    root.release = release_schema;
    feeder->handler.producer = &feeder->producer;
    int status = feeder->handler.on_schema(&feeder->handler, &root);
    feeder->schema_left = root.release != NULL;
    return status;
}

/* Sends a task once it was requested. The memory of the task is used for something else afterwards. */
static int feed_task(struct feeder *feeder) {
    AWAIT(feeder->requested > feeder->sent || feeder->cancels > 0, PATIENCE_MS);
    if (feeder->requested <= feeder->sent && feeder->cancels == 0) return -1;
    struct data *data = calloc(1, sizeof(*data));
    data->feeder = feeder;
    data->index = feeder->sent++;
    struct ArrowAsyncTask task = {extract, data};
    /* {"key": "value"} in the form of metadata. */
    char metadata[] = {1, 0, 0, 0, 3, 0, 0, 0, 'k', 'e', 'y', 5, 0, 0, 0, 'v', 'a', 'l', 'u', 'e'};
    int status = feeder->handler.on_next_task(&feeder->handler, &task, data->index % 2 == 0 ? metadata : NULL);
    memset(&task, 0x55, sizeof(task));
    memset(metadata, 0x55, sizeof(metadata));
    return status;
}

static int feed_end(struct feeder *feeder) { return feeder->handler.on_next_task(&feeder->handler, NULL, NULL); }

static void feed_error(struct feeder *feeder) {
    char message[] = "planned failure";
    feeder->is_in_error = 1;
    feeder->handler.on_error(&feeder->handler, EIO, message, NULL);
    feeder->is_in_error = 0;
    memset(message, 0x55, sizeof(message) - 1);
}

/* The producer's struct ends with the release. */
static void feed_release(struct feeder *feeder) {
    feeder->is_in_release = 1;
    feeder->handler.release(&feeder->handler);
    feeder->is_in_release = 0;
    feeder->is_released = 1;
}

/* Never freed: a consumer that breaks the rules may call it at any time. */
static struct feeder *new_feeder(const struct implementation *implementation) {
    struct feeder *feeder = calloc(1, sizeof(*feeder));
    feeder->implementation = implementation;
    feeder->producer.device_type = ARROW_DEVICE_CPU;
    feeder->producer.request = feeder_request;
    feeder->producer.cancel = feeder_cancel;
    feeder->producer.private_data = feeder;
    feeder->consumer = implementation->consume(&feeder->handler);
    return feeder;
}

static void *read_on_thread(void *argument) {
    struct feeder *feeder = argument;
    feeder->implementation->begin_read(feeder->consumer, &feeder->reading);
    return NULL;
}

static void begin_read(struct feeder *feeder) {
    feeder->reading.status = PENDING;
    on_thread(read_on_thread, feeder);
}

/* The result of the read under way: 1, 0, a negated errno, or PENDING. */
static int end_read(struct feeder *feeder) {
    AWAIT(feeder->reading.status != PENDING, PATIENCE_MS);
    return feeder->reading.status;
}

static int read_one(struct feeder *feeder) {
    begin_read(feeder);
    return end_read(feeder);
}

static void *close_on_thread(void *argument) {
    struct feeder *feeder = argument;
    feeder->implementation->close(feeder->consumer);
    feeder->is_closed = 1;
    return NULL;
}

static void close_consumer(struct feeder *feeder) {
    on_thread(close_on_thread, feeder);
    AWAIT(feeder->is_closed, LOOK_MS);
}

static const char *status_text(int status) { return status == PENDING ? "nothing within 3 s" : "another result"; }

/* Sends `count` batches and the end, and reads all of it. */
static int read_all(struct feeder *feeder, int count, char *detail) {
    if (feed_schema(feeder, "l") != 0) FAIL("on_schema refused a schema of one int64");
    for (int i = 0; i < count; i++) {
        begin_read(feeder);
        int status = feed_task(feeder);
        if (status == -1) FAIL("task %d was never requested, although a read waits for it", i);
        if (status != 0) FAIL("on_next_task refused task %d with %d", i, status);
        status = end_read(feeder);
        if (status != 1) FAIL("read %d gave %s (%d)", i, status_text(status), status);
        if (feeder->reading.first != ROWS * i) FAIL("batch %d begins with %d", i, (int)feeder->reading.first);
    }
    if (feed_end(feeder) != 0) FAIL("on_next_task refused the end");
    feed_release(feeder);
    int status = read_one(feeder);
    if (status != 0) FAIL("the read at the end gave %s (%d)", status_text(status), status);
    return 0;
}

#define RULE(name) static int name(const struct implementation *implementation, char *detail)
#define FEEDER struct feeder *feeder = new_feeder(implementation)

RULE(fills_handler) {
    FEEDER;
    const struct ArrowAsyncDeviceStreamHandler *handler = &feeder->handler;
    if (!handler->on_schema || !handler->on_next_task || !handler->on_error || !handler->release) FAIL("a callback is NULL");
    if (feed_schema(feeder, "l") == 0) feed_end(feeder);
    feed_release(feeder);
    close_consumer(feeder);
    return 0;
}

RULE(reads_all) {
    FEEDER;
    if (read_all(feeder, 10, detail)) return 1;
    close_consumer(feeder);
    return 0;
}

RULE(takes_schema) {
    FEEDER;
    int failed = read_all(feeder, 1, detail);
    close_consumer(feeder);
    if (!failed && feeder->schema_left) FAIL("the schema was neither released nor moved when on_schema returned");
    return failed;
}

RULE(requests_positive) {
    FEEDER;
    if (read_all(feeder, 10, detail)) return 1;
    close_consumer(feeder);
    if (feeder->bad_requests != 0) FAIL("%d requests of 0 or fewer", (int)feeder->bad_requests);
    return 0;
}

/* Sends all that is requested while nobody reads, up to MOST_TASKS / 2. */
static int feed_idle(struct feeder *feeder) {
    for (int i = 0; i < MOST_TASKS / 2; i++) {
        AWAIT(feeder->requested > feeder->sent, LOOK_MS);
        if (feeder->requested <= feeder->sent) return 0;
        if (feed_task(feeder) != 0) return 1;
    }
    return 1;
}

RULE(back_pressure) {
    FEEDER;
    if (feed_schema(feeder, "l") != 0) FAIL("on_schema refused a schema of one int64");
    begin_read(feeder);
    feed_task(feeder);
    if (end_read(feeder) != 1) FAIL("no batch was read");
    int is_unbounded = feed_idle(feeder);
    int64_t sent = feeder->sent;
    feed_end(feeder);
    feed_release(feeder);
    close_consumer(feeder);
    if (is_unbounded) FAIL("%d tasks were requested or refused, while nobody reads", (int)sent);
    return 0;
}

RULE(demand_follows) {
    FEEDER;
    if (read_all(feeder, 100, detail)) return 1;
    close_consumer(feeder);
    return 0;
}

RULE(extracts_once) {
    FEEDER;
    if (read_all(feeder, 20, detail)) return 1;
    close_consumer(feeder);
    sleep_us(1000 * LOOK_MS);
    for (int i = 0; i < 20; i++) {
        if (feeder->extracts[i] != 1) FAIL("task %d was extracted %d times", i, feeder->extracts[i]);
    }
    return 0;
}

static int check_released(struct feeder *feeder, char *detail) {
    int64_t missing = 0;
    for (int turn = 0; turn < PATIENCE_MS / 10; turn++) {
        missing = 0;
        for (int64_t i = 0; i < feeder->sent; i++) missing += feeder->releases[i] == 0;
        if (missing == 0) break;
        sleep_us(10000);
    }
    sleep_us(10000);
    for (int64_t i = 0; i < feeder->sent; i++) {
        if (feeder->extracts[i] == 0) FAIL("%d of %d tasks were not cleaned up", (int)missing, (int)feeder->sent);
        if (feeder->releases[i] != 1) FAIL("the array of task %d was released %d times", (int)i, feeder->releases[i]);
    }
    return 0;
}

RULE(releases_arrays) {
    FEEDER;
    if (read_all(feeder, 10, detail)) return 1;
    close_consumer(feeder);
    return check_released(feeder, detail);
}

/* A queue is filled before anything is read, then the stream ends, and then it is read. */
RULE(queue_outlives) {
    FEEDER;
    if (feed_schema(feeder, "l") != 0) FAIL("on_schema refused a schema of one int64");
    begin_read(feeder);
    if (feed_task(feeder) != 0) FAIL("no task was taken");
    int sent = 1;
    while (feeder->requested > feeder->sent && sent < 3) sent += feed_task(feeder) == 0;
    feed_end(feeder);
    feed_release(feeder);
    int status = end_read(feeder);
    for (int i = 1; status == 1 && i < sent; i++) status = read_one(feeder);
    if (status != 1) FAIL("a batch that was sent before the end was not read: %s (%d)", status_text(status), status);
    if (read_one(feeder) != 0) FAIL("the end did not come");
    close_consumer(feeder);
    return 0;
}

/* Leaves what it was sent in the queue, and closes. */
static struct feeder *leaving(const struct implementation *implementation) {
    FEEDER;
    if (feed_schema(feeder, "l") != 0) return feeder;
    for (int i = 0; i < 2 && feeder->requested > feeder->sent; i++) feed_task(feeder);
    close_consumer(feeder);
    return feeder;
}

RULE(cancels) {
    struct feeder *feeder = leaving(implementation);
    AWAIT(feeder->cancels > 0, 500);
    int status = 0;
    if (feeder->cancels == 0) {
        for (int i = 0; i < 20 && status == 0 && feeder->requested > feeder->sent; i++) status = feed_task(feeder);
    }
    int is_told = feeder->cancels > 0 || status > 0;
    if (status <= 0) feed_end(feeder);
    feed_release(feeder);
    if (!is_told) FAIL("it neither cancelled nor refused a task, after it was closed");
    return 0;
}

static int after_leaving(struct feeder *feeder, char *detail) {
    AWAIT(feeder->cancels > 0, 500);
    int status = 0;
    for (int i = 0; i < 2 && status == 0 && feeder->requested > feeder->sent; i++) status = feed_task(feeder);
    if (status > 0) feeder->sent--; /* what it refuses is not its own */
    if (status <= 0 && feeder->cancels == 0) feed_end(feeder);
    feed_release(feeder);
    return check_released(feeder, detail);
}

RULE(cleans_up) { return after_leaving(leaving(implementation), detail); }

RULE(tasks_after_cancel) {
    struct feeder *feeder = leaving(implementation);
    AWAIT(feeder->cancels > 0, 500);
    /* Without a cancellation there is none that tasks could follow. */
    int status = 0;
    if (feeder->cancels > 0 && feeder->requested > feeder->sent) status = feed_task(feeder);
    if (status <= 0 && feeder->cancels == 0) feed_end(feeder);
    feed_release(feeder);
    if (status < 0) FAIL("on_next_task gave %d", status);
    return 0;
}

static struct feeder *failing(const struct implementation *implementation, int *status) {
    FEEDER;
    *status = 0;
    if (feed_schema(feeder, "l") != 0) return feeder;
    begin_read(feeder);
    feed_task(feeder);
    end_read(feeder);
    feed_error(feeder);
    feed_release(feeder);
    *status = read_one(feeder);
    return feeder;
}

RULE(error_arrives) {
    int status;
    struct feeder *feeder = failing(implementation, &status);
    close_consumer(feeder);
    if (status >= 0) FAIL("the read after on_error gave %s (%d)", status_text(status), status);
    return 0;
}

RULE(error_code) {
    int status;
    struct feeder *feeder = failing(implementation, &status);
    close_consumer(feeder);
    if (status != -EIO) FAIL("the read after on_error(EIO) gave %d", status == PENDING ? 0 : status);
    return 0;
}

RULE(error_no_call) {
    int status;
    struct feeder *feeder = failing(implementation, &status);
    close_consumer(feeder);
    if (feeder->in_error != 0) FAIL("%d calls of the producer within on_error", (int)feeder->in_error);
    return 0;
}

RULE(error_cleans_up) {
    FEEDER;
    if (feed_schema(feeder, "l") != 0) FAIL("on_schema refused a schema of one int64");
    for (int i = 0; i < 4 && feeder->requested > feeder->sent; i++) feed_task(feeder);
    feed_error(feeder);
    feed_release(feeder);
    for (int i = 0; i < 6 && read_one(feeder) == 1; i++) continue;
    close_consumer(feeder);
    return check_released(feeder, detail);
}

RULE(error_first) {
    FEEDER;
    begin_read(feeder);
    feeder->handler.producer = &feeder->producer;
    feed_error(feeder);
    feed_release(feeder);
    int status = end_read(feeder);
    close_consumer(feeder);
    if (status >= 0) FAIL("the read after on_error gave %s (%d)", status_text(status), status);
    return 0;
}

RULE(release_only) {
    FEEDER;
    begin_read(feeder);
    feed_release(feeder);
    int status = end_read(feeder);
    close_consumer(feeder);
    if (status == PENDING) FAIL("a read waits, although the handler was released");
    return 0;
}

RULE(release_early) {
    FEEDER;
    if (feed_schema(feeder, "l") != 0) FAIL("on_schema refused a schema of one int64");
    begin_read(feeder);
    feed_task(feeder);
    end_read(feeder);
    begin_read(feeder);
    feed_release(feeder);
    int status = end_read(feeder);
    close_consumer(feeder);
    if (status == PENDING) FAIL("a read waits, although the handler was released");
    return 0;
}

RULE(release_no_call) {
    FEEDER;
    int failed = read_all(feeder, 10, detail);
    close_consumer(feeder);
    if (!failed && feeder->in_release != 0) FAIL("%d calls of the producer within release", (int)feeder->in_release);
    return failed;
}

/* The queue is read after the release only. */
RULE(no_late_call) {
    FEEDER;
    if (feed_schema(feeder, "l") != 0) FAIL("on_schema refused a schema of one int64");
    for (int i = 0; i < 3 && feeder->requested > feeder->sent; i++) feed_task(feeder);
    feed_end(feeder);
    feed_release(feeder);
    for (int i = 0; i < 6 && read_one(feeder) == 1; i++) continue;
    close_consumer(feeder);
    sleep_us(1000 * LOOK_MS);
    if (feeder->after_release != 0) FAIL("%d calls of the producer after release", (int)feeder->after_release);
    return 0;
}

RULE(empty) {
    FEEDER;
    if (read_all(feeder, 0, detail)) return 1;
    close_consumer(feeder);
    return 0;
}

static void *schema_on_thread(void *feeder) { return (void *)(intptr_t)feed_schema(feeder, "l"); }
static void *task_on_thread(void *feeder) { return (void *)(intptr_t)feed_task(feeder); }
static void *end_on_thread(void *feeder) { return (void *)(intptr_t)feed_end(feeder); }
static void *release_on_thread(void *feeder) { return feed_release(feeder), NULL; }

static int elsewhere(void *(*call)(void *), struct feeder *feeder) {
    pthread_t thread;
    void *result;
    pthread_create(&thread, NULL, call, feeder);
    pthread_join(thread, &result);
    return (int)(intptr_t)result;
}

RULE(any_thread) {
    FEEDER;
    if (elsewhere(schema_on_thread, feeder) != 0) FAIL("on_schema failed");
    for (int i = 0; i < 10; i++) {
        begin_read(feeder);
        if (elsewhere(task_on_thread, feeder) != 0) FAIL("on_next_task failed");
        if (end_read(feeder) != 1 || feeder->reading.first != ROWS * i) FAIL("batch %d was not read", i);
    }
    elsewhere(end_on_thread, feeder);
    elsewhere(release_on_thread, feeder);
    if (read_one(feeder) != 0) FAIL("the end did not come");
    close_consumer(feeder);
    return 0;
}

static struct feeder *extract_failing(const struct implementation *implementation, int *status) {
    FEEDER;
    if ((*status = feed_schema(feeder, "l")) != 0) return feeder;
    feeder->fails_extracts = 1;
    begin_read(feeder);
    feed_task(feeder);
    AWAIT(feeder->extracts[0] > 0, PATIENCE_MS);
    feed_error(feeder);
    feed_release(feeder);
    *status = end_read(feeder);
    return feeder;
}

RULE(extract_fails) {
    int status;
    struct feeder *feeder = extract_failing(implementation, &status);
    close_consumer(feeder);
    if (status >= 0) FAIL("the read of a task whose data cannot be extracted gave %s (%d)", status_text(status), status);
    return 0;
}

RULE(bad_schema) {
    FEEDER;
    begin_read(feeder);
    int status = feed_schema(feeder, "?");
    if (status == 0) {
        AWAIT(feeder->cancels > 0, 500);
        if (feeder->cancels == 0) feed_end(feeder);
    }
    feed_release(feeder);
    int result = end_read(feeder);
    close_consumer(feeder);
    if (result >= 0) FAIL("the read of a stream of an unknown type gave %s (%d)", status_text(result), result);
    return 0;
}

RULE(never_started) {
    FEEDER;
    close_consumer(feeder);
    int status = feed_schema(feeder, "l");
    if (status == 0) {
        AWAIT(feeder->cancels > 0, 500);
        if (feeder->cancels == 0) feed_end(feeder);
    }
    feed_release(feeder);
    AWAIT(feeder->is_closed, PATIENCE_MS);
    if (!feeder->is_closed) FAIL("it does not close, although it was released");
    return 0;
}

#define H "ArrowAsyncDeviceStreamHandler."
#define P "ArrowAsyncProducer."
#define T "ArrowAsyncTask."

const struct rule consumer_rules[] = {
    {"fills-handler", H "on_schema", "this is intended to be created by the consumer (all four callbacks)", fills_handler},
    {"reads-all", H "on_next_task", "Handler for receiving data", reads_all},
    {"takes-schema", H "on_schema", "must be released or moved by the handler", takes_schema},
    {"requests-positive", P "request", "It is invalid for a consumer to call this with a value of n <= 0", requests_positive},
    {"back-pressure", P "request", "This object allows the consumer to perform backpressure and flow control", back_pressure},
    {"demand-follows", P "request", "must be called in order to start receiving calls (100 batches, one after the other)", demand_follows},
    {"extracts-once", T "extract_data", "It is only valid to call this method exactly once", extracts_once},
    {"releases-arrays", T "extract_data", "Ownership of the Array is passed to the consumer, and so it must be released separately", releases_arrays},
    {"queue-outlives", H "on_next_task", "it must copy or move the contents of it (tasks in a queue outlive the release)", queue_outlives},
    {"any-thread", H "on_next_task", "must not call this concurrently from multiple different threads (one after the other)", any_thread},
    {"ends-empty", H "on_next_task", "The producer indicates the end of the stream by passing NULL (without any batch)", empty},
    {"cancels", P "cancel", "signals a producer that it must eventually stop making calls to on_next_task", cancels},
    {"cleans-up", T "extract_data", "any required cleanup should be performed as part of the invocation of extract_data", cleans_up},
    {"tasks-after-cancel", H "on_next_task", "A consumer must be prepared to receive one or more calls even after calling cancel", tasks_after_cancel},
    {"extract-fails", T "extract_data", "If a non-0 value is returned then it should be followed by a call to on_error", extract_fails},
    {"error-arrives", H "on_error", "Handler for encountering an error", error_arrives},
    {"error-code", H "on_error", "The code passed in should be errno-compatible (the reader learns it)", error_code},
    {"error-first", H "on_schema", "With the exception of an error occurring (on_error before on_schema)", error_first},
    {"error-no-call", H "on_error", "This callback must not call any methods of an ArrowAsyncProducer object", error_no_call},
    {"error-cleans-up", T "extract_data", "any required cleanup should be performed as part of extract_data (of a queue before an error)", error_cleans_up},
    {"release-only", H "release", "valid to be called by a producer with or without a preceding call to request (before on_schema)", release_only},
    {"release-early", H "release", "Should always be called by a producer when it is done (without an end)", release_early},
    {"release-no-call", H "release", "The release callback must not call any methods of an ArrowAsyncProducer object", release_no_call},
    {"no-late-call", H "producer", "must exist until the release callback is called (and is not used afterwards)", no_late_call},
    {"bad-schema", H "on_schema", "Return value: 0 if successful, errno-compatible error otherwise (an unknown type)", bad_schema},
    {"never-started", H "on_schema", "Return value: 0 if successful, errno-compatible error otherwise (after it was closed)", never_started},
};
const int consumer_rule_count = sizeof(consumer_rules) / sizeof(consumer_rules[0]);
