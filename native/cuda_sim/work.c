/*
 * The work of the simulated driver. It is executed late: not when it is submitted, but after some queries or in a
 * wait. Work is tracked until the host has observed its end, and any access to its memory before that is reported.
 */
#define _GNU_SOURCE
#include "sim.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Most milliseconds to wait for another process. */
#define MOST_SLEEPS 10000

/* Slot 0 is the default stream. Work of a slot is executed in the order of its sequence numbers. */
static struct {
    bool is_used;
    bool is_blocking;
    bool is_destroyed;
    int device;
    uint64_t submitted, executed;
    struct clock before;
} slots[MAX_STREAMS] = {{.is_used = true, .is_blocking = true}};

/* Work whose end the host has not observed, oldest first. */
static struct work *first_work, **last_work = &first_work;
/* Work whose end the host has observed. */
static struct clock host;
/* Number of queries so far. */
static uint64_t now;

static void merge(struct clock *into, const struct clock *from) {
    for (int i = 0; i < MAX_STREAMS; i++)
        if (from->seq[i] > into->seq[i]) into->seq[i] = from->seq[i];
}

/* Protection of the user's view of pinned memory while a copy is under way. */

/* The complete pages inside the range that the work reads or writes: neighbours may use the others. */
static bool guarded_pages(const struct work *work, uintptr_t *from, size_t *bytes) {
    const struct range *range = &work->ranges[work->guard];
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    *from = (range->address + page - 1) & ~(page - 1);
    uintptr_t to = (range->address + range->bytes) & ~(page - 1);
    *bytes = to > *from ? to - *from : 0;
    return *bytes > 0;
}

static void protect(const struct work *work) {
    uintptr_t from;
    size_t bytes;
    if (!work->is_guarded || !guarded_pages(work, &from, &bytes)) return;
    mprotect((void *)from, bytes, work->ranges[work->guard].writes ? PROT_NONE : PROT_READ);
}

static void unprotect(struct work *work) {
    uintptr_t from;
    size_t bytes;
    if (!work->is_guarded || !guarded_pages(work, &from, &bytes)) return;
    work->is_guarded = false;
    mprotect((void *)from, bytes, PROT_READ | PROT_WRITE);
    /* Other work may protect some of the same pages. */
    for (const struct work *other = first_work; other != NULL; other = other->next)
        if (other->guarded == work->guarded) protect(other);
}

static struct sigaction earlier_handler;

static void on_fault(int number, siginfo_t *info, void *context) {
    uintptr_t address = (uintptr_t)info->si_addr;
    sim_lock();
    bool is_ours = false;
    for (struct work *work = first_work; work != NULL; work = work->next) {
        uintptr_t from;
        size_t bytes;
        if (!work->is_guarded || !guarded_pages(work, &from, &bytes)) continue;
        if (address < from || address >= from + bytes) continue;
        sim_complain(CUDA_SUCCESS, "not waited for", "the CPU %s pinned memory at 0x%llx while %s uses it",
                     work->ranges[work->guard].writes ? "touches" : "writes", (unsigned long long)address, work->function);
        unprotect(work);
        is_ours = true;
        break;
    }
    int device = is_ours ? -1 : sim_device_of_view(info->si_addr);
    sim_unlock();
    if (is_ours) return;
    if (device >= 0) {
        char text[128];
        int length = snprintf(text, sizeof text, "cuda_sim: the CPU dereferenced memory of device %d at %p\n", device,
                              info->si_addr);
        if (write(2, text, (size_t)length) < 0) abort();
    }
    if (earlier_handler.sa_flags & SA_SIGINFO) {
        earlier_handler.sa_sigaction(number, info, context);
    } else if (earlier_handler.sa_handler == SIG_DFL || earlier_handler.sa_handler == SIG_IGN) {
        signal(number, SIG_DFL); /* The access is repeated, and ends the process. */
    } else {
        earlier_handler.sa_handler(number);
    }
}

void sim_install_fault_handler(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &action, &earlier_handler);
}

/* Executing work. */

static void execute(struct work *work) {
    switch (work->kind) {
    case WORK_COPY: memmove(work->to, work->from, work->bytes); break;
    case WORK_FILL: memset(work->to, work->value, work->bytes); break;
    case WORK_FREE: sim_drop_allocation(work->freed); break;
    case WORK_RECORD:
        if (work->shared != NULL) __atomic_store_n(&work->shared->executed, work->mark, __ATOMIC_RELEASE);
        break;
    case WORK_WAIT: break;
    }
    work->is_executed = true;
    slots[work->slot].executed = work->seq;
}

static bool may_execute(const struct work *work, bool at_once) {
    if (!at_once && work->due > now) return false;
    if (work->kind == WORK_WAIT && __atomic_load_n(&work->shared->executed, __ATOMIC_ACQUIRE) < work->mark) return false;
    if (slots[work->slot].executed + 1 != work->seq) return false;
    for (int i = 0; i < MAX_STREAMS; i++)
        if (i != work->slot && slots[i].executed < work->needs.seq[i]) return false;
    return true;
}

/* Executes what is due, or everything up to a point. */
static void run(const struct clock *wanted) {
    bool did_something;
    do {
        did_something = false;
        for (struct work *work = first_work; work != NULL; work = work->next) {
            bool at_once = wanted != NULL && work->seq <= wanted->seq[work->slot];
            if (work->is_executed || !may_execute(work, at_once)) continue;
            execute(work);
            did_something = true;
        }
    } while (did_something);
}

/* What must be executed before a point, including what other streams must do first. */
static struct clock closure(struct clock wanted) {
    for (bool grew = true; grew;) {
        grew = false;
        for (const struct work *work = first_work; work != NULL; work = work->next) {
            if (work->seq > wanted.seq[work->slot]) continue;
            for (int i = 0; i < MAX_STREAMS; i++)
                if (work->needs.seq[i] > wanted.seq[i]) wanted.seq[i] = work->needs.seq[i], grew = true;
        }
    }
    return wanted;
}

/* The host has observed the end of all work that a clock covers. */
static void observe(const struct clock *clock) {
    merge(&host, clock);
    struct work **at = &first_work;
    while (*at != NULL) {
        struct work *work = *at;
        if (!work->is_executed || work->seq > host.seq[work->slot]) {
            at = &work->next;
            continue;
        }
        *at = work->next;
        unprotect(work);
        free(work);
    }
    last_work = at;
}

/* Lets another process work for a while. False once it has had enough time. */
bool sim_sleep(int *tries) {
    if (++*tries > MOST_SLEEPS) {
        sim_complain(CUDA_SUCCESS, "not waited for", "%s waits for an event that another process never completes", sim_function());
        return false;
    }
    sim_unlock();
    usleep(1000);
    sim_lock();
    return true;
}

void sim_finish(struct clock wanted) {
    wanted = closure(wanted);
    int tries = 0;
    /* What waits for another process is not in this one's hands. */
    while (run(&wanted), !sim_has_executed(&wanted) && sim_sleep(&tries));
    observe(&wanted);
}

struct clock sim_point_of_slot(int slot) {
    struct clock clock = slots[slot].before;
    clock.seq[slot] = slots[slot].submitted;
    return clock;
}

/* Submitting work. */

static bool overlap(const struct range *a, const struct range *b) {
    return (a->writes || b->writes) && a->address < b->address + b->bytes && b->address < a->address + a->bytes;
}

/* Reports work that uses the same memory without being ordered before this work. */
static void check_order(const struct work *work, const struct clock *before) {
    for (const struct work *other = first_work; other != NULL; other = other->next) {
        if (other->seq <= before->seq[other->slot] || other->slot == work->slot) continue;
        for (int i = 0; i < work->range_count; i++)
            for (int j = 0; j < other->range_count; j++)
                if (overlap(&work->ranges[i], &other->ranges[j])) {
                    sim_complain(CUDA_SUCCESS, "not waited for", "%s %s memory at 0x%llx that %s on another stream %s, with "
                                 "nothing that orders them", sim_function(), work->ranges[i].writes ? "writes" : "reads",
                                 (unsigned long long)work->ranges[i].address, other->function,
                                 other->ranges[j].writes ? "writes" : "reads");
                    return;
                }
    }
}

void sim_submit(const struct work *given, int slot) {
    struct work *work = malloc(sizeof *work);
    *work = *given;
    work->function = sim_function();
    work->slot = slot;
    /* The default stream and blocking streams wait for each other. */
    for (int i = 0; slots[slot].is_blocking && i < MAX_STREAMS; i++) {
        if (i == slot || !slots[i].is_used || !slots[i].is_blocking || (slot != 0 && i != 0)) continue;
        struct clock other = sim_point_of_slot(i);
        merge(&slots[slot].before, &other);
    }
    struct clock before = slots[slot].before;
    merge(&before, &host);
    check_order(work, &before);
    work->needs = slots[slot].before;
    work->needs.seq[slot] = 0;
    work->seq = ++slots[slot].submitted;
    work->due = now + 1 + sim_delay;
    work->next = NULL;
    *last_work = work;
    last_work = &work->next;
    work->is_guarded = work->guarded != NULL;
    protect(work);
}

/* Work on the default stream that the caller waits for. */
void sim_submit_now(const struct work *work) {
    sim_submit(work, 0);
    sim_finish(sim_point_of_slot(0));
}

void sim_pass_time(void) {
    now++;
    run(NULL);
}

/* Time passes with each query. */
CUresult sim_query(const struct clock *point) {
    sim_pass_time();
    if (!sim_has_executed(point)) return CUDA_ERROR_NOT_READY;
    observe(point);
    return CUDA_SUCCESS;
}

bool sim_has_executed(const struct clock *point) {
    for (int i = 0; i < MAX_STREAMS; i++)
        if (slots[i].executed < point->seq[i]) return false;
    return true;
}

void sim_order_slot_after(int slot, const struct clock *clock) { merge(&slots[slot].before, clock); }

/* A slot for a new stream: a free one, or that of a destroyed stream whose work is done and observed; -1 if there is none. */
int sim_new_slot(int device, bool is_blocking) {
    for (int i = 1; i < MAX_STREAMS; i++) {
        bool is_idle = slots[i].executed == slots[i].submitted && host.seq[i] >= slots[i].submitted;
        if (slots[i].is_used && !(slots[i].is_destroyed && is_idle)) continue;
        slots[i].is_used = true;
        slots[i].is_destroyed = false;
        slots[i].is_blocking = is_blocking;
        slots[i].device = device;
        return i;
    }
    return -1;
}

void sim_destroy_slot(int slot) { slots[slot].is_destroyed = true; }

void sim_finish_device(int device) {
    struct clock all = {{0}};
    for (int i = 0; i < MAX_STREAMS; i++)
        if (i == 0 || slots[i].device == device) all.seq[i] = slots[i].submitted;
    sim_finish(all);
}

uint64_t sim_unseen_work(void) {
    uint64_t count = 0;
    for (const struct work *work = first_work; work != NULL; work = work->next) count++;
    return count;
}

static struct clock everything(void) {
    struct clock clock = {{0}};
    for (int slot = 0; slot < MAX_STREAMS; slot++) clock.seq[slot] = slots[slot].submitted;
    return clock;
}

/* Called before memory is freed: work that uses it is reported and executed. */
void sim_finish_range(uintptr_t address, size_t bytes, const char *what) {
    const struct range all = {address, bytes, true};
    for (const struct work *work = first_work; work != NULL; work = work->next)
        for (int i = 0; i < work->range_count; i++) {
            if (!overlap(&all, &work->ranges[i])) continue;
            sim_complain(CUDA_SUCCESS, "not waited for", "%s of %s at 0x%llx that %s uses", sim_function(), what,
                         (unsigned long long)address, work->function);
            sim_finish(everything());
            return;
        }
}

/* Called before a context is destroyed. */
void sim_finish_all(void) {
    if (first_work != NULL)
        sim_complain(CUDA_SUCCESS, "not waited for", "%s while %s is under way", sim_function(), first_work->function);
    sim_finish(everything());
}
