/*
 * A conformance kit for Arrow's asynchronous device stream: what an implementation exports to be tested, and what the kit is made of.
 *
 * Every stream has one column "n" of int64 without nulls; batch i has the four rows 4i, 4i + 1, 4i + 2, 4i + 3.
 */
#pragma once
#include <stdatomic.h>
#include <stdint.h>

#include "abi.h"

enum { ROWS = 4 };

/*
 * A producer exports this function. It sends `batches` batches to the handler, or fails after `fail_after` ones if that is not
 * negative; it waits `delay_us` microseconds before each. It is called on a thread of its own, and may return when the stream has
 * ended or before.
 */
typedef void produce_function(
    struct ArrowAsyncDeviceStreamHandler *handler, int64_t batches, int64_t fail_after, int64_t delay_us);

/* A consumer exports these three functions. `consume` fills a handler and returns what stands for the reader. */
typedef void *consume_function(struct ArrowAsyncDeviceStreamHandler *handler);
/* Waits for the next batch: 1 and its first value, 0 at the end, or a negated errno. */
typedef int read_function(void *consumer, int64_t *first);
/* Ends the reader, at any time but not during a read. */
typedef void close_function(void *consumer);

/* A read under way. */
struct reading {
    int64_t first;
    _Atomic int32_t status;
};
enum { PENDING = 0x70000000 };

/* The same as the kit uses it: begin_read may return before it sets the status. */
struct implementation {
    produce_function *produce;
    consume_function *consume;
    void (*begin_read)(void *consumer, struct reading *reading);
    close_function *close;
};

/* One rule. `check` returns 0 if it is kept, and says in `detail` what was seen otherwise. */
struct rule {
    const char *name;
    /* Place in abi.h. */
    const char *place;
    const char *sentence;
    int (*check)(const struct implementation *implementation, char *detail);
};
enum { DETAIL_BYTES = 256 };

extern const struct rule producer_rules[];
extern const int producer_rule_count;
extern const struct rule consumer_rules[];
extern const int consumer_rule_count;

void sleep_us(int64_t microseconds);
/* Runs a function on a thread that nobody joins. */
void on_thread(void *(*function)(void *), void *argument);

/* Waits until a condition holds, for so many milliseconds. */
#define AWAIT(condition, milliseconds) \
    for (int64_t turns_ = 0; !(condition) && turns_ < (int64_t)(milliseconds)*5; turns_++) sleep_us(200)
/* What an implementation may take for anything, and how long the kit looks whether something happens that must not. */
enum { PATIENCE_MS = 3000, LOOK_MS = 60 };

/* Fails a check. */
#define FAIL(...) return snprintf(detail, DETAIL_BYTES, __VA_ARGS__), 1
