"""Every Arrow type through dipc's Parquet, as pyarrow, DuckDB and Polars read it.

    python parquet_out.py write FOLDER   one Arrow stream for each type; prints a JSON list of {"name", "type", "refused"}
    python parquet_out.py check FOLDER   reads NAME.parquet for each name of the JSON list on standard input; prints a JSON list of
                                         {"name", "pyarrow", "duckdb", "polars", "wrong"}: types, and what is not equal
    python parquet_out.py intervals FILE columns "m" and "d" of a Parquet file: DuckDB's types and rows, pyarrow's types
"""

import datetime
import decimal
import json
import math
import sys
import uuid

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as parquet
from pyarrow import ipc

D = decimal.Decimal
WORDS = ["", "a", "été", "same", "same", "x" * 40]
EPOCH = datetime.datetime(1970, 1, 1)
ZONE = "Europe/Berlin"


def half(values):
    return pa.array(values, pa.float16())


def dictionary(index, values, indices=(0, None, 1, 0, 2, 1)):
    return pa.DictionaryArray.from_arrays(pa.array(indices, index), values)


def numbers(type, low, high):
    return pa.array([low, None, high, 0, 1, 1], type)


def extension(storage, name, parameters=""):
    """An array of an extension type that this pyarrow may not know, by its metadata."""
    return storage, {"ARROW:extension:name": name, "ARROW:extension:metadata": parameters}


def dense_union():
    return pa.UnionArray.from_dense(pa.array([0, 1], pa.int8()), pa.array([0, 0], pa.int32()), [pa.array([1]), pa.array(["x"])])


POINT = bytes.fromhex("0101000000000000000000F03F0000000000000040")
INTS = [[1, 2], None, [], [3, None], [4], [5, 6]]
MAPS = [[("k", 1), ("l", None)], None, [], [("m", 3)], [("", 4)], [("n", 5)]]


def cases():
    """Name, array or array with the field's metadata, whether it is refused."""
    for bits in (8, 16, 32, 64):
        yield f"int{bits}", numbers(getattr(pa, f"int{bits}")(), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        yield f"uint{bits}", numbers(getattr(pa, f"uint{bits}")(), 0, 2**bits - 1)
    yield "null", pa.nulls(6)
    yield "bool", pa.array([True, None, False, True, True, False])
    yield "float16", half([1.5, None, -2.25, math.inf, 65504, 6e-8])
    yield "float32", pa.array([1.5, None, -0.0, math.inf, math.nan, 1e-40], pa.float32())
    yield "float64", pa.array([1.5, None, -0.0, -math.inf, math.nan, 1e300], pa.float64())
    for bits, digits in ((32, 1), (32, 9), (64, 18), (128, 9), (128, 18), (128, 19), (128, 38), (256, 5), (256, 38), (256, 76)):
        with decimal.localcontext(prec=80):
            most = (D(10) ** digits - 1).scaleb(-(digits // 2))
            values = [most, None, -most, D(0), D(1).scaleb(-(digits // 2)), D(0)]
        yield f"decimal{bits}_{digits}", pa.array(values, getattr(pa, f"decimal{bits}")(digits, digits // 2))
    yield "date32", numbers(pa.date32(), -719162, 2932896)
    yield "date64", pa.array([-1, None, 20000, 0, 1, 1], pa.date32()).cast(pa.date64())
    for unit, type in (("s", pa.time32), ("ms", pa.time32), ("us", pa.time64), ("ns", pa.time64)):
        second = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}[unit]
        yield f"time_{unit}", pa.array([0, None, 86399 * second, 3600 * second, second, second], type(unit))
    for unit in ("s", "ms", "us", "ns"):
        second = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}[unit]
        moments = [0, None, -second, 1577836800 * second, 86400 * second, 1]
        yield f"timestamp_{unit}", pa.array(moments, pa.timestamp(unit))
        yield f"timestamp_{unit}_zone", pa.array(moments, pa.timestamp(unit, ZONE))
        yield f"duration_{unit}", pa.array(moments, pa.duration(unit))
    for type in (pa.string(), pa.large_string(), pa.string_view()):
        yield str(type), pa.array([None, *WORDS], type).slice(0, 6)
    for type in (pa.binary(), pa.large_binary(), pa.binary_view()):
        yield str(type), pa.array([b"", None, b"\x00\xff", b"abc", b"abc", b"y" * 5000], type)
    yield "fixed_size_binary", pa.array([b"abc", None, b"\xff\x00\x01", b"abd", b"abc", b"abc"], pa.binary(3))
    for index in (pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()):
        yield f"dictionary_{index}", dictionary(index, pa.array(["", "b", "été"]))
    for name, values in {
        "null": pa.nulls(3),
        "bool": pa.array([True, False, None]),
        "int64": pa.array([5, -5, 2**60]),
        "float16": half([1, 2, 3]),
        "float64": pa.array([1.5, None, 3]),
        "decimal": pa.array([D("1.5"), D("-2.5"), D("99.9")], pa.decimal128(30, 1)),
        "timestamp_s": pa.array([1, 2, 3], pa.timestamp("s")),
        "fixed": pa.array([b"abc", b"abd", b"\xff\x00\x01"], pa.binary(3)),
        "text_with_null": pa.array(["a", None, "c"]),
        "binary": pa.array([b"a", b"\xff", b""]),
        "large_string": pa.array(["a", "b", "c"], pa.large_string()),
        "string_view": pa.array(["a", "b", "x" * 30], pa.string_view()),
        "binary_view": pa.array([b"a", b"b", b"x" * 30], pa.binary_view()),
    }.items():
        yield f"dictionary_of_{name}", dictionary(pa.int8(), values)
    yield "run_end_encoded", pa.RunEndEncodedArray.from_arrays(pa.array([1, 3, 6], pa.int32()), pa.array(["a", None, "c"]))
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([2, 6], pa.int16()), pa.array([[1, 2], [3]]))
    yield "run_end_encoded_lists", runs
    for type in (pa.list_, pa.large_list, pa.list_view, pa.large_list_view):
        yield type(pa.int32()).__class__.__name__, pa.array(INTS, type(pa.int32()))
    yield "list_required", pa.array([[1], None, [2, 3], [], [4], []], pa.list_(pa.field("n", pa.int64(), nullable=False)))
    yield "list_of_lists", pa.array([[["a"], [], None], None, [], [[None, "b"]], [["c"]], [[]]])
    yield "list_of_dictionary", pa.ListArray.from_arrays([0, 2, None, 2, 3, 6, 6], dictionary(pa.int8(), pa.array(["a", "b", "c"])))
    yield "fixed_size_list", pa.array([[1, 2], None, [3, None], [4, 5], [6, 7], [8, 9]], pa.list_(pa.int16(), 2))
    yield "fixed_size_list_0", pa.array([[], None, [], [], [], []], pa.list_(pa.int16(), 0))
    yield "struct", pa.array([{"a": 1, "b": {"c": [1, None]}}, None, {"a": None, "b": None}] * 2)
    yield "struct_required", pa.StructArray.from_arrays(
        [pa.array(range(6)), pa.array(WORDS)], fields=[pa.field("n", pa.int64(), nullable=False), pa.field("t", pa.string())]
    )
    yield "map", pa.array(MAPS, pa.map_(pa.string(), pa.int32()))
    yield "map_of_structs", pa.array([[(1, {"x": ["a"]})], None, [], [(2, None)], [(3, {"x": None})], []], pa.map_(pa.int8(), pa.struct([("x", pa.list_(pa.string()))])))
    yield "uuid", pa.array([uuid.UUID(int=i).bytes if i != 1 else None for i in range(6)], pa.uuid())
    yield "json", pa.array(['{"a": 1}', None, "[]", "1", "null", "true"], pa.json_())
    yield "bool8", pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, None, 0, 1, 1, 0], pa.int8()))
    yield "geometry", *extension(pa.array([POINT, None, POINT, POINT, POINT, POINT], pa.binary()), "geoarrow.wkb")
    yield "geography", *extension(
        pa.array([POINT, None, POINT, POINT, POINT, POINT], pa.binary()), "geoarrow.wkb", '{"crs": "EPSG:4326", "edges": "spherical"}'
    )


def refused():
    """What Parquet has nothing like."""
    yield "union", dense_union()
    yield "list_of_unions", pa.ListArray.from_arrays([0, 1, 2], dense_union())
    yield "month_day_nano", pa.array([(1, 2, 3), None], pa.month_day_nano_interval())
    yield "fixed_size_binary_0", pa.array([b"", None], pa.binary(0))
    yield "struct_0", pa.array([{}, None], pa.struct([]))
    yield "decimal_negative_scale", pa.array([D(1200), None], pa.decimal128(5, -2))
    yield "dictionary_of_lists", dictionary(pa.int8(), pa.array([[1], [2]]), (0, 1))


def batches(array, metadata):
    """Three batches: all values, those from the middle on, none."""
    field = pa.field("c", array.type, metadata=metadata)
    first = pa.record_batch([array], schema=pa.schema([field], metadata={"made": "by a test"}))
    middle = len(array) // 2
    return first.schema, [first, first.slice(middle), first.slice(0, 0)]


def write(folder):
    made = []
    for is_refused, group in ((False, cases()), (True, refused())):
        for name, array, *metadata in group:
            schema, parts = batches(array, metadata[0] if metadata else None)
            type = metadata[0]["ARROW:extension:name"] if metadata else str(array.type)
            with ipc.new_stream(f"{folder}/{name}.arrows", schema) as writer:
                for part in parts:
                    writer.write_batch(part)
            made.append({"name": name, "type": type, "refused": is_refused})
    return made


def plain(array):
    """An array of a type that every kernel knows: without dictionaries, runs, views and extensions."""
    type = array.type
    if isinstance(array, pa.ChunkedArray):
        return pa.chunked_array([plain(chunk) for chunk in array.chunks]) if array.num_chunks else array
    if isinstance(type, pa.BaseExtensionType):
        return plain(array.storage)
    if pa.types.is_dictionary(type) or pa.types.is_run_end_encoded(type):
        return pa.array(array.to_pylist(), type.value_type)
    return array


def shown(value):
    """A value in a form in which those of all three readers are the same."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else repr(value)
    if isinstance(value, dict):
        return {key: shown(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [shown(each) for each in value]
    if isinstance(value, datetime.datetime):
        moment = value.astimezone(datetime.timezone.utc).replace(tzinfo=None) if value.tzinfo else value
        return (moment - EPOCH) // datetime.timedelta(microseconds=1)
    if isinstance(value, uuid.UUID):
        return value.bytes
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    return value


def values_of(array):
    type = array.type
    if pa.types.is_duration(type):
        return array.cast(pa.int64()).to_pylist()
    if pa.types.is_timestamp(type) and type.unit == "ns":
        return [None if n is None else n // 1000 for n in array.cast(pa.int64()).to_pylist()]
    if pa.types.is_time64(type) and type.unit == "ns":
        return array.cast(pa.time64("us"), safe=False).to_pylist()
    if pa.types.is_map(type):
        return [None if each is None else {shown(k): shown(v) for k, v in each} for each in array.to_pylist()]
    return [shown(value) for value in array.to_pylist()]


def from_pyarrow(path, name, want):
    found = parquet.read_table(path)
    got = plain(found.column("c"))
    wrong = []
    if values_of(got) != values_of(want):
        wrong.append(f"{name}: pyarrow reads {values_of(got)}, expected {values_of(want)}")
    if got.null_count != want.null_count:
        wrong.append(f"{name}: pyarrow finds {got.null_count} nulls, expected {want.null_count}")
    if found.schema.metadata.get(b"made") != b"by a test":
        wrong.append(f"{name}: metadata is {found.schema.metadata}")
    wrong += statistics(path, name, want)
    return str(found.schema.field("c").type), wrong


def statistics(path, name, want):
    """Minimum and maximum as pyarrow decodes them, of columns without lists."""
    metadata = parquet.ParquetFile(path).metadata
    if metadata.num_columns != 1 or pa.types.is_nested(want.type) or pa.types.is_null(want.type):
        return []
    chunk = metadata.row_group(0).column(0)
    found = chunk.statistics
    if found.null_count != want.null_count:
        return [f"{name}: statistics have {found.null_count} nulls, expected {want.null_count}"]
    if not found.has_min_max or pa.types.is_decimal(want.type) or pa.types.is_float16(want.type):
        return []
    values = [value for value in want.to_pylist() if value is not None and value == value] if not pa.types.is_temporal(want.type) else []
    if not values:
        return []
    low, high = min(values), max(values)
    if isinstance(low, str) and isinstance(found.min, bytes):
        low, high = low.encode(), high.encode()
    equal = shown(found.min) == shown(low) and shown(found.max) == shown(high)
    return [] if equal or (low == 0 == found.min) else [f"{name}: statistics are {found.min}, {found.max}, expected {low}, {high}"]


def from_duckdb(path, name, want):
    relation = duckdb.sql(f"select c from '{path}'")
    type = str(relation.types[0])
    if type == "GEOMETRY":
        texts = duckdb.sql(f"select c::varchar from '{path}'").fetchall()
        return type, [] if texts == [(None if each is None else "POINT (1 2)",) for each in want.to_pylist()] else [f"{name}: DuckDB reads {texts}"]
    got = [shown(row[0]) for row in relation.fetchall()]
    expected = values_of(want)
    if type == "DOUBLE" and pa.types.is_decimal(want.type):
        expected = [None if each is None else repr(float(each)) for each in expected]
    return type, [] if got == expected else [f"{name}: DuckDB reads {got}, expected {expected}"]


def from_polars(path, name, want):
    try:
        frame = polars.read_parquet(path)
    except Exception as error:
        # Its decimals have 38 digits, and it does not know the annotation of shapes.
        text = str(error)
        return text, [] if "precision" in text or "no variant set" in text else [f"{name}: Polars fails: {text}"]
    nulls = frame["c"].null_count()
    return str(frame["c"].dtype), [] if nulls == want.null_count else [f"{name}: Polars finds {nulls} nulls"]


def check(folder, names):
    results = []
    duckdb.sql("set timezone = 'UTC'")
    for name in names:
        path = f"{folder}/{name}.parquet"
        with open(f"{folder}/{name}.arrows", "rb") as file:
            want = plain(ipc.open_stream(file.read()).read_all().column("c"))
        result = {"name": name, "wrong": []}
        for reader, read in {"pyarrow": from_pyarrow, "duckdb": from_duckdb, "polars": from_polars}.items():
            try:
                result[reader], wrong = read(path, name, want)
                result["wrong"] += wrong
            except Exception as error:
                result["wrong"].append(f"{name}: {reader} fails: {error!r}")
        results.append(result)
    return results


def intervals(path):
    relation = duckdb.sql(f"select m, d from '{path}'")
    texts = duckdb.sql(f"select m::varchar, d::varchar from '{path}'").fetchall()
    types = [str(field.type) for field in parquet.read_table(path).schema]
    return {"types": [str(type) for type in relation.types], "rows": texts, "pyarrow": types}


if __name__ == "__main__":
    command, path = sys.argv[1:]
    if command == "check":
        print(json.dumps(check(path, json.load(sys.stdin))))
    else:
        print(json.dumps({"write": write, "intervals": intervals}[command](path)))
