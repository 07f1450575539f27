/*
 * A producer and consumer in C for the benchmarks: it costs next to nothing itself.
 * Build: cc -O2 -shared -fPIC -I<folder of arrow/c/abi.h> -o libbench.so bench.c
 */
#include <stdlib.h>
#include <string.h>
#include "abi.h"

static void mark_released(struct ArrowArray *array) { array->release = NULL; }

/* The same batch again and again, whose release does nothing but mark it. */
void bench_produce(const struct ArrowArray *batch, struct ArrowArray *out) {
    *out = *batch;
    out->release = mark_released;
}

void bench_release(struct ArrowArray *array) { array->release(array); }

void bench_nothing(struct ArrowArray *array) { (void)array; }

struct allocation {
    struct ArrowArray child, *children[1];
    const void *root_buffers[1], *child_buffers[2];
    int64_t values[];
};

static void release_child(struct ArrowArray *array) { array->release = NULL; }

static void free_batch(struct ArrowArray *array) {
    free(array->private_data);
    array->release = NULL;
}

/* A batch of one int64 column with memory of its own, all of it written. */
void bench_allocate(int64_t rows, struct ArrowArray *out) {
    struct allocation *all = calloc(1, sizeof(*all) + 8 * rows);
    for (int64_t i = 0; i < rows; i++) all->values[i] = i;
    all->child_buffers[1] = all->values;
    all->children[0] = &all->child;
    all->child = (struct ArrowArray){
        .length = rows, .n_buffers = 2, .buffers = all->child_buffers, .release = release_child};
    *out = (struct ArrowArray){
        .length = rows, .n_buffers = 1, .buffers = all->root_buffers, .n_children = 1, .children = all->children,
        .release = free_batch, .private_data = all};
}
