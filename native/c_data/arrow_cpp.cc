// Arrow C++ as a peer of the C data interfaces, for tests: imports, validates, compares and exports record batches and streams.
// Build: c++ -std=c++20 -shared -fPIC -I<pyarrow>/include -L<pyarrow> -l:libarrow.so.<version> arrow_cpp.cc

#include <arrow/array/array_nested.h>
#include <arrow/c/bridge.h>
#include <arrow/compare.h>
#include <arrow/io/file.h>
#include <arrow/ipc/reader.h>
#include <arrow/record_batch.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

using arrow::ArrayData;
using arrow::RecordBatch;
using arrow::RecordBatchReader;
using arrow::Result;
using arrow::Status;

namespace {

/* Of whichever thread called last. */
std::string last_error;

int failed(const Status& status) {
    last_error = status.ToString();
    return 1;
}

struct Batch {
    std::shared_ptr<RecordBatch> batch;
};

struct Stream {
    std::shared_ptr<RecordBatchReader> reader;
};

/* Arrow's gold files have values that their types do not allow; those do not endanger the memory. */
Status validate(const RecordBatch& batch) {
    Status status = batch.ValidateFull();
    const std::string text = status.ToString();
    const bool is_harmless = text.find("does not represent a whole number of days") != std::string::npos ||
                             text.find("does not fit in precision") != std::string::npos ||
                             text.find("is not within the acceptable range") != std::string::npos;
    return is_harmless ? batch.Validate() : status;
}

void collect(const ArrayData& data, std::vector<uint64_t>* into) {
    for (const auto& buffer : data.buffers) {
        if (buffer != nullptr && buffer->size() > 0) into->push_back(buffer->address());
    }
    for (const auto& child : data.child_data) collect(*child, into);
    if (data.dictionary != nullptr) collect(*data.dictionary, into);
}

}  // namespace

extern "C" {

const char* cpp_error() { return last_error.c_str(); }

/* Imports and validates a batch; 0 after an error. */
Batch* cpp_import(ArrowArray* array, ArrowSchema* schema) {
    Result<std::shared_ptr<RecordBatch>> result = arrow::ImportRecordBatch(array, schema);
    if (!result.ok()) return failed(result.status()), nullptr;
    Status status = validate(**result);
    if (!status.ok()) return failed(status), nullptr;
    return new Batch{*result};
}

/* How a slice is exported: 1 with the offset on the children, 2 on the struct, 3 on both. */
int cpp_export(Batch* batch, int how, int64_t offset, int64_t length, ArrowArray* array, ArrowSchema* schema) {
    if (how <= 1) {
        auto slice = how == 0 ? batch->batch : batch->batch->Slice(offset, length);
        Status status = arrow::ExportRecordBatch(*slice, array, schema);
        return status.ok() ? 0 : failed(status);
    }
    // Half of the offset on the children, the rest on the struct.
    int64_t inner = how == 3 ? offset / 2 : 0;
    auto structs = batch->batch->Slice(inner)->ToStructArray();
    if (!structs.ok()) return failed(structs.status());
    auto slice = (*structs)->Slice(offset - inner, length);
    Status status = arrow::ExportArray(*slice, array, schema);
    return status.ok() ? 0 : failed(status);
}

int64_t cpp_rows(Batch* batch) { return batch->batch->num_rows(); }

/* Whether a slice of one batch equals the other one, schemas included; NaN equals itself. */
int cpp_equal(Batch* a, Batch* b, int64_t offset, int64_t length, int with_metadata) {
    auto slice = length < 0 ? a->batch : a->batch->Slice(offset, length);
    if (!slice->schema()->Equals(*b->batch->schema(), with_metadata != 0)) {
        last_error = "schemas differ: " + slice->schema()->ToString(true) + " and " + b->batch->schema()->ToString(true);
        return 0;
    }
    if (slice->Equals(*b->batch, with_metadata != 0, arrow::EqualOptions::Defaults().nans_equal(true))) return 1;
    last_error = "values differ: " + slice->ToString() + " and " + b->batch->ToString();
    return 0;
}

/* Writes the addresses of the buffers, depth first; those that are empty are left out. */
int64_t cpp_addresses(Batch* batch, uint64_t* into, int64_t most) {
    std::vector<uint64_t> found;
    for (const auto& column : batch->batch->column_data()) collect(*column, &found);
    std::memcpy(into, found.data(), 8 * std::min<size_t>(found.size(), most));
    return found.size();
}

void cpp_free(Batch* batch) { delete batch; }

/* The stream of an Arrow IPC file in the stream format. */
Stream* cpp_open(const char* path) {
    auto file = arrow::io::ReadableFile::Open(path);
    if (!file.ok()) return failed(file.status()), nullptr;
    auto reader = arrow::ipc::RecordBatchStreamReader::Open(*file);
    if (!reader.ok()) return failed(reader.status()), nullptr;
    return new Stream{*reader};
}

Stream* cpp_import_stream(ArrowArrayStream* stream) {
    auto reader = arrow::ImportRecordBatchReader(stream);
    if (!reader.ok()) return failed(reader.status()), nullptr;
    return new Stream{*reader};
}

/* The next batch; 0 at the end, and after an error, which cpp_error() tells then. */
Batch* cpp_next(Stream* stream) {
    last_error.clear();
    std::shared_ptr<RecordBatch> batch;
    Status status = stream->reader->ReadNext(&batch);
    if (!status.ok()) return failed(status), nullptr;
    if (batch == nullptr) return nullptr;
    status = validate(*batch);
    if (!status.ok()) return failed(status), nullptr;
    return new Batch{batch};
}

int cpp_export_stream(Stream* stream, ArrowArrayStream* out) {
    Status status = arrow::ExportRecordBatchReader(stream->reader, out);
    return status.ok() ? 0 : failed(status);
}

void cpp_free_stream(Stream* stream) { delete stream; }

int cpp_import_device_stream(ArrowDeviceArrayStream* stream, Stream** out) {
    auto reader = arrow::ImportDeviceRecordBatchReader(stream);
    if (!reader.ok()) return failed(reader.status());
    *out = new Stream{*reader};
    return 0;
}

int cpp_export_device_stream(Stream* stream, ArrowDeviceArrayStream* out) {
    Status status = arrow::ExportDeviceRecordBatchReader(stream->reader, out);
    return status.ok() ? 0 : failed(status);
}
}
