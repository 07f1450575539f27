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
#include "ucx_frames.h"

/* A body: its memory, and how far its transfer has come. */
struct body {
    uint8_t *bytes;
    size_t length;
    void *request;
    int is_there;
};

static struct body bodies[MAX_FRAMES];
static size_t body_count;

/* Whether the transfer of a body has ended. */
static int is_settled(struct body *body) {
    if (body->is_there) return 1;
    if (body->request == NULL) return 0;
    ucs_status_t status = ucp_request_check_status(body->request);
    if (status == UCS_INPROGRESS) return 0;
    check(status, "receive");
    ucp_request_free(body->request);
    body->request = NULL;
    return body->is_there = 1;
}

static void post_body(uint32_t sequence, int64_t length) {
    if (length < 0 || length > INT64_C(1) << 32) fail(1, "metadata", "an impossible length of a body");
    if (body_count == MAX_FRAMES) fail(1, "metadata", "too many messages");
    struct body *body = &bodies[body_count++];
    ucp_request_param_t param = {0};
    body->length = (size_t)length;
    body->bytes = malloc(body->length + 1);
    ucs_status_ptr_t request = ucp_tag_recv_nbx(worker, body->bytes, body->length, sequence, SEQUENCE_MASK, &param);
    if (UCS_PTR_IS_ERR(request)) check(UCS_PTR_STATUS(request), "start a receive");
    if (request == NULL) body->is_there = 1;
    else body->request = request;
}

static void request_stream(ucp_ep_h endpoint, const char *want_data, const char *ticket) {
    ucp_request_param_t param = {0};
    check(settle(ucp_tag_send_nbx(endpoint, ticket, strlen(ticket), strtoull(want_data, NULL, 10), &param)), "send the ticket");
}

static int number_of(const char *variable) {
    const char *text = getenv(variable);
    return text == NULL ? -1 : atoi(text);
}

/* Takes what has arrived, in order. Returns whether the stream is whole. */
static int advance(size_t *next_frame, size_t *next_body, uint32_t *end) {
    static int is_ended;
    while (*next_frame < frame_count) {
        const struct frame *frame = fetched((*next_frame)++);
        uint32_t sequence = (uint32_t)unsigned_at(frame->bytes + 1, 4);
        if (is_ended) fail(1, "metadata", "a message after the end of stream");
        if (frame->bytes[0] == END_OF_STREAM) {
            if (frame->length != PREFIX_BYTES) fail(1, "metadata", "an end of stream that is too long");
            *end = sequence;
            is_ended = 1;
        } else if (frame->bytes[0] == METADATA) {
            int64_t length = (int64_t)layout_of(frame->bytes + PREFIX_BYTES, frame->length - PREFIX_BYTES).length;
            if (sequence > 0) post_body(sequence, length); /* the schema, number 0, has no body */
        } else {
            fail(1, "metadata", "of an unknown type");
        }
    }
    int pause_after = number_of("PAUSE_AFTER"), slow_us = number_of("SLOW_US");
    while (*next_body < body_count && is_settled(&bodies[*next_body])) {
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

int main(int count, char **words) {
    if (count != 6 && count != 8) fail(1, "usage", "MODE HOST PORT WANT_DATA TICKET [PORT WANT_DATA]");
    int peer_mode = strcmp(words[1], "peer") == 0;
    start_worker(0);
    receive_metadata(on_metadata);
    ucp_ep_h endpoints[2];
    int connections = count == 8 ? 2 : 1;
    endpoints[0] = connect_to(words[2], (uint16_t)atoi(words[3]), peer_mode);
    if (connections == 2) endpoints[1] = connect_to(words[2], (uint16_t)atoi(words[6]), peer_mode);
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
