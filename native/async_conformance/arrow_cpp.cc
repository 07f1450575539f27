// Arrow C++ as an implementation for the conformance kit.
// Build: c++ -std=c++20 -shared -fPIC -I<pyarrow>/include -L<pyarrow> -l:libarrow.so.<version> arrow_cpp.cc

#include <arrow/array/builder_primitive.h>
#include <arrow/c/bridge.h>
#include <arrow/record_batch.h>
#include <arrow/util/async_generator.h>
#include <arrow/util/thread_pool.h>

#include <chrono>
#include <memory>
#include <thread>

namespace {

constexpr int64_t kRows = 4;

std::shared_ptr<arrow::Schema> schema() { return arrow::schema({arrow::field("n", arrow::int64(), false)}); }

arrow::Result<std::shared_ptr<arrow::RecordBatch>> batch_at(int64_t index) {
    arrow::Int64Builder builder;
    for (int64_t i = 0; i < kRows; i++) ARROW_RETURN_NOT_OK(builder.Append(kRows * index + i));
    ARROW_ASSIGN_OR_RAISE(auto column, builder.Finish());
    return arrow::RecordBatch::Make(schema(), kRows, {column});
}

using Batch = std::shared_ptr<arrow::RecordBatch>;

struct Reader {
    arrow::Future<arrow::AsyncRecordBatchGenerator> stream;
};

}  // namespace

extern "C" {

void async_produce(ArrowAsyncDeviceStreamHandler* handler, int64_t batches, int64_t fail_after, int64_t delay_us) {
    auto next = std::make_shared<int64_t>(0);
    auto make = [=]() -> arrow::Result<Batch> {
        int64_t index = (*next)++;
        if (delay_us > 0) std::this_thread::sleep_for(std::chrono::microseconds(delay_us));
        if (fail_after >= 0 && index >= fail_after) return arrow::Status::IOError("planned failure");
        if (index >= batches) return Batch(nullptr);
        return batch_at(index);
    };
    // With a delay the batches come from another thread, else they are ready.
    arrow::AsyncGenerator<Batch> generator = [=]() -> arrow::Future<Batch> {
        if (delay_us == 0) return arrow::Future<Batch>::MakeFinished(make());
        return arrow::DeferNotOk(arrow::internal::GetCpuThreadPool()->Submit(make));
    };
    arrow::ExportAsyncRecordBatchReader(schema(), generator, arrow::DeviceAllocationType::kCPU, handler).Wait();
}

void* async_consume(ArrowAsyncDeviceStreamHandler* handler) {
    auto* executor = arrow::internal::GetCpuThreadPool();
    return new Reader{arrow::CreateAsyncDeviceStreamHandler(handler, executor, 4)};
}

static int errno_of(const arrow::Status& status) {
    auto detail = std::dynamic_pointer_cast<arrow::AsyncErrorDetail>(status.detail());
    return detail == nullptr ? -22 : -detail->code();
}

int async_read(void* argument, int64_t* first) {
    auto* reader = static_cast<Reader*>(argument);
    const auto& stream = reader->stream.result();
    if (!stream.ok()) return errno_of(stream.status());
    const auto result = stream->generator().result();
    if (!result.ok()) return errno_of(result.status());
    if (result->batch == nullptr) return 0;
    const auto& column = static_cast<const arrow::Int64Array&>(*result->batch->column(0));
    *first = column.Value(0);
    return 1;
}

void async_close(void* argument) { delete static_cast<Reader*>(argument); }
}
