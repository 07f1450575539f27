#!/usr/bin/env bash
# Arrow C++'s CreateAsyncDeviceStreamHandler(handler, executor, queue_size) requests far more than queue_size batches of a producer:
# after one batch was read, 32 more are requested than the reader has taken and the queue holds, and stay in memory.
#
# Bites: whoever sizes the memory of an asynchronous device stream by queue_size, for example with batches of 100 MB.
#
# Seen: 2026-11-29, pyarrow 26.0.1 (its libarrow.so), GCC 12, Linux x86-64.
#
# Expected, by arrow/c/bridge.h: "queue_size initial number of record batches to request for queueing", and then one for each that is
# read: 5 after the first one.
# Seen:
#   queue size 4, 1 batch read: 37 batches requested
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check --no-deps pyarrow==26.0.1
arrow=$(echo "$PWD"/environment/lib/python3*/site-packages/pyarrow)

cat > queue.cc <<'CC'
#include <arrow/array/builder_primitive.h>
#include <arrow/c/bridge.h>
#include <arrow/record_batch.h>
#include <arrow/util/thread_pool.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>

static std::atomic<int64_t> requested{0};
static std::shared_ptr<arrow::RecordBatch> batch;

static int extract(ArrowAsyncTask*, ArrowDeviceArray* out) {
    std::memset(out, 0, sizeof(*out));
    return arrow::ExportDeviceRecordBatch(*batch, nullptr, out).ok() ? 0 : 5;
}

int main() {
    arrow::Int64Builder builder;
    (void)builder.Append(1);
    batch = arrow::RecordBatch::Make(arrow::schema({arrow::field("n", arrow::int64())}), 1, {builder.Finish().ValueOrDie()});

    ArrowAsyncDeviceStreamHandler handler = {};
    auto opening = arrow::CreateAsyncDeviceStreamHandler(&handler, arrow::internal::GetCpuThreadPool(), 4);

    // A producer that sends whatever is requested, as long as the program runs.
    static ArrowAsyncProducer producer = {};
    producer.device_type = ARROW_DEVICE_CPU;
    producer.request = [](ArrowAsyncProducer*, int64_t n) { requested += n; };
    producer.cancel = [](ArrowAsyncProducer*) {};
    handler.producer = &producer;
    std::thread([&handler] {
        ArrowSchema schema;
        (void)arrow::ExportSchema(*batch->schema(), &schema);
        handler.on_schema(&handler, &schema);
        for (int64_t sent = 0;; std::this_thread::sleep_for(std::chrono::milliseconds(1))) {
            for (; sent < requested; sent++) {
                ArrowAsyncTask task = {extract, nullptr};
                handler.on_next_task(&handler, &task, nullptr);
            }
        }
    }).detach();

    auto stream = opening.result().ValueOrDie();
    auto first = stream.generator();
    first.Wait();
    std::this_thread::sleep_for(std::chrono::seconds(1));
    std::printf("queue size 4, 1 batch read: %d batches requested\n", (int)requested);
    std::fflush(stdout);
    std::_Exit(0);
}
CC
library=$(cd "$arrow" && ls libarrow.so.* | head -1)
c++ -std=c++20 -I"$arrow/include" -o queue queue.cc -L"$arrow" -l:"$library" -Wl,-rpath,"$arrow" -pthread

seen=$(./queue)
printf '%s\n' "$seen"
if [ "$seen" != "queue size 4, 1 batch read: 37 batches requested" ]; then
  echo "this finding does not hold any more" >&2
  exit 1
fi
