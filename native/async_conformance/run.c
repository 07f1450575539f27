/*
 * What a program needs of the kit: the rules by number, for an implementation that is given as function pointers or as a shared object.
 *
 * Build: cc -pthread -shared -fPIC -I<folder of arrow/c/abi.h> run.c producer_rules.c consumer_rules.c
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "kit.h"

void sleep_us(int64_t microseconds) {
    struct timespec time = {microseconds / 1000000, microseconds % 1000000 * 1000};
    nanosleep(&time, NULL);
}

void on_thread(void *(*function)(void *), void *argument) {
    pthread_t thread;
    pthread_create(&thread, NULL, function, argument);
    pthread_detach(thread);
}

/* Rules of producers come first. */
int kit_rule_count(int is_consumer) { return is_consumer ? consumer_rule_count : producer_rule_count; }

static const struct rule *rule_of(int is_consumer, int index) {
    return is_consumer ? &consumer_rules[index] : &producer_rules[index];
}

const char *kit_rule_name(int is_consumer, int index) { return rule_of(is_consumer, index)->name; }
const char *kit_rule_place(int is_consumer, int index) { return rule_of(is_consumer, index)->place; }
const char *kit_rule_sentence(int is_consumer, int index) { return rule_of(is_consumer, index)->sentence; }

static struct implementation given;
static _Thread_local char detail[DETAIL_BYTES];

/* Takes an implementation as function pointers; those of a role that it has not are NULL. */
void kit_use(produce_function *produce, consume_function *consume,
    void (*begin_read)(void *, struct reading *), close_function *close) {
    given = (struct implementation){produce, consume, begin_read, close};
}

static read_function *loaded_read;

static void read_loaded(void *consumer, struct reading *reading) {
    int64_t first = 0;
    int status = loaded_read(consumer, &first);
    reading->first = first;
    reading->status = status;
}

/* Loads an implementation: bit 1 of the result if it is a producer, bit 2 if it is a consumer; negative if it cannot be loaded. */
int kit_load(const char *path, char *error) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        strncpy(error, dlerror(), DETAIL_BYTES - 1);
        return -1;
    }
    loaded_read = (read_function *)dlsym(library, "async_read");
    given = (struct implementation){(produce_function *)dlsym(library, "async_produce"),
        (consume_function *)dlsym(library, "async_consume"), read_loaded,
        (close_function *)dlsym(library, "async_close")};
    int is_consumer = given.consume != NULL && given.close != NULL && loaded_read != NULL;
    return (given.produce != NULL) | is_consumer << 1;
}

/* Checks one rule: 0 if it is kept, else 1 and what was seen. */
int kit_check(int is_consumer, int index, char *out) {
    detail[0] = 0;
    int failed = rule_of(is_consumer, index)->check(&given, detail);
    memcpy(out, detail, DETAIL_BYTES);
    return failed;
}
