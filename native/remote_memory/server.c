/*
 * A server of Arrow's Dissociated IPC protocol that lends its memory, written from the specification and from UCX's
 * documentation alone. It serves an Arrow IPC stream to one client after another.
 *
 *   server FILE CLIENTS
 *
 * All bodies lie in memory of UCX's own. What travels are lists of addresses (body type 1), or every other time the body
 * itself if MIXED is in the environment. It prints its URI, then for each client one line of JSON: the messages that it
 * was sent, how many addresses it was lent, how many it gave back, and what it did wrong, if it did.
 *
 * Exit status: 0 if it served all clients, 1 for a file that it cannot read, 3 if UCX failed.
 * Build: cc -I<ucx include directory> -o server server.c <libucp.so.0>
 */
#include "../ucx_peer.h"

#define MAX_MESSAGES 100000
#define WANT_DATA UINT64_C(0xF0E0D0C0B0A09080)
#define FREE_DATA UINT64_C(0x8090A0B0C0D0E0F1)
#define MAX_FREED 4096
#define ALIGNMENT 64

/* A message of the file, its body at `address`, and what the tag of its body says. */
struct message {
    const uint8_t *metadata;
    size_t metadata_bytes;
    struct body_layout layout;
    uint8_t *address;
    uint8_t *list;
};

static struct message messages[MAX_MESSAGES];
static size_t message_count;
static uint64_t *lent;
static size_t lent_count, freed_count;
static ucp_conn_request_h waiting;
static const char *violation;

static uint8_t *read_file(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) fail(1, "file", "cannot be opened");
    *length = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*length + 8);
    if (fread(bytes, 1, *length, file) != *length) fail(1, "file", "cannot be read");
    fclose(file);
    return bytes;
}

/* Finds the messages of an IPC stream: FF FF FF FF, u32 length of the metadata, metadata, body. Returns the room for their bodies. */
static size_t split(const uint8_t *bytes, size_t length) {
    size_t room = 0;
    for (size_t at = 0; length - at >= 8;) {
        if (unsigned_at(bytes + at, 4) != 0xFFFFFFFF) fail(1, "file", "not an Arrow IPC stream");
        size_t metadata = unsigned_at(bytes + at + 4, 4);
        if (metadata == 0) break;
        if (message_count == MAX_MESSAGES || metadata > length - at - 8) fail(1, "file", "too many messages, or a cut one");
        struct message *message = &messages[message_count++];
        message->metadata = bytes + at + 8;
        message->metadata_bytes = metadata;
        message->layout = layout_of(message->metadata, metadata);
        at += 8 + metadata;
        if (message->layout.length > length - at) fail(1, "file", "a body is cut");
        message->address = (uint8_t *)bytes + at;
        at += message->layout.length;
        room += (message->layout.length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    return room;
}

/* Copies the bodies into memory that others can reach. Returns its handle. */
static ucp_mem_h lend_memory(size_t room) {
    ucp_mem_map_params_t params = {
        .field_mask = UCP_MEM_MAP_PARAM_FIELD_LENGTH | UCP_MEM_MAP_PARAM_FIELD_FLAGS,
        .length = room + ALIGNMENT,
        .flags = UCP_MEM_MAP_ALLOCATE,
    };
    ucp_mem_h memory;
    check(ucp_mem_map(context, &params, &memory), "allocate memory");
    ucp_mem_attr_t attr = {.field_mask = UCP_MEM_ATTR_FIELD_ADDRESS};
    check(ucp_mem_query(memory, &attr), "find the memory");
    uint8_t *next = attr.address;
    for (size_t i = 0; i < message_count; i++) {
        struct message *message = &messages[i];
        memcpy(next, message->address, message->layout.length);
        message->address = next;
        next += (message->layout.length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        message->list = malloc(LIST_HEAD_BYTES + message->layout.buffers * PAIR_BYTES);
    }
    return memory;
}

/* Writes the list of a body, and notes what is lent. Returns its length. */
static size_t lend(struct message *message) {
    uint64_t total = 0;
    for (size_t i = 0; i < message->layout.buffers; i++) {
        const uint8_t *place = message->layout.places + i * PAIR_BYTES;
        uint64_t bytes = unsigned_at(place + 8, 8);
        uint64_t address = bytes == 0 ? 0 : (uint64_t)(uintptr_t)message->address + unsigned_at(place, 8);
        put_unsigned(message->list + LIST_HEAD_BYTES + i * PAIR_BYTES, address, 8);
        put_unsigned(message->list + LIST_HEAD_BYTES + i * PAIR_BYTES + 8, bytes, 8);
        total += bytes;
        if (bytes == 0) continue;
        lent = realloc(lent, (lent_count + 1) * sizeof *lent);
        lent[lent_count++] = address;
    }
    put_unsigned(message->list, total, 8);
    put_unsigned(message->list + 8, message->layout.buffers, 8);
    return LIST_HEAD_BYTES + message->layout.buffers * PAIR_BYTES;
}

static void give_back(uint64_t address) {
    for (size_t i = 0; i < lent_count; i++) {
        if (lent[i] != address) continue;
        lent[i] = 0;
        freed_count++;
        return;
    }
    violation = "an address that was not lent was freed";
}

/* Takes in what the client has given back. */
static void take_freed(void) {
    static uint8_t freed[8 * MAX_FREED];
    ucp_tag_recv_info_t info;
    while (violation == NULL && ucp_tag_probe_nb(worker, 0, 0, 0, &info) != NULL) {
        uint64_t tag;
        if (info.sender_tag != FREE_DATA || info.length == 0 || info.length % 8 != 0 || info.length > sizeof freed) {
            violation = "a message that gives nothing back";
            return;
        }
        size_t length = receive(freed, sizeof freed, FREE_DATA, UINT64_MAX, &tag);
        for (size_t at = 0; at < length; at += 8) give_back(unsigned_at(freed + at, 8));
    }
}

/* Waits for what was sent, and takes in what comes meanwhile. */
static int sent(ucs_status_ptr_t request) {
    if (UCS_PTR_IS_ERR(request)) return 0;
    while (request != NULL && ucp_request_check_status(request) == UCS_INPROGRESS) {
        if (lost != UCS_OK || violation != NULL) return 0;
        progress();
        take_freed();
    }
    if (request != NULL) ucp_request_free(request);
    return 1;
}

static int send_metadata(ucp_ep_h endpoint, int type, size_t sequence, const struct message *message) {
    size_t bytes = message == NULL ? 0 : message->metadata_bytes;
    uint8_t *frame = malloc(PREFIX_BYTES + bytes);
    frame[0] = (uint8_t)type;
    put_unsigned(frame + 1, sequence, 4);
    if (bytes > 0) memcpy(frame + PREFIX_BYTES, message->metadata, bytes);
    ucp_request_param_t param = {0};
    int is_sent = sent(ucp_am_send_nbx(endpoint, 0, NULL, 0, frame, PREFIX_BYTES + bytes, &param));
    if (is_sent) free(frame);
    return is_sent;
}

static int send_stream(ucp_ep_h endpoint) {
    ucp_request_param_t param = {0};
    for (size_t i = 0; i < message_count; i++) {
        struct message *message = &messages[i];
        if (!send_metadata(endpoint, METADATA, i, message)) return 0;
        if (i == 0) continue; /* the schema has no body */
        int is_list = message->layout.length > 0 && (getenv("MIXED") == NULL || i % 2 == 1);
        size_t bytes = is_list ? lend(message) : message->layout.length;
        uint64_t tag = i | (uint64_t)is_list << TYPE_SHIFT;
        const void *body = is_list ? message->list : message->address;
        if (!sent(ucp_tag_send_sync_nbx(endpoint, body, bytes, tag, &param))) return 0;
    }
    return send_metadata(endpoint, END_OF_STREAM, message_count, NULL);
}

static void on_connection(ucp_conn_request_h request, void *arg) {
    (void)arg;
    waiting = request;
}

/* One client: its request, its stream, and what it gives back until it leaves. */
static void serve_client(void) {
    while (waiting == NULL) progress();
    ucp_ep_params_t params = {
        .field_mask = UCP_EP_PARAM_FIELD_CONN_REQUEST | UCP_EP_PARAM_FIELD_ERR_HANDLER,
        .conn_request = waiting,
        .err_handler.cb = on_lost,
    };
    waiting = NULL;
    lost = UCS_OK;
    violation = NULL;
    lent_count = freed_count = 0;
    ucp_ep_h endpoint;
    check(ucp_ep_create(worker, &params, &endpoint), "accept");
    uint8_t ticket[4096];
    uint64_t tag;
    receive(ticket, sizeof ticket, WANT_DATA, UINT64_MAX, &tag);
    int is_whole = send_stream(endpoint);
    int64_t end = now_ms() + LONGEST_MS;
    while (lost == UCS_OK && violation == NULL && now_ms() < end && waiting == NULL && freed_count < lent_count) {
        progress();
        take_freed();
    }
    /* The client closes first: the news of an end overtakes what was sent before. */
    for (end = now_ms() + 2000; is_whole && lost == UCS_OK && violation == NULL && waiting == NULL && now_ms() < end;) {
        progress();
        take_freed();
    }
    printf("{\"messages\": %zu, \"whole\": %d, \"lent\": %zu, \"freed\": %zu, \"violation\": \"%s\"}\n", message_count,
           is_whole, lent_count, freed_count, violation == NULL ? "" : violation);
    fflush(stdout);
    close_endpoint(endpoint);
}

static uint16_t listen_on_loopback(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ucp_listener_params_t params = {
        .field_mask = UCP_LISTENER_PARAM_FIELD_SOCK_ADDR | UCP_LISTENER_PARAM_FIELD_CONN_HANDLER,
        .sockaddr = {.addr = (struct sockaddr *)&address, .addrlen = sizeof address},
        .conn_handler.cb = on_connection,
    };
    ucp_listener_h listener;
    check(ucp_listener_create(worker, &params, &listener), "listen");
    ucp_listener_attr_t attr = {.field_mask = UCP_LISTENER_ATTR_FIELD_SOCKADDR};
    check(ucp_listener_query(listener, &attr), "find the port");
    return ntohs(((struct sockaddr_in *)&attr.sockaddr)->sin_port);
}

static void print_uri(uint16_t port, ucp_mem_h memory) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    void *key;
    size_t length;
    check(ucp_rkey_pack(context, memory, &key, &length), "pack the remote key");
    printf("ucx://127.0.0.1:%u?want_data=%llu&free_data=%llu&remote_handle=", port, (unsigned long long)WANT_DATA,
           (unsigned long long)FREE_DATA);
    const uint8_t *bytes = key;
    for (size_t at = 0; at < length; at += 3) {
        uint32_t group = 0;
        for (size_t i = 0; i < 3; i++) group = group << 8 | (at + i < length ? bytes[at + i] : 0);
        for (size_t i = 0; i < 4; i++) putchar(at + i <= length ? digits[group >> (18 - 6 * i) & 63] : '=');
    }
    printf("\n");
    fflush(stdout);
    ucp_rkey_buffer_release(key);
}

int main(int count, char **words) {
    if (count != 3) fail(1, "usage", "FILE CLIENTS");
    size_t length;
    uint8_t *bytes = read_file(words[1], &length);
    start_worker(UCP_FEATURE_RMA);
    ucp_mem_h memory = lend_memory(split(bytes, length));
    print_uri(listen_on_loopback(), memory);
    for (int clients = atoi(words[2]); clients > 0; clients--) serve_client();
    return 0;
}
