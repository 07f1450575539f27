/*
 * A client of Arrow's Dissociated IPC protocol that reads in the server's memory, written from the specification and from
 * UCX's documentation alone. It knows a server by its URI and nothing else.
 *
 *   client MODE WAY URI TICKET FILE
 *
 * MODE is the error mode of its endpoint: `none`, which UCX takes when a program names no mode, or `peer`. WAY is how it
 * reads: `pointer` (ucp_rkey_ptr), `get` (ucp_get_nbx), or `either`. It writes what has arrived as an Arrow IPC stream
 * to FILE, and prints one line of JSON. With DOUBLE_FREE in the environment it gives back its first address twice, and
 * waits for what becomes of it; with KEEP it gives nothing back.
 *
 * Exit status: 0 if the stream was whole, 1 if it was not, 3 if UCX failed or the peer was lost.
 * Build: cc -I<ucx include directory> -o client client.c <libucp.so.0>
 */
#include "../ucx_frames.h"

#define MAX_URI 65536

/* What the URI says. */
static struct {
    char host[64];
    uint16_t port;
    uint64_t want_data, free_data;
    uint8_t key[MAX_URI];
    size_t key_bytes;
} server;

static ucp_ep_h endpoint;
static ucp_rkey_h key;
static size_t listed, pointed, got;

static int hexadecimal(char digit) {
    return digit <= '9' ? digit - '0' : (digit | 32) - 'a' + 10;
}

/* Undoes percent-encoding in place. */
static void decode_percent(char *text) {
    char *out = text;
    for (; *text != 0; text++) {
        if (text[0] == '%' && text[1] != 0 && text[2] != 0) {
            *out++ = (char)(hexadecimal(text[1]) << 4 | hexadecimal(text[2]));
            text += 2;
        } else {
            *out++ = *text;
        }
    }
    *out = 0;
}

static size_t decode_base64(const char *text, uint8_t *bytes) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t group = 0;
    size_t length = 0;
    for (int bits = 0; *text != 0 && *text != '='; text++) {
        const char *digit = strchr(digits, *text);
        if (digit == NULL) fail(1, "remote_handle", "not base64");
        group = group << 6 | (uint32_t)(digit - digits);
        if ((bits += 6) >= 8) bytes[length++] = (uint8_t)(group >> (bits -= 8));
    }
    return length;
}

static void parse_uri(const char *uri) {
    static char text[MAX_URI];
    if (strncmp(uri, "ucx://", 6) != 0 || strlen(uri) >= sizeof text) fail(1, "URI", "not a ucx: URI");
    strcpy(text, uri + 6);
    char *query = strchr(text, '?');
    if (query == NULL || sscanf(text, "%63[^:]:%hu", server.host, &server.port) != 2) fail(1, "URI", "no port or query");
    for (char *part = strtok(query + 1, "&"); part != NULL; part = strtok(NULL, "&")) {
        char *value = strchr(part, '=');
        if (value == NULL) continue;
        *value++ = 0;
        decode_percent(value);
        if (strcmp(part, "want_data") == 0) server.want_data = strtoull(value, NULL, 10);
        if (strcmp(part, "free_data") == 0) server.free_data = strtoull(value, NULL, 10);
        if (strcmp(part, "remote_handle") == 0) server.key_bytes = decode_base64(value, server.key);
    }
}

static void send_tagged(uint64_t tag, const void *bytes, size_t length) {
    ucp_request_param_t param = {0};
    check(settle(ucp_tag_send_nbx(endpoint, bytes, length, tag, &param)), "send");
}

/* The frame of a sequence number, which is its place in the order of arrival. */
static const struct frame *next_frame(size_t index) {
    int64_t end = now_ms() + LONGEST_MS;
    while (frame_count <= index) {
        progress();
        if (lost != UCS_OK && frame_count <= index) check(lost, "read the stream");
        if (now_ms() > end) fail(3, "read the stream", "no news");
    }
    return fetched(index);
}

/* Reads a buffer in the server's memory. */
static void read_remote(uint64_t address, uint8_t *target, uint64_t bytes, const char *way) {
    if (key == NULL) fail(1, "list of addresses", "the URI has no remote_handle");
    void *pointer;
    if (strcmp(way, "get") != 0) {
        ucs_status_t status = ucp_rkey_ptr(key, address, &pointer);
        if (status == UCS_OK) {
            memcpy(target, pointer, bytes);
            pointed++;
            return;
        }
        if (strcmp(way, "pointer") == 0) check(status, "ucp_rkey_ptr");
    }
    ucp_request_param_t param = {0};
    check(settle(ucp_get_nbx(endpoint, target, bytes, address, key, &param)), "ucp_get_nbx");
    got++;
}

/* Makes a body of a list of addresses, and gives them back. */
static void read_listed(const uint8_t *list, size_t length, const struct body_layout *layout, uint8_t *body,
                        const char *way) {
    if (length != LIST_HEAD_BYTES + layout->buffers * PAIR_BYTES) fail(1, "list of addresses", "of another length");
    if (unsigned_at(list + 8, 8) != layout->buffers) fail(1, "list of addresses", "of another count");
    uint8_t *freed = malloc(length + 8);
    uint64_t total = 0;
    size_t count = 0;
    memset(body, 0, layout->length);
    for (size_t i = 0; i < layout->buffers; i++) {
        const uint8_t *pair = list + LIST_HEAD_BYTES + i * PAIR_BYTES;
        uint64_t address = unsigned_at(pair, 8), bytes = unsigned_at(pair + 8, 8);
        if (bytes != unsigned_at(layout->places + i * PAIR_BYTES + 8, 8)) fail(1, "list of addresses", "of other lengths");
        total += bytes;
        if (bytes == 0) continue;
        read_remote(address, body + unsigned_at(layout->places + i * PAIR_BYTES, 8), bytes, way);
        put_unsigned(freed + 8 * count++, address, 8);
    }
    if (total != unsigned_at(list, 8)) fail(1, "list of addresses", "its total does not add up");
    if (getenv("KEEP") == NULL && count > 0) {
        if (listed == 0 && getenv("DOUBLE_FREE") != NULL) {
            memcpy(freed + 8 * count, freed, 8);
            count++;
        }
        send_tagged(server.free_data, freed, 8 * count);
    }
    listed++;
    free(freed);
}

static void write_message(FILE *file, const uint8_t *metadata, size_t length, const uint8_t *body, size_t body_bytes) {
    uint8_t head[8], padding[8] = {0};
    size_t padded = (length + 7) / 8 * 8;
    put_unsigned(head, 0xFFFFFFFF, 4);
    put_unsigned(head + 4, padded, 4);
    fwrite(head, 1, 8, file);
    fwrite(metadata, 1, length, file);
    fwrite(padding, 1, padded - length, file);
    fwrite(body, 1, body_bytes, file);
}

/* Receives a body of either type. Returns its memory. */
static uint8_t *receive_body(size_t sequence, const struct body_layout *layout, const char *way) {
    size_t list = LIST_HEAD_BYTES + layout->buffers * PAIR_BYTES;
    size_t room = layout->length > list ? layout->length : list;
    uint8_t *arrived = malloc(room);
    uint64_t tag;
    size_t length = receive(arrived, room, sequence, SEQUENCE_MASK, &tag);
    if (tag >> TYPE_SHIFT == 0) {
        if (length != layout->length) fail(1, "body", "of another length");
        return arrived;
    }
    if (tag >> TYPE_SHIFT != 1) fail(1, "body", "of an unknown type");
    uint8_t *body = malloc(layout->length + 1);
    read_listed(arrived, length, layout, body, way);
    free(arrived);
    return body;
}

int main(int count, char **words) {
    if (count != 6) fail(1, "usage", "MODE WAY URI TICKET FILE");
    parse_uri(words[3]);
    FILE *file = fopen(words[5], "wb");
    if (file == NULL) fail(1, "file", "cannot be written");
    start_worker(UCP_FEATURE_RMA);
    receive_metadata(on_metadata);
    endpoint = connect_to(server.host, server.port, strcmp(words[1], "peer") == 0);
    ucp_request_param_t param = {0};
    check(settle(ucp_ep_flush_nbx(endpoint, &param)), "connect");
    if (server.key_bytes > 0) check(ucp_ep_rkey_unpack(endpoint, server.key, &key), "unpack the remote key");
    send_tagged(server.want_data, words[4], strlen(words[4]));
    size_t messages = 0;
    for (;; messages++) {
        const struct frame *frame = next_frame(messages);
        if (frame->bytes[0] == END_OF_STREAM) break;
        if (frame->bytes[0] != METADATA) fail(1, "metadata", "of an unknown type");
        const uint8_t *metadata = frame->bytes + PREFIX_BYTES;
        struct body_layout layout = layout_of(metadata, frame->length - PREFIX_BYTES);
        uint8_t *body = messages == 0 ? NULL : receive_body(messages, &layout, words[2]);
        write_message(file, metadata, frame->length - PREFIX_BYTES, body, layout.length);
        free(body);
    }
    static const uint8_t end[8] = {0xFF, 0xFF, 0xFF, 0xFF};
    fwrite(end, 1, sizeof end, file);
    if (fclose(file) != 0) fail(1, "file", "cannot be written");
    int64_t last = now_ms() + LONGEST_MS;
    while (getenv("DOUBLE_FREE") != NULL && lost == UCS_OK && now_ms() < last) progress();
    check(lost, "give back twice");
    if (key != NULL) ucp_rkey_destroy(key);
    close_endpoint(endpoint);
    printf("{\"messages\": %zu, \"listed\": %zu, \"pointed\": %zu, \"got\": %zu}\n", messages, listed, pointed, got);
    return 0;
}
