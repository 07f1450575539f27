"""Splits streams into one file for each column, and compares what came of each.

    duckdb_types.py split FOLDER STREAM...   writes FOLDER/N.arrows, and prints [[stream, column, type], ...] as JSON
    duckdb_types.py compare FOLDER           compares each N.arrows with N.back.arrows, where that exists; prints
                                             ["same" | the type that came back | "values differ" | null, ...]
"""

import json
import os
import sys

import pyarrow as pa
import pyarrow.compute


def shown(type_):
    if isinstance(type_, pa.BaseExtensionType):
        return f"{type_.extension_name}<{shown(type_.storage_type)}>"
    return str(type_)


def array(column):
    column = pa.concat_arrays(column.chunks) if column.num_chunks > 0 else pa.array([], column.type)
    if isinstance(column.type, pa.UuidType):
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())
    if pa.types.is_duration(column.type):
        scale = {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}[column.type.unit]
        numbers = [None if value is None else value * scale for value in column.cast(pa.int64()).to_pylist()]
        return pa.array([None if value is None else pa.MonthDayNano([0, 0, value // 1]) if abs(value) < 2**63 else
                         pa.MonthDayNano([1, 0, 0]) for value in numbers], pa.month_day_nano_interval())
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_run_end_encoded(column.type):
        column = pa.compute.run_end_decode(column)
    return column


def are_equal(before, after):
    if before.type == after.type and before.equals(after):
        return True
    for one, other in ((before, after), (after, before)):
        try:
            if one.cast(other.type).equals(other):
                return True
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass
    if pa.types.is_struct(before.type) and pa.types.is_struct(after.type):
        # Fields that share a name make no dictionary.
        pairs = list(zip(before.flatten(), after.flatten(), strict=True))
        return before.is_null().equals(after.is_null()) and all(are_equal(one, other) for one, other in pairs)
    return before.to_pylist() == after.to_pylist()


def split(folder, streams):
    names = []
    for path in streams:
        table = pa.ipc.open_stream(path).read_all()
        for index, field in enumerate(table.schema):
            if "interval[" in str(field.type) or "month_interval" in str(field.type) or "day_time" in str(field.type):
                continue  # which Python has no class for
            with pa.ipc.new_stream(f"{folder}/{len(names)}.arrows", pa.schema([field])) as writer:
                for batch in table.to_batches():
                    writer.write_batch(pa.RecordBatch.from_arrays([batch.column(index)], schema=pa.schema([field])))
            names.append([os.path.basename(path), field.name, shown(field.type)])
    print(json.dumps(names))


def compare(folder):
    results = []
    while os.path.exists(f"{folder}/{len(results)}.arrows"):
        place = f"{folder}/{len(results)}"
        if not os.path.exists(f"{place}.back.arrows"):
            results.append(None)
            continue
        before, after = (pa.ipc.open_stream(f"{place}{end}").read_all().column(0) for end in (".arrows", ".back.arrows"))
        if not are_equal(array(before), array(after)):
            results.append("values differ")
        else:
            results.append("same" if before.type == after.type else shown(after.type))
    print(json.dumps(results))


if sys.argv[1] == "split":
    split(sys.argv[2], sys.argv[3:])
else:
    compare(sys.argv[2])
