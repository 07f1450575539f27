/*
 * A producer and a consumer in C that keep every rule. With ASYNC_SAMPLE_MISTAKE=n in the environment, or after sample_mistake(n), they
 * break one, so that it is seen whether the kit finds it.
 *
 * Producer: 1 the producer is set late, 2 demand is ignored, 3 request calls on_next_task, 4 release comes twice, 5 a cancellation is an
 * error, 6 a refused task does not end the stream, 7 the end comes after an error, 8 the producer is freed before release.
 * Consumer: 11 it requests 0, 12 it extracts twice, 13 it does not copy the task, 14 it requests within on_error, 15 arrays are never
 * released, 16 it requests more for each task that comes, 17 it is silent when it is closed, 18 it leaves the schema.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kit.h"

static int mistake;

void sample_mistake(int number) { mistake = number; }

__attribute__((constructor)) static void read_environment(void) {
    const char *number = getenv("ASYNC_SAMPLE_MISTAKE");
    if (number != NULL) mistake = atoi(number);
}

/* The producer. */

struct stream {
    struct ArrowAsyncProducer producer;
    struct ArrowAsyncDeviceStreamHandler *handler;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t credit, sent, batches;
    int is_cancelled, is_faulty;
};

struct data {
    int64_t values[ROWS];
    const void *root_buffers[1], *column_buffers[2];
    struct ArrowArray column;
    struct ArrowArray *children[1];
};

static void release_column(struct ArrowArray *array) { array->release = NULL; }

static void release_data(struct ArrowArray *array) {
    if (array->children[0]->release != NULL) array->children[0]->release(array->children[0]);
    free(array->private_data);
    array->release = NULL;
}

static int extract(struct ArrowAsyncTask *task, struct ArrowDeviceArray *out) {
    struct data *data = task->private_data;
    memset(out, 0, sizeof(*out));
    data->column_buffers[1] = data->values;
    data->column = (struct ArrowArray){
        .length = ROWS, .n_buffers = 2, .buffers = data->column_buffers, .release = release_column};
    data->children[0] = &data->column;
    out->array = (struct ArrowArray){.length = ROWS,
        .n_buffers = 1,
        .buffers = data->root_buffers,
        .n_children = 1,
        .children = data->children,
        .release = release_data,
        .private_data = data};
    out->device_type = ARROW_DEVICE_CPU;
    out->device_id = -1;
    return 0;
}

static void release_schema(struct ArrowSchema *schema) {
    for (int64_t i = 0; i < schema->n_children; i++) {
        if (schema->children[i]->release != NULL) schema->children[i]->release(schema->children[i]);
        free(schema->children[i]);
    }
    free(schema->children);
    schema->release = NULL;
}

static int send_schema(struct stream *stream) {
    struct ArrowSchema *child = calloc(1, sizeof(*child)), root = {.format = "+s", .name = "", .n_children = 1};
    *child = (struct ArrowSchema){.format = "l", .name = "n", .release = release_schema};
    root.children = malloc(sizeof(child));
    root.children[0] = child;
    root.release = release_schema;
    int status = stream->handler->on_schema(stream->handler, &root);
    if (root.release != NULL) root.release(&root);
    return status;
}

static int send_task(struct stream *stream) {
    struct data *data = calloc(1, sizeof(*data));
    int64_t index = stream->sent++;
    for (int i = 0; i < ROWS; i++) data->values[i] = ROWS * index + i;
    struct ArrowAsyncTask task = {extract, data};
    int status = stream->handler->on_next_task(stream->handler, &task, NULL);
    if (status != 0) free(data);
    return status;
}

static void add_credit(struct ArrowAsyncProducer *self, int64_t n) {
    struct stream *stream = self->private_data;
    pthread_mutex_lock(&stream->lock);
    if (n <= 0) stream->is_faulty = 1;
    else stream->credit = stream->credit > INT64_MAX - n ? INT64_MAX : stream->credit + n;
    pthread_cond_signal(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
    if (mistake == 3 && n > 0 && stream->sent < stream->batches) {
        stream->credit--;
        send_task(stream);
    }
}

static void cancel(struct ArrowAsyncProducer *self) {
    struct stream *stream = self->private_data;
    pthread_mutex_lock(&stream->lock);
    stream->is_cancelled = 1;
    pthread_cond_signal(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
}

/* Waits for credit; 0 when there is none to come. */
static int take_credit(struct stream *stream) {
    pthread_mutex_lock(&stream->lock);
    while (stream->credit == 0 && !stream->is_cancelled && !stream->is_faulty && mistake != 2) {
        pthread_cond_wait(&stream->changed, &stream->lock);
    }
    int is_open = !stream->is_cancelled && !stream->is_faulty;
    if (is_open && stream->credit > 0) stream->credit--;
    pthread_mutex_unlock(&stream->lock);
    return is_open;
}

static void pause_us(int64_t microseconds) {
    struct timespec time = {microseconds / 1000000, microseconds % 1000000 * 1000};
    nanosleep(&time, NULL);
}

static void send_all(struct stream *stream, int64_t fail_after, int64_t delay_us) {
    struct ArrowAsyncDeviceStreamHandler *handler = stream->handler;
    int64_t count = fail_after < 0 || fail_after > stream->batches ? stream->batches : fail_after;
    while (stream->sent < count && take_credit(stream)) {
        if (delay_us > 0) pause_us(delay_us);
        if (mistake == 3 && stream->sent >= count) break;
        if (send_task(stream) != 0 && mistake != 6) return;
    }
    if (stream->is_faulty) {
        handler->on_error(handler, EINVAL, "a request of 0 or fewer", NULL);
    } else if (stream->is_cancelled) {
        if (mistake == 5) handler->on_error(handler, ECANCELED, "cancelled", NULL);
    } else if (fail_after >= 0) {
        handler->on_error(handler, EIO, "planned failure", NULL);
        if (mistake == 7) handler->on_next_task(handler, NULL, NULL);
    } else {
        handler->on_next_task(handler, NULL, NULL);
    }
}

void async_produce(struct ArrowAsyncDeviceStreamHandler *handler, int64_t batches, int64_t fail_after, int64_t delay_us) {
    struct stream *stream = calloc(1, sizeof(*stream));
    stream->producer = (struct ArrowAsyncProducer){ARROW_DEVICE_CPU, add_credit, cancel, NULL, stream};
    stream->handler = handler;
    stream->batches = batches;
    pthread_mutex_init(&stream->lock, NULL);
    pthread_cond_init(&stream->changed, NULL);
    if (mistake != 1) handler->producer = &stream->producer;
    int status = send_schema(stream);
    if (mistake == 1) handler->producer = &stream->producer;
    if (status == 0) send_all(stream, fail_after, delay_us);
    if (mistake == 8) memset(&stream->producer, 0, sizeof(stream->producer));
    handler->release(handler);
    if (mistake == 4) handler->release(handler);
    free(stream);
}

/* The consumer. */

enum { WINDOW = 4, MOST_QUEUED = 1024 };

struct consumer {
    struct ArrowAsyncProducer *producer;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct ArrowAsyncTask tasks[MOST_QUEUED];
    struct ArrowAsyncTask *uncopied;
    int64_t added, taken;
    int error, has_ended, is_released, is_closed;
};

static void discard(struct ArrowAsyncTask *task) {
    struct ArrowDeviceArray array;
    memset(&array, 0, sizeof(array));
    if (task->extract_data(task, &array) == 0) array.array.release(&array.array);
}

static int on_schema(struct ArrowAsyncDeviceStreamHandler *handler, struct ArrowSchema *schema) {
    struct consumer *consumer = handler->private_data;
    int is_known = schema->n_children == 1 && strcmp(schema->children[0]->format, "l") == 0;
    if (mistake != 18) schema->release(schema);
    pthread_mutex_lock(&consumer->lock);
    consumer->producer = handler->producer;
    int is_closed = consumer->is_closed;
    if (!is_known) consumer->error = EINVAL;
    pthread_mutex_unlock(&consumer->lock);
    if (is_closed || !is_known) return is_closed ? ECANCELED : EINVAL;
    handler->producer->request(handler->producer, mistake == 11 ? 0 : WINDOW);
    if (mistake == 11) handler->producer->request(handler->producer, WINDOW);
    return 0;
}

static int on_next_task(struct ArrowAsyncDeviceStreamHandler *handler, struct ArrowAsyncTask *task, const char *metadata) {
    struct consumer *consumer = handler->private_data;
    (void)metadata;
    pthread_mutex_lock(&consumer->lock);
    int is_closed = consumer->is_closed;
    if (task == NULL) {
        consumer->has_ended = 1;
    } else if (!is_closed) {
        consumer->uncopied = task;
        consumer->tasks[consumer->added++ % MOST_QUEUED] = *task;
    }
    pthread_cond_broadcast(&consumer->changed);
    pthread_mutex_unlock(&consumer->lock);
    if (task != NULL && is_closed) {
        if (mistake == 17) return 0;
        discard(task);
    }
    if (mistake == 16 && task != NULL) handler->producer->request(handler->producer, 1);
    return 0;
}

static void set_error(struct consumer *consumer, int code) {
    pthread_mutex_lock(&consumer->lock);
    if (consumer->error == 0 && !consumer->has_ended) consumer->error = code;
    pthread_cond_broadcast(&consumer->changed);
    pthread_mutex_unlock(&consumer->lock);
}

static void on_error(struct ArrowAsyncDeviceStreamHandler *handler, int code, const char *message, const char *metadata) {
    (void)message;
    (void)metadata;
    if (mistake == 14) handler->producer->request(handler->producer, 1);
    set_error(handler->private_data, code);
}

static void discard_queue(struct consumer *consumer) {
    while (consumer->taken < consumer->added && mistake != 17) discard(&consumer->tasks[consumer->taken++ % MOST_QUEUED]);
}

static void release(struct ArrowAsyncDeviceStreamHandler *handler) {
    struct consumer *consumer = handler->private_data;
    set_error(consumer, EPIPE);
    pthread_mutex_lock(&consumer->lock);
    consumer->is_released = 1;
    consumer->producer = NULL;
    int is_closed = consumer->is_closed;
    pthread_mutex_unlock(&consumer->lock);
    handler->release = NULL;
    if (is_closed) free(consumer);
}

void *async_consume(struct ArrowAsyncDeviceStreamHandler *handler) {
    struct consumer *consumer = calloc(1, sizeof(*consumer));
    pthread_mutex_init(&consumer->lock, NULL);
    pthread_cond_init(&consumer->changed, NULL);
    *handler = (struct ArrowAsyncDeviceStreamHandler){on_schema, on_next_task, on_error, release, NULL, consumer};
    return consumer;
}

int async_read(void *argument, int64_t *first) {
    struct consumer *consumer = argument;
    pthread_mutex_lock(&consumer->lock);
    while (consumer->taken == consumer->added && consumer->error == 0 && !consumer->has_ended) {
        pthread_cond_wait(&consumer->changed, &consumer->lock);
    }
    if (consumer->taken == consumer->added) {
        int error = consumer->error;
        pthread_mutex_unlock(&consumer->lock);
        return -error;
    }
    struct ArrowAsyncTask task = consumer->tasks[consumer->taken++ % MOST_QUEUED];
    if (mistake == 13) task = *consumer->uncopied;
    /* Under the lock, so that the producer is not gone meanwhile. */
    if (consumer->producer != NULL && !consumer->has_ended) consumer->producer->request(consumer->producer, 1);
    pthread_mutex_unlock(&consumer->lock);
    struct ArrowDeviceArray array;
    memset(&array, 0, sizeof(array));
    int status = task.extract_data(&task, &array);
    if (mistake == 12 && status == 0) task.extract_data(&task, &array);
    if (status != 0) return -status;
    *first = ((const int64_t *)array.array.children[0]->buffers[1])[0];
    if (mistake != 15) array.array.release(&array.array);
    return 1;
}

void async_close(void *argument) {
    struct consumer *consumer = argument;
    pthread_mutex_lock(&consumer->lock);
    discard_queue(consumer);
    consumer->is_closed = 1;
    if (consumer->producer != NULL && !consumer->has_ended && mistake != 17) consumer->producer->cancel(consumer->producer);
    int is_released = consumer->is_released;
    pthread_mutex_unlock(&consumer->lock);
    if (is_released) free(consumer);
}
