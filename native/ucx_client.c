/*
 * A client of Arrow's Dissociated IPC protocol, written from its specification and from UCX's documentation alone. It
 * reads one stream, checks that it is whole, and prints what arrived as one line of JSON.
 *
 *   ucx_client MODE HOST PORT WANT_DATA TICKET [PORT WANT_DATA]
 *
 * MODE is the error mode of its endpoints: `none`, which UCX takes when a program names no mode, or `peer`. The second
 * pair is the server of the bodies, if it is another one. With PAUSE_AFTER=N in the environment it prints "paused" after
 * N bodies and does nothing from then on; with SLOW_US=N it waits N microseconds after each body.
 *
 * Exit status: 0 if the stream was whole, 1 if it was not, 3 if the peer was lost.
 * Build: cc -I<ucx include directory> -o ucx_client ucx_client.c <libucp.so.0>
 */
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
#define MAX_MESSAGES 100000
#define LONGEST_MS 60000

/* A metadata message or a body: its memory, and how far its transfer has come. */
struct piece {
    uint8_t *bytes;
    size_t length;
    void *descriptor; /* of a metadata message that must still be fetched */
    void *request;
    int is_there;
};

static ucp_worker_h worker;
static struct piece frames[MAX_MESSAGES], bodies[MAX_MESSAGES];
static size_t frame_count, body_count;
static ucs_status_t lost = UCS_OK;

static int64_t now_ms(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * 1000 + at.tv_nsec / 1000000;
}

static void fail(int status, const char *what, const char *why) {
    printf("{\"error\": \"%s: %s\"}\n", what, why);
    fflush(stdout);
    _exit(status);
}

static void check(ucs_status_t status, const char *what) {
    if (status != UCS_OK) fail(3, what, ucs_status_string(status));
}

static uint32_t u32_at(const uint8_t *bytes) {
    return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* `bodyLength`, the fourth field of the table `Message` (Message.fbs), which is absent if it is 0. */
static int64_t body_length(const uint8_t *message, size_t length) {
    if (length < 8) fail(1, "metadata", "too short");
    size_t table = u32_at(message);
    size_t vtable = table - (int32_t)u32_at(message + table);
    uint16_t vtable_bytes = message[vtable] | message[vtable + 1] << 8;
    if (vtable_bytes < 4 + 4 * 2) return 0;
    uint16_t field = message[vtable + 10] | message[vtable + 11] << 8;
    if (field == 0) return 0;
    if (table + field + 8 > length) fail(1, "metadata", "a field lies outside it");
    return (int64_t)(u32_at(message + table + field) | (uint64_t)u32_at(message + table + field + 4) << 32);
}

static ucs_status_t on_metadata(void *arg, const void *header, size_t header_length, void *data, size_t length,
                                const ucp_am_recv_param_t *param) {
    (void)arg, (void)header, (void)header_length;
    if (frame_count == MAX_MESSAGES) fail(1, "metadata", "too many messages");
    struct piece *frame = &frames[frame_count++];
    frame->length = length;
    frame->bytes = malloc(length + 1);
    if (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) {
        frame->descriptor = data;
        return UCS_INPROGRESS;
    }
    memcpy(frame->bytes, data, length);
    frame->is_there = 1;
    return UCS_OK;
}

static void on_lost(void *arg, ucp_ep_h endpoint, ucs_status_t status) {
    (void)arg, (void)endpoint;
    lost = status;
}

/* Whether the transfer of a piece has ended. */
static int settle(struct piece *piece) {
    if (piece->is_there) return 1;
    if (piece->request == NULL) return 0;
    ucs_status_t status = ucp_request_check_status(piece->request);
    if (status == UCS_INPROGRESS) return 0;
    check(status, "receive");
    ucp_request_free(piece->request);
    piece->request = NULL;
    return piece->is_there = 1;
}

static void started(struct piece *piece, ucs_status_ptr_t request) {
    if (UCS_PTR_IS_ERR(request)) check(UCS_PTR_STATUS(request), "start a receive");
    if (request == NULL) piece->is_there = 1;
    else piece->request = request;
}

static void fetch(struct piece *frame) {
    ucp_request_param_t param = {0};
    void *descriptor = frame->descriptor;
    frame->descriptor = NULL;
    started(frame, ucp_am_recv_data_nbx(worker, descriptor, frame->bytes, frame->length, &param));
}

static void post_body(uint32_t sequence, int64_t length) {
    if (length < 0 || length > INT64_C(1) << 32) fail(1, "metadata", "an impossible length of a body");
    if (body_count == MAX_MESSAGES) fail(1, "metadata", "too many messages");
    struct piece *body = &bodies[body_count++];
    ucp_request_param_t param = {0};
    body->length = (size_t)length;
    body->bytes = malloc(body->length + 1);
    started(body, ucp_tag_recv_nbx(worker, body->bytes, body->length, sequence, SEQUENCE_MASK, &param));
}

static ucp_ep_h connect_to(const char *host, const char *port, int peer_mode) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
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

/* Progresses until a request has ended. */
static void finish(ucs_status_ptr_t request, const char *what) {
    if (UCS_PTR_IS_ERR(request)) check(UCS_PTR_STATUS(request), what);
    if (request == NULL) return;
    int64_t end = now_ms() + LONGEST_MS;
    ucs_status_t status;
    while ((status = ucp_request_check_status(request)) == UCS_INPROGRESS) {
        if (lost != UCS_OK) check(lost, what);
        if (now_ms() > end) fail(3, what, "no answer");
        if (ucp_worker_progress(worker) == 0) sched_yield();
    }
    ucp_request_free(request);
    check(status, what);
}

static void request_stream(ucp_ep_h endpoint, const char *want_data, const char *ticket) {
    ucp_request_param_t param = {0};
    finish(ucp_tag_send_nbx(endpoint, ticket, strlen(ticket), strtoull(want_data, NULL, 10), &param), "send the ticket");
}

static void close_endpoint(ucp_ep_h endpoint) {
    ucp_request_param_t param = {0};
    ucs_status_ptr_t request = ucp_ep_close_nbx(endpoint, &param);
    int64_t end = now_ms() + 2000;
    while (UCS_PTR_IS_PTR(request) && ucp_request_check_status(request) == UCS_INPROGRESS && now_ms() < end) {
        ucp_worker_progress(worker);
    }
    if (UCS_PTR_IS_PTR(request)) ucp_request_free(request);
}

static int number_of(const char *variable) {
    const char *text = getenv(variable);
    return text == NULL ? -1 : atoi(text);
}

/* Takes what has arrived, in order. Returns whether the stream is whole. */
static int advance(size_t *next_frame, size_t *next_body, uint32_t *end) {
    static int is_ended;
    for (size_t i = *next_frame; i < frame_count; i++) if (frames[i].descriptor != NULL) fetch(&frames[i]);
    while (*next_frame < frame_count && settle(&frames[*next_frame])) {
        struct piece *frame = &frames[(*next_frame)++];
        if (frame->length < PREFIX_BYTES) fail(1, "metadata", "shorter than its prefix");
        uint32_t sequence = u32_at(frame->bytes + 1);
        if (is_ended || sequence != *next_frame - 1) fail(1, "metadata", "a sequence number out of turn");
        if (frame->bytes[0] == END_OF_STREAM) {
            if (frame->length != PREFIX_BYTES) fail(1, "metadata", "an end of stream that is too long");
            *end = sequence;
            is_ended = 1;
        } else if (frame->bytes[0] == METADATA) {
            int64_t length = body_length(frame->bytes + PREFIX_BYTES, frame->length - PREFIX_BYTES);
            if (sequence > 0) post_body(sequence, length); /* the schema, number 0, has no body */
        } else {
            fail(1, "metadata", "of an unknown type");
        }
    }
    int pause_after = number_of("PAUSE_AFTER"), slow_us = number_of("SLOW_US");
    while (*next_body < body_count && settle(&bodies[*next_body])) {
        ++*next_body;
        if (slow_us > 0) usleep((useconds_t)slow_us);
        if (pause_after >= 0 && *next_body >= (size_t)pause_after) {
            printf("paused\n");
            fflush(stdout);
            for (;;) pause();
        }
    }
    return is_ended && *next_body == body_count;
}

static void start_worker(void) {
    ucp_params_t params = {.field_mask = UCP_PARAM_FIELD_FEATURES, .features = UCP_FEATURE_TAG | UCP_FEATURE_AM};
    ucp_context_h context;
    ucp_config_t *config;
    check(ucp_config_read(NULL, NULL, &config), "read the configuration");
    check(ucp_init(&params, config, &context), "initialise UCX");
    ucp_config_release(config);
    ucp_worker_params_t worker_params = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
                                         .thread_mode = UCS_THREAD_MODE_SINGLE};
    check(ucp_worker_create(context, &worker_params, &worker), "create a worker");
    ucp_am_handler_param_t handler = {
        .field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS | UCP_AM_HANDLER_PARAM_FIELD_CB,
        .id = 0,
        .flags = UCP_AM_FLAG_WHOLE_MSG,
        .cb = on_metadata,
    };
    check(ucp_worker_set_am_recv_handler(worker, &handler), "set the handler of metadata");
}

int main(int count, char **words) {
    if (count != 6 && count != 8) fail(1, "usage", "MODE HOST PORT WANT_DATA TICKET [PORT WANT_DATA]");
    int peer_mode = strcmp(words[1], "peer") == 0;
    start_worker();
    ucp_ep_h endpoints[2];
    int connections = count == 8 ? 2 : 1;
    endpoints[0] = connect_to(words[2], words[3], peer_mode);
    if (connections == 2) endpoints[1] = connect_to(words[2], words[6], peer_mode);
    request_stream(endpoints[0], words[4], words[5]);
    if (connections == 2) request_stream(endpoints[1], words[7], words[5]);

    size_t next_frame = 0, next_body = 0;
    uint32_t end = 0;
    int64_t last = now_ms();
    while (!advance(&next_frame, &next_body, &end)) {
        if (ucp_worker_progress(worker) != 0) last = now_ms();
        else if (lost != UCS_OK) check(lost, "read the stream");
        else if (now_ms() - last > LONGEST_MS) fail(3, "read the stream", "no news");
        else sched_yield();
    }
    if (end != body_count + 1) fail(1, "end of stream", "its number is not the count of messages");
    uint64_t sum = 14695981039346656037u, bytes = 0; /* FNV-1a of all bodies in order */
    for (size_t i = 0; i < body_count; i++) {
        for (size_t j = 0; j < bodies[i].length; j++) sum = (sum ^ bodies[i].bytes[j]) * 1099511628211u;
        bytes += bodies[i].length;
    }
    for (int i = 0; i < connections; i++) close_endpoint(endpoints[i]);
    printf("{\"batches\": %zu, \"bytes\": %llu, \"sum\": \"%016llx\"}\n", body_count, (unsigned long long)bytes,
           (unsigned long long)sum);
    return 0;
}
