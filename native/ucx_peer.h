/*
 * What a client and a server of Arrow's Dissociated IPC protocol have in common: the end of the program, waiting for UCX,
 * and the metadata of Arrow (Message.fbs), as far as it says where the buffers of a body lie.
 */
#ifndef UCX_PEER_H
#define UCX_PEER_H

#include <arpa/inet.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucp/api/ucp.h>
#include <unistd.h>

#define PREFIX_BYTES 5
#define END_OF_STREAM 0
#define METADATA 1
#define SEQUENCE_MASK UINT64_C(0x00000000FFFFFFFF)
#define TYPE_SHIFT 56
#define LIST_HEAD_BYTES 16
#define PAIR_BYTES 16
#define LONGEST_MS 60000

static ucp_context_h context;
static ucp_worker_h worker;
static ucs_status_t lost = UCS_OK;

static inline int64_t now_ms(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * 1000 + at.tv_nsec / 1000000;
}

/* Ends the program: 1 if the other side breaks the rules, 3 if UCX fails. */
static inline void fail(int status, const char *what, const char *why) {
    printf("{\"error\": \"%s: %s\"}\n", what, why);
    fflush(stdout);
    _exit(status);
}

static inline void check(ucs_status_t status, const char *what) {
    if (status != UCS_OK) fail(3, what, ucs_status_string(status));
}

static inline void on_lost(void *arg, ucp_ep_h endpoint, ucs_status_t status) {
    (void)arg, (void)endpoint;
    lost = status;
}

/* Progresses once; lets others have the processor if there is nothing to do. */
static inline void progress(void) {
    if (ucp_worker_progress(worker) == 0) sched_yield();
}

/* Waits for a request. Returns its status, or that of a connection that was lost. */
static inline ucs_status_t settle(ucs_status_ptr_t request) {
    if (UCS_PTR_IS_ERR(request)) return UCS_PTR_STATUS(request);
    if (request == NULL) return UCS_OK;
    ucs_status_t status;
    int64_t end = now_ms() + LONGEST_MS;
    while ((status = ucp_request_check_status(request)) == UCS_INPROGRESS) {
        if (lost != UCS_OK) return lost;
        if (now_ms() > end) return UCS_ERR_TIMED_OUT;
        progress();
    }
    ucp_request_free(request);
    return status;
}

/* Receives the tagged message that matches; `*tag` is what it came with. Returns its length. */
static inline size_t receive(void *target, size_t capacity, uint64_t wanted, uint64_t mask, uint64_t *tag) {
    ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FLAG_NO_IMM_CMPL};
    ucs_status_ptr_t request = ucp_tag_recv_nbx(worker, target, capacity, wanted, mask, &param);
    if (UCS_PTR_IS_ERR(request)) check(UCS_PTR_STATUS(request), "receive");
    ucp_tag_recv_info_t info;
    ucs_status_t status;
    int64_t end = now_ms() + LONGEST_MS;
    while ((status = ucp_tag_recv_request_test(request, &info)) == UCS_INPROGRESS) {
        if (lost != UCS_OK) check(lost, "receive");
        if (now_ms() > end) fail(3, "receive", "nothing came");
        progress();
    }
    ucp_request_free(request);
    check(status, "receive");
    *tag = info.sender_tag;
    return info.length;
}

/* Makes the context and its worker, for tagged and active messages and what else a program needs. */
static inline void start_worker(uint64_t features) {
    ucp_params_t params = {.field_mask = UCP_PARAM_FIELD_FEATURES,
                           .features = UCP_FEATURE_TAG | UCP_FEATURE_AM | features};
    ucp_config_t *config;
    check(ucp_config_read(NULL, NULL, &config), "read the configuration");
    check(ucp_init(&params, config, &context), "initialise UCX");
    ucp_config_release(config);
    ucp_worker_params_t worker_params = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
                                         .thread_mode = UCS_THREAD_MODE_SINGLE};
    check(ucp_worker_create(context, &worker_params, &worker), "create a worker");
}

/* Has active messages with id 0, which are metadata, handled. */
static inline void receive_metadata(ucp_am_recv_callback_t callback) {
    ucp_am_handler_param_t handler = {
        .field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS | UCP_AM_HANDLER_PARAM_FIELD_CB,
        .id = 0,
        .flags = UCP_AM_FLAG_WHOLE_MSG,
        .cb = callback,
    };
    check(ucp_worker_set_am_recv_handler(worker, &handler), "set the handler of metadata");
}

/* Connects in one of the two error modes: `none` is what UCX takes when a program names no mode. */
static inline ucp_ep_h connect_to(const char *host, uint16_t port, int peer_mode) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) fail(1, "host", "not an IPv4 address");
    ucp_ep_params_t params = {0};
    params.field_mask = UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR;
    params.flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER;
    params.sockaddr.addr = (struct sockaddr *)&address;
    params.sockaddr.addrlen = sizeof address;
    if (peer_mode) {
        params.field_mask |= UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
        params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
        params.err_handler.cb = on_lost;
    }
    ucp_ep_h endpoint;
    check(ucp_ep_create(worker, &params, &endpoint), "connect");
    return endpoint;
}

static inline void close_endpoint(ucp_ep_h endpoint) {
    ucp_request_param_t param = {0};
    ucs_status_ptr_t request = ucp_ep_close_nbx(endpoint, &param);
    int64_t end = now_ms() + 2000;
    while (UCS_PTR_IS_PTR(request) && ucp_request_check_status(request) == UCS_INPROGRESS && now_ms() < end) progress();
    if (UCS_PTR_IS_PTR(request)) ucp_request_free(request);
}

static inline uint64_t unsigned_at(const uint8_t *bytes, int width) {
    uint64_t value = 0;
    for (int i = 0; i < width; i++) value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

static inline void put_unsigned(uint8_t *bytes, uint64_t value, int width) {
    for (int i = 0; i < width; i++) bytes[i] = (uint8_t)(value >> (8 * i));
}

/* The body that a message announces. */
struct body_layout {
    uint64_t length;
    size_t buffers;
    const uint8_t *places; /* offset and length of each buffer, u64 each */
};

static inline const uint8_t *inside(const uint8_t *message, size_t length, size_t at, size_t bytes) {
    if (at > length || bytes > length - at) fail(1, "metadata", "a field lies outside it");
    return message + at;
}

/* The place of a field of a flatbuffer table; 0 if it is absent. */
static inline size_t field(const uint8_t *message, size_t length, size_t table, int index) {
    size_t vtable = table - (size_t)(int32_t)unsigned_at(inside(message, length, table, 4), 4);
    size_t bytes = unsigned_at(inside(message, length, vtable, 2), 2), entry = 4 + 2 * (size_t)index;
    if (entry + 2 > bytes) return 0;
    size_t offset = unsigned_at(inside(message, length, vtable + entry, 2), 2);
    return offset == 0 ? 0 : table + offset;
}

/* The table that the offset at a place points to. */
static inline size_t follow(const uint8_t *message, size_t length, size_t at) {
    return at + unsigned_at(inside(message, length, at, 4), 4);
}

/* The table of a field that must be there. */
static inline size_t table_in(const uint8_t *message, size_t length, size_t table, int index) {
    size_t at = field(message, length, table, index);
    if (at == 0) fail(1, "metadata", "a table is missing");
    return follow(message, length, at);
}

#define DICTIONARY_BATCH 2
#define RECORD_BATCH 3

/* Reads a `Message`: its type is the second field, its header the third, the length of its body the fourth. */
static inline struct body_layout layout_of(const uint8_t *message, size_t length) {
    struct body_layout layout = {0};
    size_t root = follow(message, length, 0), at = field(message, length, root, 3);
    if (at != 0) layout.length = unsigned_at(inside(message, length, at, 8), 8);
    at = field(message, length, root, 1);
    int type = at == 0 ? 0 : *inside(message, length, at, 1);
    if (type != DICTIONARY_BATCH && type != RECORD_BATCH) return layout;
    size_t batch = table_in(message, length, root, 2);
    if (type == DICTIONARY_BATCH) batch = table_in(message, length, batch, 1);
    at = field(message, length, batch, 2);
    if (at == 0) return layout;
    size_t vector = follow(message, length, at);
    layout.buffers = unsigned_at(inside(message, length, vector, 4), 4);
    layout.places = inside(message, length, vector + 4, layout.buffers * PAIR_BYTES);
    for (size_t i = 0; i < layout.buffers; i++) {
        uint64_t start = unsigned_at(layout.places + i * PAIR_BYTES, 8), bytes = unsigned_at(layout.places + i * PAIR_BYTES + 8, 8);
        if (start > layout.length || bytes > layout.length - start) fail(1, "metadata", "a buffer lies outside the body");
    }
    return layout;
}

#endif
