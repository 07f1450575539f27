/*
 * The callbacks of exported structures, as machine code that runs without JavaScript: on any thread, at once, and also after the
 * isolate is gone; and the reader of imported ones. `deno run -A tools/machine_code.ts` compiles this file to src/c_data/machine_code.ts.
 *
 * Nothing here may refer to anything outside: no library function, no static data. The layouts of the structures that only
 * dipc knows are those of src/c_data/{cells,gather,queue}.ts.
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

/* What an array must look like to be gathered. Plans are in the order of the walk: an array, its children, its dictionary. */
struct array_plan {
    /* Index of the first word of its structure in the memory; its buffer, its child pointers and its two offsets follow. */
    int64_t word;
    /* For views -3: that many or more. */
    int64_t n_buffers;
    int64_t n_children;
    int64_t has_dictionary;
    /* Bytes of one of its offsets if the first and the last one are needed, otherwise 0. */
    int64_t offset_bytes;
};

/* The columns of a batch, and the memory that takes its structures. */
struct gather {
    uint64_t *memory;
    int64_t n_columns;
    struct array_plan arrays[];
};

enum { ARRAY_WORDS = sizeof(struct ArrowArray) / 8, NEAR_BUFFERS = 4 };

typedef int32_t __attribute__((aligned(1), may_alias)) offset32;
typedef int64_t __attribute__((aligned(1), may_alias)) offset64;

static inline int is_count(int64_t number) { return (uint64_t)number >> 48 == 0; }

static inline int is_place(const void *pointer) { return pointer != 0 && (uint64_t)pointer >> 53 == 0; }

static inline void take_words(volatile uint64_t *to, const void *from, int64_t words) {
    for (int64_t i = 0; i < words; i++) to[i] = ((const uint64_t *)from)[i];
}

/* The rows of an array that is not a column depend on its content: -1. Returns the plan that follows, or NULL. */
static const struct array_plan *take(
    const struct array_plan *plan, const struct ArrowArray *array, uint64_t *memory, int64_t from, int64_t rows) {
    uint64_t *to = memory + plan->word;
    if (!is_place(array) || array->release == 0 || !is_count(array->length) || !is_count(array->offset)) return 0;
    int64_t buffers = array->n_buffers;
    if (plan->n_buffers < 0 ? buffers < -plan->n_buffers : buffers != plan->n_buffers) return 0;
    if (buffers > NEAR_BUFFERS) buffers = NEAR_BUFFERS;
    if (array->n_children != plan->n_children) return 0;
    if ((array->dictionary != 0) != plan->has_dictionary) return 0;
    if (buffers > 0 && !is_place(array->buffers)) return 0;
    if (plan->n_children > 0 && !is_place(array->children)) return 0;
    take_words(to, array, ARRAY_WORDS);
    take_words(to + ARRAY_WORDS, array->buffers, buffers);
    take_words(to + ARRAY_WORDS + NEAR_BUFFERS, array->children, plan->n_children);
    if (plan->offset_bytes > 0 && rows > 0) {
        uint64_t *range = to + ARRAY_WORDS + NEAR_BUFFERS + plan->n_children;
        int64_t first = array->offset + from;
        const void *offsets = array->buffers[1];
        if (from + rows > array->length || !is_place(offsets)) return 0;
        int is_wide = plan->offset_bytes == 8;
        range[0] = is_wide ? ((const offset64 *)offsets)[first] : ((const offset32 *)offsets)[first];
        range[1] = is_wide ? ((const offset64 *)offsets)[first + rows] : ((const offset32 *)offsets)[first + rows];
    }
    const struct array_plan *next = plan + 1;
    for (int64_t i = 0; next != 0 && i < plan->n_children; i++) next = take(next, array->children[i], memory, 0, -1);
    return next == 0 || !plan->has_dictionary ? next : take(next, array->dictionary, memory, 0, -1);
}

/*
 * Copies the structures of a batch in one call, each after it was found to be as planned. Returns 0 if all of them were; otherwise
 * JavaScript reads them one by one, and says what is wrong.
 */
EXPORT int gather_arrays(const struct gather *gather, const struct ArrowArray *batch) {
    if (!is_count(batch->length) || !is_count(batch->offset)) return 1;
    if (batch->n_children != gather->n_columns || (gather->n_columns > 0 && !is_place(batch->children))) return 1;
    take_words(gather->memory, batch, ARRAY_WORDS);
    take_words(gather->memory + ARRAY_WORDS, batch->children, gather->n_columns);
    const struct array_plan *next = gather->arrays;
    for (int64_t i = 0; next != 0 && i < gather->n_columns; i++) {
        next = take(next, batch->children[i], gather->memory, batch->offset, batch->length);
    }
    return next == 0;
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
