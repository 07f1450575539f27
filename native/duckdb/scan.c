/*
 * The table function by which DuckDB reads Arrow streams and tables, as machine code that runs without JavaScript on DuckDB's threads.
 * `deno run -A tools/machine_code.ts` compiles this file to src/duckdb/scan_machine_code.ts.
 *
 * Nothing here may refer to anything outside: no library function, no static data. The layout of the structures is that of
 * src/duckdb/scan_structs.ts.
 */
#include "abi.h"
#include "system_call.h"

#define EXPORT __attribute__((visibility("hidden"), used))

/* Functions of DuckDB and of the C library. */
struct library {
    void *(*bind_get_parameter)(void *info, uint64_t index);
    /* Returns a bool. */
    uint8_t (*is_null_value)(void *value);
    int64_t (*get_int64)(void *value);
    void (*destroy_value)(void **value);
    void *(*bind_get_extra_info)(void *info);
    void (*bind_get_client_context)(void *info, void **context);
    uint64_t (*context_get_connection_id)(void *context);
    void (*destroy_client_context)(void **context);
    void (*bind_add_result_column)(void *info, const char *name, void *type);
    void (*bind_set_bind_data)(void *info, void *data, void (*destroy)(void *));
    void (*bind_set_error)(void *info, const char *error);
    void *(*init_get_bind_data)(void *info);
    uint64_t (*init_get_column_count)(void *info);
    uint64_t (*init_get_column_index)(void *info, uint64_t index);
    void (*init_set_init_data)(void *info, void *data, void (*destroy)(void *));
    void (*init_set_max_threads)(void *info, uint64_t threads);
    void (*init_set_error)(void *info, const char *error);
    void *(*function_get_bind_data)(void *info);
    void *(*function_get_init_data)(void *info);
    void *(*function_get_local_init_data)(void *info);
    void (*function_set_error)(void *info, const char *error);
    void *(*data_chunk_get_vector)(void *chunk, uint64_t column);
    void (*data_chunk_set_size)(void *chunk, uint64_t rows);
    void (*destroy_data_chunk)(void **chunk);
    void (*vector_reference_vector)(void *to, void *from);
    void *(*data_chunk_from_arrow)(void *connection, struct ArrowArray *, void *schema, void **chunk);
    const char *(*error_data_message)(void *error);
    void (*destroy_error_data)(void **error);
    void *(*allocate)(uint64_t bytes);
    void (*release)(void *);
    void (*bind_set_cardinality)(void *info, uint64_t rows, uint8_t is_exact);
    /* Texts of errors. */
    const char *not_registered;
    const char *read_before;
    const char *out_of_memory;
};

/* The address of the library is written here before the code becomes executable. */
__asm__(".text\n.balign 8\n.type library_address, %function\nlibrary_address: .quad 0\n.size library_address, 8\n");

static inline const struct library *the_library(void) {
    const struct library **place;
#if defined(__x86_64__)
    __asm__("lea library_address(%%rip), %0" : "=r"(place));
#else
    __asm__("adr %0, library_address" : "=r"(place));
#endif
    return *place;
}

/* The address of a function of this file; what compilers write for one of 64-bit ARM is not relative to its place. */
#if defined(__x86_64__)
#define ADDRESS_OF(function) ((__typeof__(&function))&function)
#else
#define ADDRESS_OF(function)                                                                                                 \
    ({                                                                                                                       \
        void *address;                                                                                                       \
        __asm__("adr %0, " #function : "=r"(address));                                                                       \
        (__typeof__(&function))address;                                                                                      \
    })
#endif
#define CALLBACK static __attribute__((used))

/* A stream that can be read once, or a table. JavaScript frees it when it has no users. */
struct source {
    struct ArrowArrayStream stream;
    /* 0 free, 1 taken, 2 taken and waited for. */
    _Atomic int32_t lock;
    _Atomic int32_t is_taken;
    int64_t has_ended;
    /* Plans that refer to it. */
    _Atomic int64_t users;
    void *connection;
    int64_t column_count;
    void **types;
    const char **names;
    /* What DuckDB has made of the schema of each column. */
    void **schemas;
    /* The batches of a table, which stay until the database is closed; null for a stream. */
    const struct ArrowArray *batches;
    int64_t batch_count;
    int64_t row_count;
};

struct slot {
    int64_t id;
    /* Only the connection that has registered a stream may use it: others run concurrently with its end. */
    uint64_t connection_id;
    struct source *source;
};

struct registry {
    int64_t count;
    struct slot slots[];
};

/* A batch of the stream, which vectors of DuckDB may share. */
struct batch {
    _Atomic int64_t users;
    struct ArrowArray array;
};

/* What one execution reads. */
struct scan {
    /* The batch of a table that is read next. */
    _Atomic int64_t next;
    int64_t column_count;
    uint64_t columns[];
};

/* Position of one thread. */
struct position {
    struct batch *batch;
    int64_t at;
};

enum { CHUNK_ROWS = 2048, THREADS = 64 };
/* Stands for every connection. */
#define ANY_CONNECTION UINT64_MAX

static void lock(struct source *source) {
    int32_t expected = 0;
    if (__c11_atomic_compare_exchange_strong(&source->lock, &expected, 1, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return;
    while (__c11_atomic_exchange(&source->lock, 2, __ATOMIC_ACQUIRE) != 0) {
        system_call(SYS_FUTEX, (long)&source->lock, FUTEX_WAIT_PRIVATE, 2, 0);
    }
}

static void unlock(struct source *source) {
    if (__c11_atomic_exchange(&source->lock, 0, __ATOMIC_RELEASE) == 2) {
        system_call(SYS_FUTEX, (long)&source->lock, FUTEX_WAKE_PRIVATE, 1, 0);
    }
}

static void drop(struct batch *batch) {
    if (batch == 0 || __c11_atomic_fetch_sub(&batch->users, 1, __ATOMIC_ACQ_REL) != 1) return;
    if (batch->array.release != 0) batch->array.release(&batch->array);
    the_library()->release(batch);
}

/* Releases the structure that DuckDB has taken over for one column of a few rows. */
CALLBACK void release_part(struct ArrowArray *array) {
    if (array->release == 0) return;
    array->release = 0;
    drop(array->private_data);
}

CALLBACK void unbind(void *data) {
    struct source *source = data;
    __c11_atomic_fetch_sub(&source->users, 1, __ATOMIC_ACQ_REL);
}

EXPORT void scan_bind(void *info) {
    const struct library *duckdb = the_library();
    void *value = duckdb->bind_get_parameter(info, 0);
    int64_t id = duckdb->is_null_value(value) ? 0 : duckdb->get_int64(value);
    duckdb->destroy_value(&value);
    void *context = 0;
    duckdb->bind_get_client_context(info, &context);
    uint64_t connection_id = duckdb->context_get_connection_id(context);
    duckdb->destroy_client_context(&context);
    struct registry *registry = duckdb->bind_get_extra_info(info);
    for (int64_t i = 0; i < registry->count; i++) {
        struct slot *slot = &registry->slots[i];
        if (slot->id != id || slot->source == 0) continue;
        if (slot->connection_id != connection_id && slot->connection_id != ANY_CONNECTION) continue;
        struct source *source = slot->source;
        for (int64_t k = 0; k < source->column_count; k++) {
            duckdb->bind_add_result_column(info, source->names[k], source->types[k]);
        }
        if (source->batches != 0) duckdb->bind_set_cardinality(info, (uint64_t)source->row_count, 1);
        __c11_atomic_fetch_add(&source->users, 1, __ATOMIC_ACQ_REL);
        duckdb->bind_set_bind_data(info, source, ADDRESS_OF(unbind));
        return;
    }
    duckdb->bind_set_error(info, duckdb->not_registered);
}

EXPORT void scan_init(void *info) {
    const struct library *duckdb = the_library();
    struct source *source = duckdb->init_get_bind_data(info);
    if (source->batches == 0 && __c11_atomic_exchange(&source->is_taken, 1, __ATOMIC_ACQ_REL) != 0) {
        duckdb->init_set_error(info, duckdb->read_before);
        return;
    }
    uint64_t count = duckdb->init_get_column_count(info);
    struct scan *scan = duckdb->allocate(sizeof(struct scan) + 8 * count);
    if (scan == 0) {
        duckdb->init_set_error(info, duckdb->out_of_memory);
        return;
    }
    scan->next = 0;
    scan->column_count = (int64_t)count;
    for (uint64_t i = 0; i < count; i++) scan->columns[i] = duckdb->init_get_column_index(info, i);
    duckdb->init_set_init_data(info, scan, duckdb->release);
    duckdb->init_set_max_threads(info, THREADS);
}

CALLBACK void end_position(void *data) {
    struct position *position = data;
    drop(position->batch);
    the_library()->release(position);
}

EXPORT void scan_local_init(void *info) {
    const struct library *duckdb = the_library();
    struct position *position = duckdb->allocate(sizeof(struct position));
    if (position == 0) {
        duckdb->init_set_error(info, duckdb->out_of_memory);
        return;
    }
    position->batch = 0;
    position->at = 0;
    duckdb->init_set_init_data(info, position, ADDRESS_OF(end_position));
}

static inline void copy_words(volatile struct ArrowArray *to, const struct ArrowArray *from) {
    volatile uint64_t *words = (volatile uint64_t *)to;
    for (uint64_t i = 0; i < sizeof(struct ArrowArray) / 8; i++) words[i] = ((const uint64_t *)from)[i];
}

/* Takes the next batch of a table. Returns as next_batch. */
static int next_of_table(struct source *source, struct scan *scan, struct batch *batch) {
    for (;;) {
        int64_t i = __c11_atomic_fetch_add(&scan->next, 1, __ATOMIC_RELAXED);
        if (i >= source->batch_count) return 0;
        if (source->batches[i].length == 0) continue;
        copy_words(&batch->array, &source->batches[i]);
        /* The table keeps it. */
        batch->array.release = 0;
        return 1;
    }
}

/* Takes the next batch of a stream. Returns as next_batch. */
static int next_of_stream(const struct library *duckdb, void *info, struct source *source, struct batch *batch) {
    int result = 0;
    lock(source);
    while (source->has_ended == 0) {
        int error = source->stream.get_next(&source->stream, &batch->array);
        if (error != 0 || batch->array.release == 0) {
            source->has_ended = 1;
            batch->array.release = 0;
            if (error == 0) break;
            const char *text = source->stream.get_last_error(&source->stream);
            duckdb->function_set_error(info, text == 0 ? duckdb->not_registered : text);
            result = -1;
        } else if (batch->array.length > 0) {
            result = 1;
            break;
        } else {
            batch->array.release(&batch->array);
        }
    }
    unlock(source);
    return result;
}

/* Takes the next batch that has rows. Returns 0 at the end, -1 after an error, which it has reported. */
static int next_batch(
    const struct library *duckdb, void *info, struct source *source, struct scan *scan, struct position *position) {
    drop(position->batch);
    position->batch = 0;
    position->at = 0;
    struct batch *batch = duckdb->allocate(sizeof(struct batch));
    if (batch == 0) {
        duckdb->function_set_error(info, duckdb->out_of_memory);
        return -1;
    }
    batch->users = 1;
    batch->array.release = 0;
    int result = source->batches == 0 ? next_of_stream(duckdb, info, source, batch) : next_of_table(source, scan, batch);
    if (result == 1) position->batch = batch;
    else drop(batch);
    return result;
}

/* Makes a vector of some rows of a column. Returns 0 after an error, which it has reported. */
static int convert(
    const struct library *duckdb,
    void *info,
    struct source *source,
    struct position *position,
    uint64_t column,
    int64_t rows,
    void *vector) {
    struct batch *batch = position->batch;
    struct ArrowArray child, root;
    struct ArrowArray *children[1] = {&child};
    const void *buffers[1] = {0};
    copy_words(&child, batch->array.children[column]);
    child.offset += batch->array.offset + position->at;
    child.length = rows;
    /* DuckDB takes an unknown number for none if the column has a dictionary. */
    if (child.null_count < 0) child.null_count = 1;
    root.length = rows;
    root.null_count = root.offset = 0;
    root.n_buffers = root.n_children = 1;
    root.buffers = buffers;
    root.children = children;
    root.dictionary = 0;
    root.release = ADDRESS_OF(release_part);
    root.private_data = batch;
    __c11_atomic_fetch_add(&batch->users, 1, __ATOMIC_ACQ_REL);
    void *chunk = 0;
    void *error = duckdb->data_chunk_from_arrow(source->connection, &root, source->schemas[column], &chunk);
    if (root.release != 0) release_part(&root);
    if (error != 0) {
        duckdb->function_set_error(info, duckdb->error_data_message(error));
        duckdb->destroy_error_data(&error);
        return 0;
    }
    duckdb->vector_reference_vector(vector, duckdb->data_chunk_get_vector(chunk, 0));
    duckdb->destroy_data_chunk(&chunk);
    return 1;
}

EXPORT void scan_rows(void *info, void *output) {
    const struct library *duckdb = the_library();
    struct source *source = duckdb->function_get_bind_data(info);
    struct scan *scan = duckdb->function_get_init_data(info);
    struct position *position = duckdb->function_get_local_init_data(info);
    if (position->batch == 0 || position->at >= position->batch->array.length) {
        if (next_batch(duckdb, info, source, scan, position) != 1) {
            duckdb->data_chunk_set_size(output, 0);
            return;
        }
    }
    int64_t rows = position->batch->array.length - position->at;
    if (rows > CHUNK_ROWS) rows = CHUNK_ROWS;
    for (int64_t i = 0; i < scan->column_count; i++) {
        uint64_t column = scan->columns[i];
        // A count of rows alone reads a column that there is not.
        if (column >= (uint64_t)source->column_count) continue;
        void *vector = duckdb->data_chunk_get_vector(output, (uint64_t)i);
        if (!convert(duckdb, info, source, position, column, rows, vector)) {
            duckdb->data_chunk_set_size(output, 0);
            return;
        }
    }
    position->at += rows;
    duckdb->data_chunk_set_size(output, (uint64_t)rows);
}
