"""Writes Arrow data that is valid but unusual, by pyarrow: python arrow_edges.py FOLDER."""
import io
import json
import os
import struct
import sys

import pyarrow as pa

os.chdir(sys.argv[1])
END = 8  # bytes of an end-of-stream marker


def stream(batches, schema):
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue()


def numbers(*batches):
    schema = pa.schema([("a", pa.int64())])
    return stream([pa.record_batch([pa.array(values)], schema=schema) for values in batches], schema)


def write(name, data):
    with open(name, "wb") as file:
        file.write(data)


def without_version(data):
    """The footer of an Arrow file without its field 0."""
    data = bytearray(data)
    footer = len(data) - 10 - struct.unpack_from("<i", data, len(data) - 10)[0]
    root = footer + struct.unpack_from("<I", data, footer)[0]
    struct.pack_into("<H", data, root - struct.unpack_from("<i", data, root)[0] + 4, 0)
    return bytes(data)


write("two.arrows", numbers([1, 2, 3]) + numbers([4, 5]))
write("junk.arrows", numbers([1, 2, 3]) + b"not Arrow " * 9)
write("cut.arrows", numbers([0, 0], [1, 1], [2, 2])[:-END])
write("second_schema.arrows", numbers([1, 2, 3])[:-END] + numbers([4, 5]))

table = pa.table({"a": pa.array([1, 2, 3], pa.int64())})
sink = io.BytesIO()
with pa.ipc.new_file(sink, table.schema, metadata={"made by": "a test", "empty": ""}) as writer:
    writer.write_table(table)
write("footer.arrow", sink.getvalue())
write("no_version.arrow", without_version(sink.getvalue()))
write("broken.arrow", sink.getvalue()[:-3] + b"xyz")

def words(index, *batches, **options):
    schema = pa.schema([("c", pa.dictionary(index, pa.string())), ("n", pa.int64())])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for indices, values in batches:
            array = pa.DictionaryArray.from_arrays(pa.array(indices, index), pa.array(values, pa.string()))
            writer.write_batch(pa.record_batch([array, pa.array(range(len(indices)), pa.int64())], schema=schema))
    return sink.getvalue()


days = [(list(range(60)), [f"day {d} id {i}" for i in range(60)]) for d in range(4)]
other = [([0, None, 1] * 100, ["a", "b"]), ([1, 0, 2] * 100, ["x", "b", None])]
grows = [([0, 0], ["foo"]), ([0, 1], ["foo", "bar"]), ([2, None], ["foo", "bar", "baz"])]
write("grows.arrows", words(pa.int32(), *grows))
write("deltas.arrows", words(pa.int32(), *grows, emit_dictionary_deltas=True))
write("empty_first.arrows", words(pa.int32(), ([], []), ([0, 2], ["Foo", "Bar", "Baz"])))
write("days.arrows", words(pa.int8(), *days))
write("days_lz4.arrows", words(pa.int8(), *days, compression="lz4"))
write("other_zstd.arrows", words(pa.uint16(), *other, compression="zstd"))

wide = pa.schema([("a", pa.int64())], metadata={"notes": "x" * (17 << 20)})
with pa.ipc.new_file("long.arrow", wide) as writer:
    writer.write_batch(pa.record_batch([pa.array([1, 2])], schema=wide))

print(json.dumps({"pyarrow": pa.__version__}))
