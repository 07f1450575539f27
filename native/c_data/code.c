/*
 * The callbacks of exported structures, as machine code that runs without JavaScript: on any thread, at once, and also after the
 * isolate is gone. `deno run -A tools/machine_code.ts` compiles this file to src/c_data/machine_code.ts.
 *
 * Nothing here may refer to anything outside: no library function, no static data. The layouts of the structures that only
 * dipc knows are those of src/c_data/{cells,queue}.ts.
 */
#include "abi.h"
#include "system_call.h"

#define EXPORT __attribute__((visibility("hidden"), used))

/* Memory that several structures share: those that are not released yet are counted. */
struct cell {
    _Atomic int64_t count;
    /* The next one in the list of cells that are to be freed. */
    struct cell *next;
    /* Head of that list, which JavaScript empties; for a schema the address of free(), which is called at once. */
    void *owner;
    int64_t id;
};

static inline void list_cell(struct cell *cell) {
    struct cell *_Atomic *list = cell->owner;
    struct cell *head = __c11_atomic_load(list, __ATOMIC_RELAXED);
    do {
        cell->next = head;
    } while (!__c11_atomic_compare_exchange_weak(list, &head, cell, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

static inline int is_last(struct cell *cell) {
    return __c11_atomic_fetch_sub(&cell->count, 1, __ATOMIC_ACQ_REL) == 1;
}

/* A child that was moved out has no release callback any more, and its new place is released on its own. */
EXPORT void release_array(struct ArrowArray *array) {
    struct cell *cell = array->private_data;
    if (array->release == 0) return;
    array->release = 0;
    for (int64_t i = 0; i < array->n_children; i++) {
        struct ArrowArray *child = array->children[i];
        if (child->release != 0) child->release(child);
    }
    if (array->dictionary != 0 && array->dictionary->release != 0) array->dictionary->release(array->dictionary);
    if (is_last(cell)) list_cell(cell);
}

EXPORT void release_schema(struct ArrowSchema *schema) {
    struct cell *cell = schema->private_data;
    if (schema->release == 0) return;
    schema->release = 0;
    for (int64_t i = 0; i < schema->n_children; i++) {
        struct ArrowSchema *child = schema->children[i];
        if (child->release != 0) child->release(child);
    }
    if (schema->dictionary != 0 && schema->dictionary->release != 0) schema->dictionary->release(schema->dictionary);
    if (is_last(cell)) ((void (*)(void *))cell->owner)(cell);
}

/* An exported stream: a queue that JavaScript fills and the consumer empties. */
struct queue {
    struct cell cell;
    /* Changes whenever items were added or the end was set; consumers wait on it. */
    _Atomic int32_t version;
    _Atomic int32_t has_ended;
    /* errno of the end; 0 at the end of the data. */
    int32_t error;
    /* 80 for ArrowArray, 128 for ArrowDeviceArray. */
    int32_t item_bytes;
    /* Items taken, and items added. */
    _Atomic int64_t taken;
    _Atomic int64_t added;
    /* A power of two. */
    int64_t capacity;
    uint64_t *items;
    const char *error_text;
    /* Asks JavaScript for items: 0 to wait for them, 1 to look again, anything else is the errno to return. */
    int32_t (*demand)(int64_t id, int64_t thread);
    /* A cell with a schema, that get_schema copies: its size in bytes, and how many words of it may be addresses. */
    uint64_t *schema;
    int64_t schema_bytes;
    int64_t schema_words;
    void *(*allocate)(uint64_t);
};

enum { OUT_OF_MEMORY = 12 };

static inline void copy_words(volatile uint64_t *to, const uint64_t *from, int64_t words) {
    for (int64_t i = 0; i < words; i++) to[i] = from[i];
}

static inline int next_item(struct queue *queue, struct ArrowArray *out) {
    for (;;) {
        int32_t version = __c11_atomic_load(&queue->version, __ATOMIC_ACQUIRE);
        int64_t taken = __c11_atomic_load(&queue->taken, __ATOMIC_RELAXED);
        if (taken != __c11_atomic_load(&queue->added, __ATOMIC_ACQUIRE)) {
            int64_t words = queue->item_bytes / 8;
            copy_words((uint64_t *)out, queue->items + (taken & (queue->capacity - 1)) * words, words);
            __c11_atomic_store(&queue->taken, taken + 1, __ATOMIC_RELEASE);
            return 0;
        }
        if (__c11_atomic_load(&queue->has_ended, __ATOMIC_ACQUIRE) != 0) {
            out->release = 0;
            return queue->error;
        }
        int32_t answer = queue->demand(queue->cell.id, system_call(SYS_GETTID, 0, 0, 0, 0));
        if (answer == 1) continue;
        if (answer != 0) {
            out->release = 0;
            return answer;
        }
        system_call(SYS_FUTEX, (long)&queue->version, FUTEX_WAIT_PRIVATE, version, 0);
    }
}

static inline int copy_schema(struct queue *queue, struct ArrowSchema *out) {
    uint64_t *copy = queue->allocate(queue->schema_bytes);
    uint64_t base = (uint64_t)queue->schema;
    if (copy == 0) {
        out->release = 0;
        return OUT_OF_MEMORY;
    }
    copy_words(copy, queue->schema, queue->schema_bytes / 8);
    for (int64_t i = 0; i < queue->schema_words; i++) {
        uint64_t word = copy[i];
        if (word - base < (uint64_t)queue->schema_bytes) copy[i] = word - base + (uint64_t)copy;
    }
    copy_words((uint64_t *)out, copy + sizeof(struct cell) / 8, sizeof(struct ArrowSchema) / 8);
    return 0;
}

EXPORT int stream_get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    return copy_schema(stream->private_data, out);
}

EXPORT int stream_get_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    return next_item(stream->private_data, out);
}

EXPORT const char *stream_get_last_error(struct ArrowArrayStream *stream) {
    return ((struct queue *)stream->private_data)->error_text;
}

EXPORT void stream_release(struct ArrowArrayStream *stream) {
    if (stream->release == 0) return;
    stream->release = 0;
    list_cell(stream->private_data);
}

EXPORT int device_stream_get_schema(struct ArrowDeviceArrayStream *stream, struct ArrowSchema *out) {
    return copy_schema(stream->private_data, out);
}

EXPORT int device_stream_get_next(struct ArrowDeviceArrayStream *stream, struct ArrowDeviceArray *out) {
    return next_item(stream->private_data, &out->array);
}

EXPORT const char *device_stream_get_last_error(struct ArrowDeviceArrayStream *stream) {
    return ((struct queue *)stream->private_data)->error_text;
}

EXPORT void device_stream_release(struct ArrowDeviceArrayStream *stream) {
    if (stream->release == 0) return;
    stream->release = 0;
    list_cell(stream->private_data);
}
