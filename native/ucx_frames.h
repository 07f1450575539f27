/*
 * The metadata that a client of Arrow's Dissociated IPC protocol has got, in the order in which it arrived.
 */
#ifndef UCX_FRAMES_H
#define UCX_FRAMES_H

#include "ucx_peer.h"

#define MAX_FRAMES 100000

struct frame {
    uint8_t *bytes;
    size_t length;
    void *descriptor; /* of one that must still be fetched */
};

static struct frame frames[MAX_FRAMES];
static size_t frame_count;

static inline ucs_status_t on_metadata(void *arg, const void *header, size_t header_length, void *data, size_t length,
                                       const ucp_am_recv_param_t *param) {
    (void)arg, (void)header, (void)header_length;
    if (frame_count == MAX_FRAMES) fail(1, "metadata", "too many messages");
    struct frame *frame = &frames[frame_count++];
    frame->length = length;
    frame->bytes = malloc(length + 1);
    if (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) {
        frame->descriptor = data;
        return UCS_INPROGRESS;
    }
    memcpy(frame->bytes, data, length);
    return UCS_OK;
}

/* The whole frame with an index, which has arrived. */
static inline const struct frame *fetched(size_t index) {
    struct frame *frame = &frames[index];
    if (frame->descriptor != NULL) {
        ucp_request_param_t param = {0};
        check(settle(ucp_am_recv_data_nbx(worker, frame->descriptor, frame->bytes, frame->length, &param)), "fetch metadata");
        frame->descriptor = NULL;
    }
    if (frame->length < PREFIX_BYTES) fail(1, "metadata", "shorter than its prefix");
    if (unsigned_at(frame->bytes + 1, 4) != index) fail(1, "metadata", "a sequence number out of turn");
    return frame;
}

#endif
