/*
 * Gathers DuckDB's chunks of 2,048 rows into one body, as machine code that runs on a thread of Deno's pool, so that no call of
 * JavaScript is needed for each chunk. `deno run -A tools/machine_code.ts` compiles this file to src/duckdb/gather_machine_code.ts.
 *
 * Nothing here may refer to anything outside: no library function, no static data. The layout of the structures is that of
 * src/duckdb/flat_gatherer.ts.
 */
#include <stdint.h>

#define EXPORT __attribute__((visibility("hidden"), used))

/* `duckdb_result`, which DuckDB takes by value. */
struct result {
    uint64_t words[6];
};

/* How the values of a column are copied. */
enum kind { FIXED = 0, BOOLEAN = 1, TEXT = 2, DECIMAL = 3 };

struct column {
    int64_t kind;
    /* Bytes of a value in DuckDB. */
    int64_t width;
    /* Nulls, and bytes of text, of the rows that were collected. */
    int64_t nulls;
    int64_t text_bytes;
    /* Memory for the rows; no bitmap without nulls. */
    uint8_t *validity;
    uint8_t *values;
    uint8_t *text;
    int64_t unused;
};

struct gather {
    struct result result;
    void *(*fetch_chunk)(struct result);
    uint64_t (*chunk_size)(void *);
    void *(*chunk_vector)(void *, uint64_t);
    void *(*vector_data)(void *);
    uint64_t *(*vector_validity)(void *);
    void (*destroy_chunk)(void **);
    void *(*copy)(void *, const void *, uint64_t);
    struct column *columns;
    int64_t column_count;
    void **chunks;
    int64_t chunk_capacity;
    /* A batch ends with the chunk that reaches one of them. */
    int64_t max_rows;
    int64_t max_bytes;
    /* No text of a column may have more bytes. */
    int64_t max_text_bytes;
    int64_t chunk_count;
    int64_t rows;
    int64_t bytes;
    int64_t has_ended;
    /* A chunk that did not fit into the last batch. */
    void *carry;
};

/* `duckdb_string_t`: up to 12 bytes are in it, longer ones elsewhere. */
struct string {
    uint32_t length;
    uint8_t inlined[4];
    const uint8_t *pointer;
};

enum { INLINED = 12 };

static inline int is_valid(const uint64_t *validity, int64_t row) {
    return validity == 0 || ((validity[row >> 6] >> (row & 63)) & 1) != 0;
}

static inline int64_t count_ones(uint64_t word) {
    word -= (word >> 1) & 0x5555555555555555;
    word = (word & 0x3333333333333333) + ((word >> 2) & 0x3333333333333333);
    word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0f;
    return (int64_t)((word * 0x0101010101010101) >> 56);
}

static inline int64_t count_nulls(const uint64_t *validity, int64_t rows) {
    if (validity == 0) return 0;
    int64_t valid = 0;
    for (int64_t i = 0; i < rows / 64; i++) valid += count_ones(validity[i]);
    if (rows % 64 != 0) valid += count_ones(validity[rows / 64] & ((1ull << (rows % 64)) - 1));
    return rows - valid;
}

static inline int64_t text_bytes(const struct string *strings, const uint64_t *validity, int64_t rows) {
    int64_t sum = 0;
    if (validity == 0) {
        for (int64_t row = 0; row < rows; row++) sum += strings[row].length;
        return sum;
    }
    for (int64_t row = 0; row < rows; row++) {
        if (is_valid(validity, row)) sum += strings[row].length;
    }
    return sum;
}

static inline int64_t row_bytes(const struct column *column) {
    return column->kind == TEXT ? 4 : column->kind == BOOLEAN ? 1 : column->kind == DECIMAL ? 16 : column->width;
}

/* Adds a chunk to what is collected, unless a column would get more text than it may have. */
static int add(struct gather *gather, void *chunk) {
    int64_t rows = (int64_t)gather->chunk_size(chunk);
    int64_t bytes = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < gather->column_count; i++) {
            struct column *column = &gather->columns[i];
            void *vector = gather->chunk_vector(chunk, (uint64_t)i);
            const uint64_t *validity = gather->vector_validity(vector);
            int64_t text = column->kind == TEXT ? text_bytes(gather->vector_data(vector), validity, rows) : 0;
            if (pass == 0) {
                if (gather->rows > 0 && column->text_bytes + text > gather->max_text_bytes) return 0;
                bytes += text + rows * row_bytes(column);
                continue;
            }
            column->nulls += count_nulls(validity, rows);
            column->text_bytes += text;
        }
    }
    gather->chunks[gather->chunk_count++] = chunk;
    gather->rows += rows;
    gather->bytes += bytes;
    return 1;
}

/* Fetches the chunks of one batch, and says how large it is. */
EXPORT void collect(struct gather *gather) {
    gather->chunk_count = gather->rows = gather->bytes = 0;
    for (int64_t i = 0; i < gather->column_count; i++) gather->columns[i].nulls = gather->columns[i].text_bytes = 0;
    while (gather->has_ended == 0 && gather->chunk_count < gather->chunk_capacity && gather->rows < gather->max_rows &&
           gather->bytes < gather->max_bytes) {
        void *chunk = gather->carry;
        gather->carry = 0;
        if (chunk == 0) chunk = gather->fetch_chunk(gather->result);
        if (chunk == 0) {
            gather->has_ended = 1;
        } else if (gather->chunk_size(chunk) == 0) {
            gather->destroy_chunk(&chunk);
        } else if (!add(gather, chunk)) {
            gather->carry = chunk;
            return;
        }
    }
}

static inline void set_bits(uint8_t *bits, int64_t at, int64_t rows, const uint64_t *validity) {
    for (int64_t row = 0; row < rows;) {
        if ((at + row) % 8 == 0 && rows - row >= 8) {
            int64_t word = row >> 6, shift = row & 63;
            uint64_t byte = 255;
            if (validity != 0) {
                byte = validity[word] >> shift;
                if (shift > 56) byte |= validity[word + 1] << (64 - shift);
            }
            bits[(at + row) / 8] = (uint8_t)byte;
            row += 8;
            continue;
        }
        if (is_valid(validity, row)) bits[(at + row) / 8] |= (uint8_t)(1 << ((at + row) % 8));
        row++;
    }
}

static inline void put_bools(uint8_t *bits, int64_t at, int64_t rows, const uint8_t *values, const uint64_t *validity) {
    for (int64_t row = 0; row < rows; row++) {
        if (values[row] != 0 && is_valid(validity, row)) bits[(at + row) / 8] |= (uint8_t)(1 << ((at + row) % 8));
    }
}

typedef uint64_t __attribute__((aligned(1), may_alias)) loose64;
typedef uint32_t __attribute__((aligned(1), may_alias)) loose32;

/* Copies up to 12 bytes, and none beyond them. */
static inline void copy_short(uint8_t *to, const uint8_t *from, uint32_t length) {
    if (length >= 8) {
        uint64_t first = *(const loose64 *)from, last = *(const loose64 *)(from + length - 8);
        *(loose64 *)to = first;
        *(loose64 *)(to + length - 8) = last;
    } else if (length >= 4) {
        uint32_t first = *(const loose32 *)from, last = *(const loose32 *)(from + length - 4);
        *(loose32 *)to = first;
        *(loose32 *)(to + length - 4) = last;
    } else if (length > 0) {
        to[0] = from[0];
        if (length > 1) to[1] = from[1];
        if (length > 2) to[2] = from[2];
    }
}

static inline int64_t put_text(
    struct gather *gather,
    struct column *column,
    int64_t at,
    int64_t rows,
    const struct string *strings,
    const uint64_t *validity) {
    int32_t *offsets = (int32_t *)column->values;
    int64_t end = at == 0 ? 0 : offsets[at];
    if (at == 0) offsets[0] = 0;
    for (int64_t row = 0; row < rows; row++) {
        if (is_valid(validity, row)) {
            const struct string *string = &strings[row];
            uint32_t length = string->length;
            if (length <= INLINED) copy_short(column->text + end, string->inlined, length);
            else gather->copy(column->text + end, string->pointer, length);
            end += length;
        }
        offsets[at + row + 1] = (int32_t)end;
    }
    return end;
}

static inline void put_decimals(int64_t *to, int64_t rows, const void *from, int64_t width) {
    for (int64_t row = 0; row < rows; row++) {
        int64_t value = width == 2   ? ((const int16_t *)from)[row]
                        : width == 4 ? ((const int32_t *)from)[row]
                                     : ((const int64_t *)from)[row];
        to[2 * row] = value;
        to[2 * row + 1] = value >> 63;
    }
}

/* What a null row has in DuckDB is left over from something else. */
static inline void clear_nulls(uint8_t *values, int64_t rows, int64_t width, const uint64_t *validity) {
    for (int64_t row = 0; row < rows; row++) {
        if (is_valid(validity, row)) continue;
        for (int64_t i = 0; i < width; i++) ((volatile uint8_t *)values)[row * width + i] = 0;
    }
}

static inline void put(struct gather *gather, struct column *column, int64_t at, int64_t rows, void *vector) {
    const uint64_t *validity = gather->vector_validity(vector);
    void *data = gather->vector_data(vector);
    if (column->validity != 0) set_bits(column->validity, at, rows, validity);
    if (count_nulls(validity, rows) == 0) validity = 0;
    switch (column->kind) {
    case BOOLEAN:
        put_bools(column->values, at, rows, data, validity);
        return;
    case TEXT:
        put_text(gather, column, at, rows, data, validity);
        return;
    case DECIMAL:
        put_decimals((int64_t *)column->values + 2 * at, rows, data, column->width);
        break;
    default:
        gather->copy(column->values + at * column->width, data, (uint64_t)(rows * column->width));
    }
    int64_t width = column->kind == DECIMAL ? 16 : column->width;
    if (validity != 0) clear_nulls(column->values + at * width, rows, width, validity);
}

/* Writes what was collected to its place, whose bits are 0, and destroys the chunks. */
EXPORT void fill(struct gather *gather) {
    int64_t at = 0;
    for (int64_t i = 0; i < gather->chunk_count; i++) {
        void *chunk = gather->chunks[i];
        int64_t rows = (int64_t)gather->chunk_size(chunk);
        for (int64_t k = 0; k < gather->column_count; k++) {
            put(gather, &gather->columns[k], at, rows, gather->chunk_vector(chunk, (uint64_t)k));
        }
        at += rows;
        gather->destroy_chunk(&chunk);
    }
    gather->chunk_count = 0;
}

/* Destroys what was collected and not written. */
EXPORT void discard(struct gather *gather) {
    for (int64_t i = 0; i < gather->chunk_count; i++) gather->destroy_chunk(&gather->chunks[i]);
    gather->chunk_count = 0;
    if (gather->carry != 0) gather->destroy_chunk(&gather->carry);
    gather->carry = 0;
}
