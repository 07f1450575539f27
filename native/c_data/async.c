/*
 * The callbacks of the asynchronous device stream, as machine code that runs without JavaScript: on any thread, at once, also from
 * inside a callback of the other side, and after the isolate is gone. `deno run -A tools/machine_code.ts` compiles this file to
 * src/c_data/async_machine_code.ts.
 *
 * Nothing here may refer to anything outside: no library function, no static data. The layouts of the structures that only
 * dipc knows are those of src/c_data/{bell,async_reader,async_producer,task_slots}.ts.
 */
#include "abi.h"
#include "system_call.h"

#define EXPORT __attribute__((visibility("hidden"), used))
#define LOAD(place) __c11_atomic_load(place, __ATOMIC_SEQ_CST)
#define STORE(place, value) __c11_atomic_store(place, value, __ATOMIC_SEQ_CST)
#define ADD(place, value) __c11_atomic_fetch_add(place, value, __ATOMIC_SEQ_CST)
#define EXCHANGE(place, value) __c11_atomic_exchange(place, value, __ATOMIC_SEQ_CST)
#define REPLACE(place, expected, value) \
    __c11_atomic_compare_exchange_strong(place, expected, value, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)

/* Values of errno.h. */
enum { FAULTY_ARGUMENT = 22, INPUT_OUTPUT = 5, CANCELLED = 125 };

enum { EVERYBODY = 0x7fffffff };

static inline void copy_words(volatile uint64_t *to, const uint64_t *from, int64_t words) {
    for (int64_t i = 0; i < words; i++) to[i] = from[i];
}

static inline void clear_words(volatile uint64_t *to, int64_t words) {
    for (int64_t i = 0; i < words; i++) to[i] = 0;
}

static inline void copy_bytes(volatile char *to, const char *from, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i++) to[i] = from[i];
}

/* Rung whenever something happened that JavaScript may wait for; one for all streams of an isolate. */
struct bell {
    _Atomic int32_t version;
    _Atomic int32_t waiters;
};

static inline void ring(struct bell *bell) {
    ADD(&bell->version, 1);
    if (LOAD(&bell->waiters) != 0) system_call(SYS_FUTEX, (long)&bell->version, FUTEX_WAKE_PRIVATE, EVERYBODY, 0);
}

/* Rings it on behalf of JavaScript. */
EXPORT int bell_ring(struct bell *bell, long unused) {
    (void)unused;
    ring(bell);
    return 0;
}

/* Waits until it is rung, unless that has happened since `seen` was read. */
EXPORT int bell_wait(struct bell *bell, long seen) {
    ADD(&bell->waiters, 1);
    system_call(SYS_FUTEX, (long)&bell->version, FUTEX_WAIT_PRIVATE, (int32_t)seen, 0);
    ADD(&bell->waiters, -1);
    return 0;
}

/* The consumer: a handler that queues tasks until JavaScript takes them. */

enum { OPEN = 0, SETTING = 1, ENDED = 2, FAILED = 3, LEFT = 4 };
/* What a producer did that the specification forbids. */
enum { NO_PRODUCER = 1, SCHEMA_TWICE = 2, NO_SCHEMA = 3, TOO_MANY = 4, AFTER_END = 5 };

struct entry {
    struct ArrowAsyncTask task;
    char *metadata;
};

struct reader {
    struct ArrowAsyncDeviceStreamHandler handler;
    /* JavaScript, and the producer until it calls release. */
    _Atomic int64_t users;
    struct bell *bell;
    void *(*allocate)(uint64_t);
    void (*free)(void *);
    struct ArrowAsyncProducer *producer;
    /* Tasks that came, those that JavaScript has taken, and those that were requested. */
    _Atomic int64_t added;
    _Atomic int64_t taken;
    _Atomic int64_t requested;
    int64_t window;
    _Atomic int32_t has_schema;
    _Atomic int32_t end;
    _Atomic int32_t is_released;
    /* JavaScript takes nothing any more. */
    _Atomic int32_t is_closed;
    _Atomic int32_t is_cancelled;
    /* The thread that calls the producer on behalf of JavaScript. */
    _Atomic int32_t caller;
    int32_t error;
    _Atomic int32_t violation;
    char *error_text;
    char *error_metadata;
    /* Of the stream, and of the task that was taken last. */
    char *metadata;
    char *task_metadata;
    int64_t device_type;
    struct ArrowSchema schema;
    struct entry entries[];
};

/* Longest metadata in bytes. */
enum { MOST_METADATA = 16 << 20 };

/* Size of metadata in the form of an ArrowSchema in bytes, 0 for none. */
static inline int64_t metadata_bytes(const char *metadata) {
    int32_t count, length;
    int64_t at = 4;
    if (metadata == 0) return 0;
    copy_bytes((char *)&count, metadata, 4);
    for (int64_t i = 0; i < 2 * (int64_t)count; i++) {
        copy_bytes((char *)&length, metadata + at, 4);
        if (length < 0 || at > MOST_METADATA) return 0;
        at += 4 + (int64_t)length;
    }
    return at;
}

static inline char *copy_of(struct reader *reader, const char *from, int64_t bytes) {
    if (bytes == 0) return 0;
    char *copy = reader->allocate(bytes);
    if (copy != 0) copy_bytes(copy, from, bytes);
    return copy;
}

static inline int64_t text_bytes(const char *text) {
    int64_t bytes = 0;
    if (text == 0) return 0;
    while (((const volatile char *)text)[bytes] != 0) bytes++;
    return bytes + 1;
}

static inline void discard(struct ArrowAsyncTask *task) {
    struct ArrowDeviceArray array;
    clear_words((uint64_t *)&array, sizeof(array) / 8);
    if (task->extract_data(task, &array) == 0 && array.array.release != 0) array.array.release(&array.array);
}

static inline int take_entry(struct reader *reader, struct ArrowAsyncTask *task, char **metadata) {
    int64_t taken = LOAD(&reader->taken);
    if (taken == LOAD(&reader->added)) return 0;
    struct entry *entry = &reader->entries[taken % reader->window];
    copy_words((uint64_t *)task, (const uint64_t *)&entry->task, 2);
    *metadata = entry->metadata;
    STORE(&reader->taken, taken + 1);
    return 1;
}

static inline void discard_all(struct reader *reader) {
    struct ArrowAsyncTask task;
    char *metadata;
    while (take_entry(reader, &task, &metadata)) {
        reader->free(metadata);
        discard(&task);
    }
}

static inline void drop_user(struct reader *reader) {
    if (ADD(&reader->users, -1) != 1) return;
    void (*free)(void *) = reader->free;
    discard_all(reader);
    if (reader->schema.release != 0) reader->schema.release(&reader->schema);
    free(reader->error_text);
    free(reader->error_metadata);
    free(reader->metadata);
    free(reader->task_metadata);
    free(reader);
}

static inline int violate(struct reader *reader, int32_t what) {
    int32_t none = 0;
    REPLACE(&reader->violation, &none, what);
    ring(reader->bell);
    return FAULTY_ARGUMENT;
}

/* A producer may free its struct when this callback returns: waits until no other thread calls it. A second at most. */
static inline void await_caller(struct reader *reader) {
    int32_t caller = LOAD(&reader->caller);
    if (caller == 0 || caller == system_call(SYS_GETTID, 0, 0, 0, 0)) return;
    volatile int64_t second[2];
    second[0] = 1;
    second[1] = 0;
    system_call(SYS_FUTEX, (long)&reader->caller, FUTEX_WAIT_PRIVATE, caller, (long)second);
}

static inline int begin_end(struct reader *reader) {
    int32_t open = OPEN;
    return REPLACE(&reader->end, &open, SETTING);
}

static inline void finish_end(struct reader *reader, int32_t how) {
    STORE(&reader->end, how);
    await_caller(reader);
    ring(reader->bell);
}

EXPORT int reader_on_schema(struct ArrowAsyncDeviceStreamHandler *handler, struct ArrowSchema *schema) {
    struct reader *reader = handler->private_data;
    int is_there = schema != 0 && schema->release != 0;
    int32_t fault = 0;
    if (LOAD(&reader->end) != OPEN) fault = AFTER_END;
    else if (LOAD(&reader->has_schema) != 0) fault = SCHEMA_TWICE;
    else if (handler->producer == 0) fault = NO_PRODUCER;
    else if (!is_there) fault = NO_SCHEMA;
    if (fault != 0 || LOAD(&reader->is_closed) != 0) {
        if (is_there) schema->release(schema);
        return fault != 0 ? violate(reader, fault) : CANCELLED;
    }
    struct ArrowAsyncProducer *producer = handler->producer;
    reader->producer = producer;
    reader->device_type = producer->device_type;
    const char *metadata = producer->additional_metadata;
    reader->metadata = copy_of(reader, metadata, metadata_bytes(metadata));
    copy_words((uint64_t *)&reader->schema, (const uint64_t *)schema, sizeof(*schema) / 8);
    schema->release = 0;
    STORE(&reader->requested, reader->window);
    STORE(&reader->has_schema, 1);
    ring(reader->bell);
    producer->request(producer, reader->window);
    return 0;
}

EXPORT int reader_on_next_task(
    struct ArrowAsyncDeviceStreamHandler *handler, struct ArrowAsyncTask *task, const char *metadata) {
    struct reader *reader = handler->private_data;
    if (LOAD(&reader->end) != OPEN) return task == 0 ? 0 : violate(reader, AFTER_END);
    if (LOAD(&reader->has_schema) == 0) return violate(reader, NO_SCHEMA);
    if (task == 0) {
        if (begin_end(reader)) finish_end(reader, ENDED);
        return 0;
    }
    if (LOAD(&reader->is_closed) != 0) {
        /* While there is a task, the producer is there. */
        if (EXCHANGE(&reader->is_cancelled, 1) == 0) reader->producer->cancel(reader->producer);
        discard(task);
        return 0;
    }
    int64_t added = LOAD(&reader->added);
    if (added >= LOAD(&reader->requested)) return violate(reader, TOO_MANY);
    struct entry *entry = &reader->entries[added % reader->window];
    copy_words((uint64_t *)&entry->task, (const uint64_t *)task, 2);
    entry->metadata = copy_of(reader, metadata, metadata_bytes(metadata));
    STORE(&reader->added, added + 1);
    ring(reader->bell);
    return 0;
}

EXPORT void reader_on_error(
    struct ArrowAsyncDeviceStreamHandler *handler, int code, const char *message, const char *metadata) {
    struct reader *reader = handler->private_data;
    if (!begin_end(reader)) return;
    reader->error = code == 0 ? INPUT_OUTPUT : code;
    reader->error_text = copy_of(reader, message, text_bytes(message));
    reader->error_metadata = copy_of(reader, metadata, metadata_bytes(metadata));
    finish_end(reader, FAILED);
}

EXPORT void reader_release(struct ArrowAsyncDeviceStreamHandler *handler) {
    struct reader *reader = handler->private_data;
    if (EXCHANGE(&reader->is_released, 1) != 0) return;
    handler->release = 0;
    if (begin_end(reader)) STORE(&reader->end, LEFT);
    await_caller(reader);
    ring(reader->bell);
    drop_user(reader);
}

/* Calls the producer on behalf of JavaScript: `request(n)`, or `cancel` for 0. */
static inline void call_producer(struct reader *reader, int64_t n) {
    STORE(&reader->caller, (int32_t)system_call(SYS_GETTID, 0, 0, 0, 0));
    if (LOAD(&reader->end) == OPEN && LOAD(&reader->is_released) == 0) {
        struct ArrowAsyncProducer *producer = reader->producer;
        if (n > 0) producer->request(producer, n);
        else producer->cancel(producer);
    }
    STORE(&reader->caller, 0);
    system_call(SYS_FUTEX, (long)&reader->caller, FUTEX_WAKE_PRIVATE, EVERYBODY, 0);
}

/*
 * Takes the next task, which must be there. Requests more once half of the window is used, before the data are extracted: producers
 * were seen that free their struct as soon as no task is left. Returns what extract_data returns.
 */
EXPORT int reader_take(struct reader *reader, struct ArrowDeviceArray *out) {
    struct ArrowAsyncTask task;
    char *metadata;
    clear_words((uint64_t *)out, sizeof(*out) / 8);
    if (!take_entry(reader, &task, &metadata)) return FAULTY_ARGUMENT;
    reader->free(reader->task_metadata);
    reader->task_metadata = metadata;
    int64_t used = LOAD(&reader->taken) + reader->window - LOAD(&reader->requested);
    if (2 * used >= reader->window && LOAD(&reader->end) == OPEN && LOAD(&reader->is_closed) == 0) {
        ADD(&reader->requested, used);
        call_producer(reader, used);
    }
    int status = task.extract_data(&task, out);
    if (status != 0) out->array.release = 0;
    return status;
}

/* Takes nothing any more. While there are tasks the producer is there, and is cancelled; then they are discarded. */
EXPORT int reader_close(struct reader *reader, long unused) {
    (void)unused;
    STORE(&reader->is_closed, 1);
    if (LOAD(&reader->taken) != LOAD(&reader->added) && EXCHANGE(&reader->is_cancelled, 1) == 0) {
        call_producer(reader, 0);
    }
    discard_all(reader);
    return 0;
}

/* Cancels, unless that was done. */
EXPORT int reader_cancel(struct reader *reader, long unused) {
    (void)unused;
    if (LOAD(&reader->has_schema) != 0 && EXCHANGE(&reader->is_cancelled, 1) == 0) call_producer(reader, 0);
    return 0;
}

/* JavaScript does not use it any more. */
EXPORT int reader_drop(struct reader *reader, long unused) {
    (void)unused;
    drop_user(reader);
    return 0;
}

/* The producer: JavaScript fills slots, and hands them over as tasks. */

enum { BURST = 16 };

struct slot {
    struct slot *next;
    /* Twice the generation, plus 1 while there is data in it. */
    _Atomic int64_t state;
    /* Head of the list of slots that were emptied. */
    struct slot *_Atomic *list;
    /* Tasks of the stream whose data nobody has extracted. */
    _Atomic int64_t *outstanding;
    struct ArrowDeviceArray array;
};

/* A task refers to its slot by the address and, in the upper bits, the generation: an old task never gets the data of a new one. */
enum { ADDRESS_BITS = 48 };

EXPORT int slot_extract(struct ArrowAsyncTask *task, struct ArrowDeviceArray *out) {
    uint64_t name = (uint64_t)task->private_data;
    struct slot *slot = (struct slot *)(name & (((uint64_t)1 << ADDRESS_BITS) - 1));
    int64_t full = (int64_t)(name >> ADDRESS_BITS) * 2 + 1;
    if (!REPLACE(&slot->state, &full, full - 1)) {
        if (out != 0) out->array.release = 0;
        return FAULTY_ARGUMENT;
    }
    if (out != 0) copy_words((uint64_t *)out, (const uint64_t *)&slot->array, sizeof(*out) / 8);
    else slot->array.array.release(&slot->array.array);
    ADD(slot->outstanding, -1);
    struct slot *_Atomic *list = slot->list;
    struct slot *head = LOAD(list);
    do {
        slot->next = head;
    } while (!REPLACE(list, &head, slot));
    return 0;
}

struct producer {
    struct ArrowAsyncProducer producer;
    struct bell *bell;
    _Atomic int64_t requested;
    _Atomic int64_t outstanding;
    _Atomic int32_t is_cancelled;
    /* A request of nothing, or less. */
    _Atomic int32_t is_faulty;
    _Atomic int32_t is_closed;
    /* What the handler returned, if that was not 0. */
    int32_t status;
    struct ArrowAsyncDeviceStreamHandler *handler;
    int (*extract)(struct ArrowAsyncTask *, struct ArrowDeviceArray *);
    int64_t count;
    uint64_t tasks[BURST];
};

EXPORT void producer_request(struct ArrowAsyncProducer *self, int64_t n) {
    struct producer *producer = self->private_data;
    if (LOAD(&producer->is_closed) != 0 || LOAD(&producer->is_cancelled) != 0) return;
    if (n <= 0) {
        STORE(&producer->is_faulty, 1);
    } else {
        int64_t requested = LOAD(&producer->requested), sum;
        do {
            sum = requested > INT64_MAX - n ? INT64_MAX : requested + n;
        } while (!REPLACE(&producer->requested, &requested, sum));
    }
    ring(producer->bell);
}

EXPORT void producer_cancel(struct ArrowAsyncProducer *self) {
    struct producer *producer = self->private_data;
    if (LOAD(&producer->is_closed) != 0 || EXCHANGE(&producer->is_cancelled, 1) != 0) return;
    ring(producer->bell);
}

/* Hands tasks over; returns how many the handler was given. */
EXPORT int producer_deliver(struct producer *producer, long unused) {
    (void)unused;
    struct ArrowAsyncDeviceStreamHandler *handler = producer->handler;
    int64_t i = 0;
    while (i < producer->count && producer->status == 0 && LOAD(&producer->is_cancelled) == 0) {
        struct ArrowAsyncTask task;
        task.extract_data = producer->extract;
        task.private_data = (void *)producer->tasks[i++];
        producer->status = handler->on_next_task(handler, &task, 0);
    }
    return (int)i;
}
