/*
 * A peer in C for tests, on nanoarrow: copies arrays into guarded memory in the layouts that other exporters give, consumes arrays
 * on threads, and counts what is released too early, twice, or never.
 *
 * Each buffer, structure and list of pointers of a copy has pages of its own, with an inaccessible one on each side. What was
 * released becomes inaccessible too, so that any later use ends the process.
 * It stays loaded until the process ends, and releases then what it has to keep so long.
 * Build: cc -pthread -shared -fPIC -Wl,-z,nodelete -I<nanoarrow>/include guard.c <nanoarrow>/src/nanoarrow.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "nanoarrow/nanoarrow.h"

enum { PAGE = 4096, QUARANTINE = 4096, ALIGNMENT = 8 };

static _Atomic int64_t live, released, faults;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
#ifndef ON_HEAP
static struct { void *address; size_t size; } quarantine[QUARANTINE];
static int64_t quarantined;
#endif

int64_t guard_live(void) { return live; }
int64_t guard_released(void) { return released; }
int64_t guard_faults(void) { return faults; }

/* One root or child: what it has to give back. */
struct owned {
    struct { void *address; size_t size; } *maps;
    int count;
    _Atomic int is_released;
    /* Neighbours in the list of all that are not released. */
    struct owned *previous, *next;
};

static struct owned *first;

static void enlist(struct owned *owned) {
    pthread_mutex_lock(&lock);
    owned->next = first;
    if (first != NULL) first->previous = owned;
    first = owned;
    pthread_mutex_unlock(&lock);
    live++;
}

static void strike(struct owned *owned) {
    pthread_mutex_lock(&lock);
    if (owned->previous != NULL) owned->previous->next = owned->next;
    else first = owned->next;
    if (owned->next != NULL) owned->next->previous = owned->previous;
    pthread_mutex_unlock(&lock);
    live--;
}

#ifdef ON_HEAP
/* For AddressSanitizer, which guards the heap itself. */
static void *guarded(struct owned *owned, const void *content, size_t size) {
    void *memory = malloc(size);
    owned->maps = realloc(owned->maps, (owned->count + 1) * sizeof(*owned->maps));
    owned->maps[owned->count++].address = memory;
    if (content != NULL) memcpy(memory, content, size);
    return memory;
}

static void close_maps(struct owned *owned) {
    for (int i = 0; i < owned->count; i++) free(owned->maps[i].address);
    free(owned->maps);
    owned->maps = NULL;
}
#else
/* Memory whose last byte, but for alignment, is the last one of a page. */
static void *guarded(struct owned *owned, const void *content, size_t size) {
    size_t rounded = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    size_t pages = (rounded + PAGE - 1) / PAGE * PAGE;
    char *map = mmap(NULL, pages + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return NULL;
    mprotect(map, PAGE, PROT_NONE);
    mprotect(map + PAGE + pages, PAGE, PROT_NONE);
    owned->maps = realloc(owned->maps, (owned->count + 1) * sizeof(*owned->maps));
    owned->maps[owned->count].address = map;
    owned->maps[owned->count++].size = pages + 2 * PAGE;
    char *start = map + PAGE + pages - rounded;
    if (content != NULL) memcpy(start, content, size);
    return start;
}

static void close_maps(struct owned *owned) {
    pthread_mutex_lock(&lock);
    for (int i = 0; i < owned->count; i++) {
        mprotect(owned->maps[i].address, owned->maps[i].size, PROT_NONE);
        int64_t at = quarantined++ % QUARANTINE;
        if (quarantine[at].address != NULL) munmap(quarantine[at].address, quarantine[at].size);
        quarantine[at].address = owned->maps[i].address;
        quarantine[at].size = owned->maps[i].size;
    }
    pthread_mutex_unlock(&lock);
    free(owned->maps);
    owned->maps = NULL;
}
#endif

/* What was released, so that a second release is noticed. */
struct owned *guard_graveyard[1 << 20];
static _Atomic int64_t buried;

static void release_copy(struct ArrowArray *array) {
    struct owned *owned = array->private_data;
    if (array->release == NULL || atomic_exchange(&owned->is_released, 1) != 0) {
        faults++;
        return;
    }
    for (int64_t i = 0; i < array->n_children; i++) {
        if (array->children[i]->release != NULL) array->children[i]->release(array->children[i]);
    }
    if (array->dictionary != NULL && array->dictionary->release != NULL) array->dictionary->release(array->dictionary);
    array->release = NULL;
    strike(owned);
    close_maps(owned);
    guard_graveyard[buried++ % (1 << 20)] = owned;
    released++;
}

/* Takes back everything that is not released, because whoever had it is gone. Returns how many structures that were. */
int64_t guard_reclaim(void) {
    int64_t count = 0;
    for (struct owned *owned; (owned = first) != NULL; count++) {
        strike(owned);
        close_maps(owned);
        guard_graveyard[buried++ % (1 << 20)] = owned;
    }
    return count;
}

static int copy_array(const struct ArrowArrayView *view, const struct ArrowArray *in, struct ArrowArray *out) {
    struct owned *owned = calloc(1, sizeof(*owned));
    *out = *in;
    out->private_data = owned;
    out->release = release_copy;
    enlist(owned);
    const void **buffers = calloc(in->n_buffers + 1, sizeof(void *));
    int is_view = view->storage_type == NANOARROW_TYPE_STRING_VIEW || view->storage_type == NANOARROW_TYPE_BINARY_VIEW;
    int fixed = is_view ? 2 : (int)in->n_buffers;
    for (int i = 0; i < fixed; i++) {
        int64_t size = view->buffer_views[i].size_bytes;
        /* nanoarrow 0.8 does not know the size of the sizes of list views, which are as many as the offsets. */
        if (size < 0) size = view->buffer_views[1].size_bytes;
        if (in->buffers[i] == NULL) continue;
        buffers[i] = guarded(owned, in->buffers[i], size);
    }
    for (int i = 0; i < view->n_variadic_buffers; i++) {
        buffers[2 + i] = guarded(owned, view->variadic_buffers[i], view->variadic_buffer_sizes[i]);
    }
    if (fixed < in->n_buffers) {
        int64_t bytes = 8 * (int64_t)view->n_variadic_buffers;
        buffers[in->n_buffers - 1] = guarded(owned, in->buffers[in->n_buffers - 1], bytes);
    }
    out->buffers = guarded(owned, buffers, in->n_buffers * sizeof(void *));
    free(buffers);
    struct ArrowArray **children = calloc(in->n_children + 1, sizeof(void *));
    for (int64_t i = 0; i < in->n_children; i++) {
        children[i] = guarded(owned, NULL, sizeof(struct ArrowArray));
        copy_array(view->children[i], in->children[i], children[i]);
    }
    out->children = in->n_children == 0 ? NULL : guarded(owned, children, in->n_children * sizeof(void *));
    free(children);
    if (in->dictionary != NULL) {
        out->dictionary = guarded(owned, NULL, sizeof(struct ArrowArray));
        copy_array(view->dictionary, in->dictionary, out->dictionary);
    }
    return 0;
}

/* Leaves the data buffers of views out if all of them are empty. */
static void leave_empty_data(struct ArrowArray *views) {
    const void **buffers = (const void **)views->buffers;
    int64_t count = views->n_buffers - 3;
    const int64_t *sizes = buffers[views->n_buffers - 1];
    for (int64_t i = 0; i < count; i++) {
        if (sizes[i] != 0) return;
    }
    buffers[2] = sizes;
    views->n_buffers = 3;
}

static char text[1024];
const char *guard_error(void) { return text; }

/*
 * Copies an array into guarded memory, and releases it. `outer` rows are cut off by the offset of the struct, `inner` ones by those
 * of its children. Flags: 1 null counts are unknown, 2 a bitmap also for columns without nulls,
 * 4 a place for a bitmap in columns of type null, as Polars gives it, 8 no data buffers for views without long values.
 */
int guard_copy(
    struct ArrowArray *in, struct ArrowSchema *schema, struct ArrowArray *out, int flags, int64_t outer, int64_t inner) {
    struct ArrowArrayView view;
    struct ArrowError error = {{0}};
    int code = ArrowArrayViewInitFromSchema(&view, schema, &error);
    if (code == 0) code = ArrowArrayViewSetArray(&view, in, &error);
    if (code == 0) code = ArrowArrayViewValidate(&view, NANOARROW_VALIDATION_LEVEL_FULL, &error);
    if (code != 0) {
        strncpy(text, error.message, sizeof(text) - 1);
        ArrowArrayViewReset(&view);
        return code;
    }
    copy_array(&view, in, out);
    ArrowArrayViewReset(&view);
    out->length -= inner;
    for (int64_t i = 0; i < out->n_children; i++) {
        struct ArrowArray *child = out->children[i];
        child->offset += inner;
        child->length -= inner;
        if (inner > 0 && child->null_count > 0) child->null_count = -1;
        /* Of types whose first buffer is a bitmap. */
        if ((flags & 2) && child->n_buffers >= 2 && child->buffers[0] == NULL && strchr("cCsSiIlLfguUzZ", schema->children[i]->format[0])) {
            struct owned *owned = child->private_data;
            size_t size = (child->offset + child->length + 7) / 8;
            void *bitmap = guarded(owned, NULL, size);
            memset(bitmap, 0xff, size);
            ((const void **)child->buffers)[0] = bitmap;
            child->null_count = 0;
        }
        if (flags & 1) child->null_count = child->n_buffers == 0 ? child->null_count : -1;
        if ((flags & 8) && schema->children[i]->format[0] == 'v') leave_empty_data(child);
        if ((flags & 4) && strcmp(schema->children[i]->format, "n") == 0) {
            const void *bitmap = NULL;
            child->buffers = guarded(child->private_data, &bitmap, sizeof(bitmap));
            child->n_buffers = 1;
        }
    }
    out->offset += outer;
    out->length -= outer;
    in->release(in);
    return 0;
}

/* nanoarrow as a consumer and a producer: validates the array in full, copies its schema, and hands both on. */
int nano_pass(
    struct ArrowArray *array, struct ArrowSchema *schema, struct ArrowArray *array_out, struct ArrowSchema *schema_out) {
    struct ArrowArrayView view;
    struct ArrowError error = {{0}};
    int code = ArrowArrayViewInitFromSchema(&view, schema, &error);
    if (code == 0) code = ArrowArrayViewSetArray(&view, array, &error);
    if (code == 0) code = ArrowArrayViewValidate(&view, NANOARROW_VALIDATION_LEVEL_FULL, &error);
    if (code == 0) code = ArrowSchemaDeepCopy(schema, schema_out);
    if (code != 0) strncpy(text, error.message, sizeof(text) - 1);
    ArrowArrayViewReset(&view);
    if (code == 0) {
        ArrowArrayMove(array, array_out);
        schema->release(schema);
    }
    return code;
}

/* The sum of all bytes of an array, which reads every one of them. */
static uint64_t sum_of(const struct ArrowArrayView *view) {
    uint64_t sum = 0;
    for (int i = 0; i < 3; i++) {
        const struct ArrowBufferView *buffer = &view->buffer_views[i];
        for (int64_t k = 0; k < buffer->size_bytes; k++) sum = sum * 31 + buffer->data.as_uint8[k];
    }
    for (int i = 0; i < view->n_variadic_buffers; i++) {
        const uint8_t *data = view->variadic_buffers[i];
        for (int64_t k = 0; k < view->variadic_buffer_sizes[i]; k++) sum = sum * 31 + data[k];
    }
    for (int64_t i = 0; i < view->n_children; i++) sum = sum * 31 + sum_of(view->children[i]);
    return view->dictionary == NULL ? sum : sum * 31 + sum_of(view->dictionary);
}

/* Reads everything; 0 if nanoarrow finds a fault. */
uint64_t guard_read(struct ArrowArray *array, struct ArrowSchema *schema) {
    struct ArrowArrayView view;
    struct ArrowError error = {{0}};
    uint64_t sum = 0;
    int code = ArrowArrayViewInitFromSchema(&view, schema, &error);
    if (code == 0) code = ArrowArrayViewSetArray(&view, array, &error);
    if (code == 0) code = ArrowArrayViewValidate(&view, NANOARROW_VALIDATION_LEVEL_FULL, &error);
    if (code == 0) sum = sum_of(&view) | 1;
    else strncpy(text, error.message, sizeof(text) - 1);
    ArrowArrayViewReset(&view);
    return sum;
}

void guard_release(struct ArrowArray *array) { array->release(array); }

static void *release_in_thread(void *array) {
    guard_release(array);
    return NULL;
}

/* Releases an array on a thread of its own. */
void guard_release_on_thread(struct ArrowArray *array) {
    pthread_t thread;
    pthread_create(&thread, NULL, release_in_thread, array);
    pthread_join(thread, NULL);
}

/* Moves a child out of an array. */
void guard_take_child(struct ArrowArray *array, int64_t index, struct ArrowArray *out) {
    ArrowArrayMove(array->children[index], out);
}

/* Reads a stream to its end on the calling thread: the sum of all batches, and how many there were. */
uint64_t guard_read_stream(struct ArrowArrayStream *stream, int64_t *batches) {
    struct ArrowSchema schema;
    uint64_t sum = 0;
    *batches = 0;
    int code = stream->get_schema(stream, &schema);
    while (code == 0) {
        struct ArrowArray array;
        code = stream->get_next(stream, &array);
        if (code != 0 || array.release == NULL) break;
        sum = sum * 31 + guard_read(&array, &schema);
        array.release(&array);
        ++*batches;
    }
    if (code != 0) {
        const char *message = stream->get_last_error(stream);
        strncpy(text, message == NULL ? "no message" : message, sizeof(text) - 1);
        *batches = -code;
    }
    if (schema.release != NULL) schema.release(&schema);
    stream->release(stream);
    return sum;
}

/* A stream of arrays, which are moved into it, as is the schema. */
int guard_stream(struct ArrowSchema *schema, struct ArrowArray *const *arrays, int64_t count, struct ArrowArrayStream *out) {
    int code = ArrowBasicArrayStreamInit(out, schema, count);
    for (int64_t i = 0; code == 0 && i < count; i++) ArrowBasicArrayStreamSetArray(out, i, arrays[i]);
    return code;
}

/* What a consumer has until the process ends. */
enum { MOST_KEPT = 256 };
static struct ArrowArray kept_arrays[MOST_KEPT];
static struct ArrowArrayStream kept_streams[MOST_KEPT];
static int kept_array_count, kept_stream_count;

static void *release_kept_streams(void *unused) {
    (void)unused;
    for (int i = 0; i < kept_stream_count; i++) kept_streams[i].release(&kept_streams[i]);
    return NULL;
}

static void release_kept(void) {
    pthread_t thread;
    for (int i = 0; i < kept_array_count; i++) kept_arrays[i].release(&kept_arrays[i]);
    pthread_create(&thread, NULL, release_kept_streams, NULL);
    pthread_join(thread, NULL);
    fprintf(stderr, "released at the end of the process: %d arrays, %d streams\n", kept_array_count, kept_stream_count);
}

static void keep_until_end(void) {
    static _Atomic int is_planned;
    if (atomic_exchange(&is_planned, 1) == 0) atexit(release_kept);
}

void guard_keep(struct ArrowArray *array) {
    keep_until_end();
    ArrowArrayMove(array, &kept_arrays[kept_array_count++]);
}

void guard_keep_stream(struct ArrowArrayStream *stream) {
    keep_until_end();
    ArrowArrayStreamMove(stream, &kept_streams[kept_stream_count++]);
}

/* For the fuzz test: a release that only counts. */
static void release_static(struct ArrowArray *array) {
    array->release = NULL;
    released++;
}

static void release_static_schema(struct ArrowSchema *schema) { schema->release = NULL; }

void guard_set_static_release(struct ArrowArray *array) { array->release = release_static; }
void guard_set_static_schema_release(struct ArrowSchema *schema) { schema->release = release_static_schema; }

/* The structures of an array, depth first, with dictionaries after children. */
int64_t guard_structs(struct ArrowArray *array, uint64_t *into, int64_t most) {
    int64_t count = 0;
    if (most > 0) into[0] = (uint64_t)array;
    count++;
    for (int64_t i = 0; i < array->n_children; i++) {
        int64_t left = most > count ? most - count : 0;
        count += guard_structs(array->children[i], into + (count < most ? count : most), left);
    }
    if (array->dictionary != NULL) {
        int64_t left = most > count ? most - count : 0;
        count += guard_structs(array->dictionary, into + (count < most ? count : most), left);
    }
    return count;
}

