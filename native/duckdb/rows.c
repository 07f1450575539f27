/*
 * Gathers the chunks of a result of DuckDB into the buffers of one Arrow batch, without a call from JavaScript for each chunk, and
 * on whatever thread. `deno run -A tools/machine_code.ts` compiles this file to src/duckdb/rows_machine_code.ts.
 *
 * Nothing here may refer to anything outside: functions come as pointers. The layouts are those of src/duckdb/rows.ts, and of
 * DuckDB's vectors: values one after another, text as 16 bytes (length, then up to 12 bytes in place, or 4 and a pointer).
 */
#include <stdint.h>

#define EXPORT __attribute__((visibility("hidden"), used))

enum kind {
    FIXED, /* values of `width` bytes, as they are */
    BITS, /* bytes that become bits */
    TEXT32, /* text with offsets of 32 bits */
    TEXT64,
    BYTES, /* text whose values all have `width` bytes, without offsets */
    DECIMAL, /* integers of `width` bytes that become 16 */
    THOUSANDTH32, /* integers of 64 bits, divided by 1,000, that become 32 */
    THOUSANDTH64,
    UUID, /* integers of 128 bits, whose highest bit is inverted, that become bytes with the highest first */
};

struct column {
    int64_t kind;
    int64_t width;
    /* The buffers: validity bitmap (none if the batch has no nulls), offsets of text, values or bytes of text. */
    uint64_t *validity;
    void *offsets;
    uint8_t *data;
    /* Bytes of text and nulls of the next batch. */
    int64_t text_bytes, nulls;
    /* Those of the chunk that was measured last. */
    int64_t chunk_text, chunk_nulls;
};

struct result { uint64_t words[6]; };

struct rows {
    void *(*fetch_chunk)(struct result);
    uint64_t (*chunk_size)(void *);
    void *(*chunk_vector)(void *, uint64_t);
    void *(*vector_data)(void *);
    uint64_t *(*vector_validity)(void *);
    void (*destroy_chunk)(void **);
    void *(*copy)(void *, const void *, uint64_t);
    struct result result;
    /* Chunks that wait, with `waiting` rows without the first `skipped` ones. */
    void **chunks;
    int64_t chunk_count, skipped, waiting;
    /* Rows of the next batch. */
    int64_t wanted;
    int64_t has_ended;
    /* Column of the first value that does not fit its type, counted from 1. */
    int64_t misfit;
    /* A batch of whole chunks ends with the one that reaches one of them. */
    int64_t max_rows, max_bytes, max_chunks;
    int64_t column_count;
    struct column columns[];
};

struct text {
    uint32_t length;
    char start[4];
    const char *rest;
};

enum { IN_PLACE = 12, MAX_OFFSET32 = 0x7fffffff };

typedef uint64_t __attribute__((aligned(1), may_alias)) any64;
typedef uint32_t __attribute__((aligned(1), may_alias)) any32;

static inline int is_valid(const uint64_t *validity, int64_t row) {
    return validity == 0 || (validity[row >> 6] >> (row & 63) & 1);
}

static inline int is_text(int64_t kind) { return kind == TEXT32 || kind == TEXT64; }

/* Bits that say which of the rows are there, from `row` on: up to 64 of them. */
static inline uint64_t bits_at(const uint64_t *validity, int64_t row, int64_t count) {
    uint64_t bits = validity[row >> 6] >> (row & 63);
    if ((row & 63) != 0 && (row & 63) + count > 64) bits |= validity[(row >> 6) + 1] << (64 - (row & 63));
    return count == 64 ? bits : bits & (((uint64_t)1 << count) - 1);
}

static inline int64_t ones(uint64_t bits) {
    bits -= bits >> 1 & 0x5555555555555555;
    bits = (bits & 0x3333333333333333) + (bits >> 2 & 0x3333333333333333);
    return (int64_t)(((bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0f) * 0x0101010101010101 >> 56);
}

static inline int64_t nulls_of(const uint64_t *validity, int64_t begin, int64_t end) {
    int64_t nulls = 0;
    if (validity == 0) return 0;
    for (int64_t row = begin; row < end; row += 64) {
        int64_t count = end - row < 64 ? end - row : 64;
        nulls += count - ones(bits_at(validity, row, count));
    }
    return nulls;
}

static inline int64_t text_of(const struct text *texts, const uint64_t *validity, int64_t begin, int64_t end) {
    int64_t sum = 0;
    if (validity == 0) for (int64_t row = begin; row < end; row++) sum += texts[row].length;
    else for (int64_t row = begin; row < end; row++) sum += is_valid(validity, row) ? texts[row].length : 0;
    return sum;
}

/* Bytes of a row in a batch, without those of its text. */
static inline int64_t row_bytes(const struct column *column) {
    switch (column->kind) {
    case TEXT32:
    case THOUSANDTH32: return 4;
    case TEXT64: return 8;
    case DECIMAL: return 16;
    default: return column->width;
    }
}

/* Fetches one chunk that has rows. Returns 0 at the end. */
static int fetch_one(struct rows *rows) {
    while (!rows->has_ended) {
        void *chunk = rows->fetch_chunk(rows->result);
        int64_t size = chunk == 0 ? 0 : (int64_t)rows->chunk_size(chunk);
        if (chunk == 0) rows->has_ended = 1;
        else if (size == 0) rows->destroy_chunk(&chunk);
        else {
            rows->chunks[rows->chunk_count++] = chunk;
            rows->waiting += size;
            return 1;
        }
    }
    return 0;
}

/* Measures rows `begin` to `end` of a chunk. Returns their size in bytes, as Arrow has them. */
static int64_t measure(struct rows *rows, void *chunk, int64_t begin, int64_t end) {
    int64_t bytes = 0;
    for (int64_t c = 0; c < rows->column_count; c++) {
        struct column *column = &rows->columns[c];
        void *vector = rows->chunk_vector(chunk, c);
        const uint64_t *validity = rows->vector_validity(vector);
        column->chunk_nulls = nulls_of(validity, begin, end);
        if (column->chunk_nulls == 0) validity = 0;
        column->chunk_text = is_text(column->kind) ? text_of(rows->vector_data(vector), validity, begin, end) : 0;
        bytes += column->chunk_text + (end - begin) * row_bytes(column);
    }
    return bytes;
}

static void clear_measures(struct rows *rows) {
    for (int64_t c = 0; c < rows->column_count; c++) rows->columns[c].text_bytes = rows->columns[c].nulls = 0;
}

/* Adds what was measured last to the next batch. */
static void add_measures(struct rows *rows) {
    for (int64_t c = 0; c < rows->column_count; c++) {
        rows->columns[c].text_bytes += rows->columns[c].chunk_text;
        rows->columns[c].nulls += rows->columns[c].chunk_nulls;
    }
}

/* Whether the offsets of the next batch can count what was measured last, too. */
static int is_countable(const struct rows *rows) {
    for (int64_t c = 0; c < rows->column_count; c++) {
        const struct column *column = &rows->columns[c];
        if (column->kind == TEXT32 && column->text_bytes + column->chunk_text > MAX_OFFSET32) return 0;
    }
    return 1;
}

/* Fetches chunks until there are `wanted` rows, and measures them. */
EXPORT int fetch_rows(struct rows *rows, void *unused) {
    (void)unused;
    while (rows->waiting < rows->wanted) {
        if (!fetch_one(rows)) return 0;
    }
    clear_measures(rows);
    int64_t left = rows->wanted, begin = rows->skipped;
    for (int64_t i = 0; left > 0; i++, begin = 0) {
        int64_t end = (int64_t)rows->chunk_size(rows->chunks[i]);
        if (end - begin > left) end = begin + left;
        measure(rows, rows->chunks[i], begin, end);
        add_measures(rows);
        left -= end - begin;
    }
    return 0;
}

/* Fetches and measures whole chunks until they are enough for a batch: `wanted` becomes the number of their rows. */
EXPORT int fetch_chunks(struct rows *rows, void *unused) {
    (void)unused;
    int64_t bytes = 0, begin = rows->skipped;
    clear_measures(rows);
    rows->wanted = 0;
    for (int64_t i = 0; i < rows->max_chunks && rows->wanted < rows->max_rows && bytes < rows->max_bytes; i++, begin = 0) {
        if (i == rows->chunk_count && !fetch_one(rows)) break;
        int64_t end = (int64_t)rows->chunk_size(rows->chunks[i]);
        int64_t more = measure(rows, rows->chunks[i], begin, end);
        /* It begins the next batch. */
        if (rows->wanted > 0 && !is_countable(rows)) break;
        add_measures(rows);
        rows->wanted += end - begin;
        bytes += more;
    }
    return 0;
}

/* Writes one text; up to 12 bytes behind it are overwritten. */
static inline uint8_t *put_text(const struct rows *rows, uint8_t *to, const struct text *text) {
    uint32_t length = text->length;
    if (length <= IN_PLACE) {
        *(any64 *)to = *(const any64 *)text->start;
        *(any32 *)(to + 8) = *(const any32 *)(text->start + 8);
    } else {
        rows->copy(to, text->rest, length);
    }
    return to + length;
}

/* Puts `count` bits at bit `at`; the target is 0 there. */
static inline void put_bits(uint64_t *target, int64_t at, uint64_t bits, int64_t count) {
    target[at >> 6] |= bits << (at & 63);
    if ((at & 63) != 0 && (at & 63) + count > 64) target[(at >> 6) + 1] |= bits >> (64 - (at & 63));
}

static inline int64_t reversed(uint64_t word) { return (int64_t)__builtin_bswap64(word); }

static inline int64_t integer_at(const void *data, int64_t width, int64_t row) {
    switch (width) {
    case 2: return ((const int16_t *)data)[row];
    case 4: return ((const int32_t *)data)[row];
    default: return ((const int64_t *)data)[row];
    }
}

/* Copies rows `begin` to `end` of a vector to row `at` of the batch. Returns 0 if a value does not fit. */
static int copy_vector(
    const struct rows *rows, struct column *column, void *vector, int64_t begin, int64_t end, int64_t at, int64_t *text_at) {
    const void *data = rows->vector_data(vector);
    const uint64_t *validity = rows->vector_validity(vector);
    int64_t width = column->width, count = end - begin;
    if (column->validity == 0) validity = 0;
    switch (column->kind) {
    case FIXED:
        rows->copy(column->data + at * width, (const uint8_t *)data + begin * width, count * width);
        break;
    case BITS:
        for (int64_t row = 0; row < count; row++) {
            uint64_t bit = ((const uint8_t *)data)[begin + row] != 0 && is_valid(validity, begin + row);
            ((uint64_t *)column->data)[(at + row) >> 6] |= bit << ((at + row) & 63);
        }
        break;
    case TEXT32:
    case TEXT64: {
        const struct text *texts = (const struct text *)data + begin;
        uint8_t *to = column->data + *text_at;
        for (int64_t row = 0; row < count; row++) {
            if (is_valid(validity, begin + row)) to = put_text(rows, to, &texts[row]);
            if (column->kind == TEXT32) ((int32_t *)column->offsets)[at + row + 1] = (int32_t)(to - column->data);
            else ((int64_t *)column->offsets)[at + row + 1] = to - column->data;
        }
        *text_at = to - column->data;
        break;
    }
    case BYTES:
        for (int64_t row = 0; row < count; row++) {
            const struct text *text = (const struct text *)data + begin + row;
            if (!is_valid(validity, begin + row)) continue;
            if (text->length != width) return 0;
            rows->copy(column->data + (at + row) * width, width <= IN_PLACE ? text->start : text->rest, width);
        }
        break;
    case DECIMAL:
        for (int64_t row = 0; row < count; row++) {
            int64_t *to = (int64_t *)(column->data + 16 * (at + row));
            to[0] = is_valid(validity, begin + row) ? integer_at(data, width, begin + row) : 0;
            to[1] = to[0] >> 63;
        }
        break;
    case THOUSANDTH32:
    case THOUSANDTH64:
        for (int64_t row = 0; row < count; row++) {
            int64_t value = is_valid(validity, begin + row) ? ((const int64_t *)data)[begin + row] : 0;
            int64_t quotient = value / 1000;
            if (quotient * 1000 != value) return 0;
            if (column->kind == THOUSANDTH64) ((int64_t *)column->data)[at + row] = quotient;
            else if (quotient != (int32_t)quotient) return 0;
            else ((int32_t *)column->data)[at + row] = (int32_t)quotient;
        }
        break;
    case UUID:
        for (int64_t row = 0; row < count; row++) {
            const uint64_t *from = (const uint64_t *)data + 2 * (begin + row);
            int64_t *to = (int64_t *)(column->data + 16 * (at + row));
            if (!is_valid(validity, begin + row)) continue;
            to[0] = reversed(from[1] ^ (uint64_t)1 << 63);
            to[1] = reversed(from[0]);
        }
        break;
    }
    for (int64_t row = 0; column->validity != 0 && row < count; row += 64) {
        int64_t some = count - row < 64 ? count - row : 64;
        uint64_t all = some == 64 ? ~(uint64_t)0 : ((uint64_t)1 << some) - 1;
        uint64_t bits = validity == 0 ? all : bits_at(validity, begin + row, some);
        put_bits(column->validity, at + row, bits, some);
        if (bits == all || column->kind != FIXED) continue;
        /* What DuckDB has in place of a null is not to be sent. */
        for (int64_t i = 0; i < some; i++) {
            uint8_t *to = column->data + (at + row + i) * width;
            if (!(bits >> i & 1)) for (int64_t byte = 0; byte < width; byte++) ((volatile uint8_t *)to)[byte] = 0;
        }
    }
    return 1;
}

static void drop_chunks(struct rows *rows, int64_t count) {
    for (int64_t i = 0; i < count; i++) rows->destroy_chunk(&rows->chunks[i]);
    for (int64_t i = count; i < rows->chunk_count; i++) rows->chunks[i - count] = rows->chunks[i];
    rows->chunk_count -= count;
}

/* Copies the next batch, which was measured, into its buffers, of which bits, `BYTES` and `UUID` are 0, and destroys the chunks
 * that were used up. */
EXPORT int copy_rows(struct rows *rows, void *unused) {
    (void)unused;
    int64_t used = 0, rest = 0;
    for (int64_t c = 0; c < rows->column_count; c++) {
        struct column *column = &rows->columns[c];
        int64_t left = rows->wanted, begin = rows->skipped, at = 0, text_at = 0;
        if (column->kind == TEXT32) *(int32_t *)column->offsets = 0;
        if (column->kind == TEXT64) *(int64_t *)column->offsets = 0;
        for (int64_t i = 0; left > 0; i++, begin = 0) {
            void *vector = rows->chunk_vector(rows->chunks[i], c);
            int64_t end = (int64_t)rows->chunk_size(rows->chunks[i]);
            if (end - begin > left) end = begin + left;
            if (!copy_vector(rows, column, vector, begin, end, at, &text_at) && rows->misfit == 0) rows->misfit = c + 1;
            at += end - begin;
            left -= end - begin;
        }
        /* Texts are written with up to 12 bytes behind them. */
        if (is_text(column->kind)) {
            for (int64_t i = 0; i < IN_PLACE; i++) ((volatile uint8_t *)column->data)[text_at + i] = 0;
        }
    }
    int64_t left = rows->wanted, begin = rows->skipped;
    while (left > 0) {
        int64_t size = (int64_t)rows->chunk_size(rows->chunks[used]) - begin;
        if (size > left) {
            rest = begin + left;
            break;
        }
        left -= size;
        begin = 0;
        used++;
    }
    drop_chunks(rows, used);
    rows->skipped = rest;
    rows->waiting -= rows->wanted;
    return 0;
}

/* Destroys all chunks. */
EXPORT int drop_rows(struct rows *rows, void *unused) {
    (void)unused;
    drop_chunks(rows, rows->chunk_count);
    rows->waiting = rows->skipped = 0;
    return 0;
}
