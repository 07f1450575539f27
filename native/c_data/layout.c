/*
 * Prints the size of every structure of Arrow's C interfaces and the offset of every field as JSON.
 * Build: cc -I<folder of arrow/c/abi.h> -o layout layout.c
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "abi.h"

static int first;

static void begin(const char *name, size_t size) {
    printf("%s\n  \"%s\": {\"size\": %zu", first++ ? "}," : "", name, size);
}

#define STRUCT(type) begin(#type, sizeof(struct type))
#define FIELD(type, field) printf(", \"" #field "\": %zu", offsetof(struct type, field))

int main(void) {
    printf("{");
    STRUCT(ArrowSchema);
    FIELD(ArrowSchema, format);
    FIELD(ArrowSchema, name);
    FIELD(ArrowSchema, metadata);
    FIELD(ArrowSchema, flags);
    FIELD(ArrowSchema, n_children);
    FIELD(ArrowSchema, children);
    FIELD(ArrowSchema, dictionary);
    FIELD(ArrowSchema, release);
    FIELD(ArrowSchema, private_data);
    STRUCT(ArrowArray);
    FIELD(ArrowArray, length);
    FIELD(ArrowArray, null_count);
    FIELD(ArrowArray, offset);
    FIELD(ArrowArray, n_buffers);
    FIELD(ArrowArray, n_children);
    FIELD(ArrowArray, buffers);
    FIELD(ArrowArray, children);
    FIELD(ArrowArray, dictionary);
    FIELD(ArrowArray, release);
    FIELD(ArrowArray, private_data);
    STRUCT(ArrowArrayStream);
    FIELD(ArrowArrayStream, get_schema);
    FIELD(ArrowArrayStream, get_next);
    FIELD(ArrowArrayStream, get_last_error);
    FIELD(ArrowArrayStream, release);
    FIELD(ArrowArrayStream, private_data);
    STRUCT(ArrowDeviceArray);
    FIELD(ArrowDeviceArray, array);
    FIELD(ArrowDeviceArray, device_id);
    FIELD(ArrowDeviceArray, device_type);
    FIELD(ArrowDeviceArray, sync_event);
    FIELD(ArrowDeviceArray, reserved);
    STRUCT(ArrowDeviceArrayStream);
    FIELD(ArrowDeviceArrayStream, device_type);
    FIELD(ArrowDeviceArrayStream, get_schema);
    FIELD(ArrowDeviceArrayStream, get_next);
    FIELD(ArrowDeviceArrayStream, get_last_error);
    FIELD(ArrowDeviceArrayStream, release);
    FIELD(ArrowDeviceArrayStream, private_data);
    STRUCT(ArrowAsyncTask);
    FIELD(ArrowAsyncTask, extract_data);
    FIELD(ArrowAsyncTask, private_data);
    STRUCT(ArrowAsyncProducer);
    FIELD(ArrowAsyncProducer, device_type);
    FIELD(ArrowAsyncProducer, request);
    FIELD(ArrowAsyncProducer, cancel);
    FIELD(ArrowAsyncProducer, additional_metadata);
    FIELD(ArrowAsyncProducer, private_data);
    STRUCT(ArrowAsyncDeviceStreamHandler);
    FIELD(ArrowAsyncDeviceStreamHandler, on_schema);
    FIELD(ArrowAsyncDeviceStreamHandler, on_next_task);
    FIELD(ArrowAsyncDeviceStreamHandler, on_error);
    FIELD(ArrowAsyncDeviceStreamHandler, release);
    FIELD(ArrowAsyncDeviceStreamHandler, producer);
    FIELD(ArrowAsyncDeviceStreamHandler, private_data);
    printf("}\n}\n");
    return 0;
}
