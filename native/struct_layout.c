/*
 * Prints the size of every UCX structure that dipc writes or reads, and the offset of every field it uses, as JSON.
 * Build: cc -I<ucx include directory> -o struct_layout struct_layout.c
 */
#include <stddef.h>
#include <stdio.h>
#include <ucp/api/ucp.h>

static int first;

static void begin(const char *name, size_t size) {
    printf("%s\n  \"%s\": {\"size\": %zu", first++ ? "}," : "", name, size);
}

#define STRUCT(type) begin(#type, sizeof(type))
#define FIELD(type, field) printf(", \"" #field "\": %zu", offsetof(type, field))

int main(void) {
    printf("{");
    STRUCT(ucp_params_t);
    FIELD(ucp_params_t, field_mask);
    FIELD(ucp_params_t, features);
    FIELD(ucp_params_t, name);

    STRUCT(ucp_context_attr_t);
    FIELD(ucp_context_attr_t, field_mask);
    FIELD(ucp_context_attr_t, memory_types);

    STRUCT(ucp_worker_params_t);
    FIELD(ucp_worker_params_t, field_mask);
    FIELD(ucp_worker_params_t, thread_mode);
    FIELD(ucp_worker_params_t, flags);

    STRUCT(ucp_am_handler_param_t);
    FIELD(ucp_am_handler_param_t, field_mask);
    FIELD(ucp_am_handler_param_t, id);
    FIELD(ucp_am_handler_param_t, flags);
    FIELD(ucp_am_handler_param_t, cb);
    FIELD(ucp_am_handler_param_t, arg);

    STRUCT(ucp_listener_params_t);
    FIELD(ucp_listener_params_t, field_mask);
    FIELD(ucp_listener_params_t, sockaddr);
    FIELD(ucp_listener_params_t, conn_handler);

    STRUCT(ucp_listener_attr_t);
    FIELD(ucp_listener_attr_t, field_mask);
    FIELD(ucp_listener_attr_t, sockaddr);

    STRUCT(ucp_conn_request_attr_t);
    FIELD(ucp_conn_request_attr_t, field_mask);
    FIELD(ucp_conn_request_attr_t, client_address);

    STRUCT(ucp_ep_params_t);
    FIELD(ucp_ep_params_t, field_mask);
    FIELD(ucp_ep_params_t, err_mode);
    FIELD(ucp_ep_params_t, err_handler);
    FIELD(ucp_ep_params_t, flags);
    FIELD(ucp_ep_params_t, sockaddr);
    FIELD(ucp_ep_params_t, conn_request);

    STRUCT(ucs_sock_addr_t);
    FIELD(ucs_sock_addr_t, addr);
    FIELD(ucs_sock_addr_t, addrlen);

    STRUCT(ucp_err_handler_t);
    FIELD(ucp_err_handler_t, cb);
    FIELD(ucp_err_handler_t, arg);

    STRUCT(ucp_listener_conn_handler_t);
    FIELD(ucp_listener_conn_handler_t, cb);
    FIELD(ucp_listener_conn_handler_t, arg);

    STRUCT(ucp_request_param_t);
    FIELD(ucp_request_param_t, op_attr_mask);
    FIELD(ucp_request_param_t, flags);
    FIELD(ucp_request_param_t, datatype);
    FIELD(ucp_request_param_t, memory_type);
    FIELD(ucp_request_param_t, recv_info);

    STRUCT(ucp_tag_recv_info_t);
    FIELD(ucp_tag_recv_info_t, sender_tag);
    FIELD(ucp_tag_recv_info_t, length);

    STRUCT(ucp_am_recv_param_t);
    FIELD(ucp_am_recv_param_t, recv_attr);
    FIELD(ucp_am_recv_param_t, reply_ep);

/* Older versions do not report the transports of an endpoint. */
#if UCP_API_VERSION >= UCP_VERSION(1, 14)
    STRUCT(ucp_ep_attr_t);
    FIELD(ucp_ep_attr_t, field_mask);
    FIELD(ucp_ep_attr_t, transports);

    STRUCT(ucp_transports_t);
    FIELD(ucp_transports_t, entries);
    FIELD(ucp_transports_t, num_entries);
    FIELD(ucp_transports_t, entry_size);

    STRUCT(ucp_transport_entry_t);
    FIELD(ucp_transport_entry_t, transport_name);
    FIELD(ucp_transport_entry_t, device_name);
#endif

    STRUCT(ucp_mem_map_params_t);
    FIELD(ucp_mem_map_params_t, field_mask);
    FIELD(ucp_mem_map_params_t, length);
    FIELD(ucp_mem_map_params_t, flags);

    STRUCT(ucp_mem_attr_t);
    FIELD(ucp_mem_attr_t, field_mask);
    FIELD(ucp_mem_attr_t, address);
    FIELD(ucp_mem_attr_t, length);

    STRUCT(ucs_status_t);
    printf("}\n}\n");
    return 0;
}
