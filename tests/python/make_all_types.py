"""Writes an Arrow stream of two batches with a column of every type, with nulls and nested in several ways.

Usage: make_all_types.py FILE [FOLDER]

With a folder, each column also becomes a stream of its own there, NAME.arrows. Prints the types by name as JSON.
"""

import decimal
import json
import random
import sys

import pyarrow as pa

random.seed(7)
ROWS = 41


def nulls(values):
    return [None if i % 5 == 3 else value for i, value in enumerate(values)]


def text(i):
    return "" if i % 7 == 0 else f"value {i} " + "long " * (i % 6)


numbers = nulls(range(ROWS))
texts = nulls([text(i) for i in range(ROWS)])
lists = nulls([[text(i + k) if k else None for k in range(i % 4)] for i in range(ROWS)])
structs = nulls([{"a": i, "b": text(i)} for i in range(ROWS)])
arrays = {f"int{bits}": pa.array(numbers, f"int{bits}") for bits in (8, 16, 32, 64)}
arrays |= {f"uint{bits}": pa.array(numbers, f"uint{bits}") for bits in (8, 16, 32, 64)}
arrays |= {
    "null": pa.nulls(ROWS),
    "bool": pa.array(nulls([i % 3 == 0 for i in range(ROWS)])),
    "full": pa.array([i % 3 == 0 for i in range(ROWS)]),
    "half": pa.array(nulls([float(i) for i in range(ROWS)]), pa.float32()).cast(pa.float16()),
    "float": pa.array(numbers, pa.float32()),
    "double": pa.array(numbers, pa.float64()),
    "binary": pa.array(texts, pa.binary()),
    "large_binary": pa.array(texts, pa.large_binary()),
    "utf8": pa.array(texts),
    "large_utf8": pa.array(texts, pa.large_string()),
    "utf8_view": pa.array(texts, pa.string_view()),
    "binary_view": pa.array(texts, pa.binary_view()),
    "short_views": pa.array(["x", None, "yy"] * 13 + ["z", "z"], pa.string_view()),
    "fixed": pa.array(nulls([b"abc"] * ROWS), pa.binary(3)),
    "date32": pa.array(numbers, pa.int32()).cast(pa.date32()),
    "date64": pa.array(nulls([86_400_000 * i for i in range(ROWS)]), pa.int64()).cast(pa.date64()),
    "timestamp_zone": pa.array(numbers, pa.timestamp("us", "Europe/Berlin")),
    "list": pa.array(lists),
    "large_list": pa.array(lists, pa.large_list(pa.string())),
    "list_view": pa.array(lists, pa.list_view(pa.string())),
    "large_list_view": pa.array(lists, pa.large_list_view(pa.string_view())),
    "fixed_list": pa.array(nulls([[i, None, i] for i in range(ROWS)]), pa.list_(pa.int16(), 3)),
    "fixed_list_of_bools": pa.array(nulls([[True, None, False]] * ROWS), pa.list_(pa.bool_(), 3)),
    "struct": pa.array(structs),
    "list_of_structs": pa.array(nulls([[{"x": i, "y": [i, None]}] * (i % 3) for i in range(ROWS)])),
    "map": pa.array(nulls([[(text(i) + str(k), i) for k in range(i % 3)] for i in range(ROWS)]), pa.map_(pa.string(), pa.int64())),
    "sorted_map": pa.array(nulls([[("a", 1)]] * ROWS), pa.map_(pa.string(), pa.int8(), keys_sorted=True)),
    "dictionary": pa.array(texts).dictionary_encode(),
    "ordered": pa.DictionaryArray.from_arrays(pa.array(nulls([i % 3 for i in range(ROWS)]), pa.uint64()), ["a", "b", "c"], ordered=True),
    "list_of_dictionary": pa.ListArray.from_arrays(
        pa.array([i for i in range(ROWS)] + [ROWS], pa.int32()), pa.array(texts).dictionary_encode()
    ),
    "struct_of_fixed": pa.array(nulls([{"f": [i, i + 1], "b": i % 2 == 0} for i in range(ROWS)]), pa.struct([("f", pa.list_(pa.int8(), 2)), ("b", pa.bool_())])),
}
for unit in ("s", "ms", "us", "ns"):
    arrays[f"timestamp_{unit}"] = pa.array(numbers, pa.timestamp(unit))
    arrays[f"duration_{unit}"] = pa.array(numbers, pa.duration(unit))
    integer = pa.int32() if unit in ("s", "ms") else pa.int64()
    arrays[f"time_{unit}"] = pa.array(numbers, integer).cast(pa.time32(unit) if integer == pa.int32() else pa.time64(unit))
for bits, digits in ((32, 9), (64, 18), (128, 38), (256, 76)):
    kind = getattr(pa, f"decimal{bits}")
    arrays[f"decimal{bits}"] = pa.array(nulls([decimal.Decimal(i) / 4 for i in range(ROWS)]), kind(digits, 2))
arrays["month_day_nano"] = pa.array(nulls([pa.MonthDayNano([i, i, i]) for i in range(ROWS)]))
runs = sorted(random.sample(range(1, ROWS), 12)) + [ROWS]
for bits in (16, 32, 64):
    values = pa.array(["a" * k if k % 4 else None for k in range(13)])
    arrays[f"runs{bits}"] = pa.RunEndEncodedArray.from_arrays(pa.array(runs, f"int{bits}"), values)
arrays["struct_of_runs"] = pa.StructArray.from_arrays([arrays["runs32"], arrays["bool"]], ["r", "b"])
kinds = pa.array([i % 2 * 2 + 3 for i in range(ROWS)], pa.int8())
arrays["sparse"] = pa.UnionArray.from_sparse(kinds, [arrays["int32"], arrays["utf8"]], ["i", "s"], [3, 5])
offsets = pa.array([i // 2 for i in range(ROWS)], pa.int32())
arrays["dense"] = pa.UnionArray.from_dense(kinds, offsets, [arrays["bool"], arrays["list"]], ["i", "s"], [3, 5])
arrays["uuid"] = pa.array(nulls([bytes([i] * 16) for i in range(ROWS)]), pa.binary(16)).cast(pa.uuid())

fields = [pa.field(name, array.type, array.null_count > 0 or name == "null") for name, array in arrays.items()]
fields[0] = fields[0].with_metadata({"key": "value", "ключ": "значение", "": ""})
schema = pa.schema(fields, metadata={"schema": "metadata"})
batch = pa.record_batch(list(arrays.values()), schema=schema)
with pa.OSFile(sys.argv[1], "wb") as file, pa.ipc.new_stream(file, schema) as writer:
    writer.write_batch(batch)
    writer.write_batch(batch.slice(0, 0))
if len(sys.argv) > 2:
    for field, array in zip(fields, arrays.values()):
        single = pa.schema([field])
        with pa.OSFile(f"{sys.argv[2]}/{field.name}.arrows", "wb") as file, pa.ipc.new_stream(file, single) as writer:
            writer.write_batch(pa.record_batch([array], schema=single))
print(json.dumps({field.name: str(field.type) for field in fields}))
