"""Writes Parquet files with the writers of pyarrow, DuckDB, Polars and DataFusion: every type, and what readers get wrong.

Usage: parquet_inputs.py FOLDER. Standard output: a JSON list of the files' names.
"""

import base64
import datetime as dt
import json
import struct
import sys

import datafusion
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

folder = sys.argv[1]
names = []


def path(name):
    names.append(name)
    return f"{folder}/{name}"


def dictionary(values, keys=pa.int32()):
    return pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 0], keys), values)


# DuckDB: every type. pyarrow cannot read its lists of one fixed length; Parquet has no empty structs.
con = duckdb.connect()
types = "from test_all_types()"
columns = [name for (name,) in con.sql(f"select column_name from (describe {types})").fetchall() if name != "empty_struct"]
fixed = [name for name in columns if "fixed" in name and not name.startswith("list_of")]
for name, chosen in {"types": [name for name in columns if name not in fixed], "fixed_lists": fixed}.items():
    listed = ", ".join(f'"{column}"' for column in chosen)
    con.sql(f"copy (select {listed} {types}) to '{path(f'duckdb_{name}.parquet')}'")
for name, query in {
    "interval_months": "select interval '14 months 3 days 4 hours' as i union all select null",
    "json": """select '{"a":1}'::json as j union all select null""",
    "variant": "select 1::variant as v union all select 'x'::variant",
    "empty": "select 1 as i, 'a' as s where false",
}.items():
    con.sql(f"copy ({query}) to '{path(f'duckdb_{name}.parquet')}'")

# pyarrow: INT96 of all years, dictionaries of every type, views, fixed lists, times without a unit in Parquet.
dates = [dt.datetime(1000, 1, 1), dt.datetime(1970, 1, 1), dt.datetime(2300, 1, 1), dt.datetime(9999, 12, 31), None]
far = pa.array(dates, pa.timestamp("us"))
int96 = {"ts": far, "st": pa.StructArray.from_arrays([far], ["ts"]), "li": pa.array([[d] for d in dates], pa.list_(far.type))}
pq.write_table(pa.table(int96), path("int96_far.parquet"), use_deprecated_int96_timestamps=True, store_schema=False)
categories = far.dictionary_encode()
int96 = {"d": categories, "in a list": pa.ListArray.from_arrays(range(6), categories)}
pq.write_table(pa.table(int96), path("int96_dictionary.parquet"), use_deprecated_int96_timestamps=True)
near = pa.table({"ns": pa.array([1, -1, None], pa.timestamp("ns"))})
pq.write_table(near, path("int96_ns.parquet"), use_deprecated_int96_timestamps=True)

numbers = [pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()]
numbers += [pa.float32(), pa.float64(), pa.date32(), pa.timestamp("us"), pa.timestamp("ms", "Europe/Zurich")]
numbers += [pa.time32("ms"), pa.time64("us"), pa.duration("us"), pa.decimal128(5, 2), pa.float16()]
texts = [pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.binary(1)]
columns = {str(t): dictionary(pa.array([1, 2], t)) for t in numbers}
columns |= {str(t): dictionary(pa.array(["a", "b"]).cast(pa.binary()).cast(t)) for t in texts}
columns |= {"bool": dictionary(pa.array([True, False]))}
columns |= {f"keys {k}": dictionary(pa.array(["a", "b"]), k) for k in (pa.int8(), pa.uint8(), pa.int16(), pa.int64())}
columns["in a struct"] = pa.StructArray.from_arrays([dictionary(pa.array(["a", "b"]))], ["x"])
columns["in a list"] = pa.ListArray.from_arrays([0, 1, 2, 3, 4], dictionary(pa.array(["a", "b"])))
pq.write_table(pa.table(columns), path("dictionaries.parquet"))

days = [pa.DictionaryArray.from_arrays(pa.array(range(60), pa.int8()), [f"day {d} id {i}" for i in range(60)]) for d in range(4)]
with pq.ParquetWriter(path("days.parquet"), pa.schema([("id", days[0].type)])) as writer:
    for day in days:
        writer.write_table(pa.table({"id": day}))
# More values than keys of 8 bits can count, which pyarrow cannot read.
many = pa.DictionaryArray.from_arrays(pa.array([i % 300 for i in range(1000)], pa.int16()), [f"v{i}" for i in range(300)])
with pq.ParquetWriter(path("narrow_keys.parquet"), pa.schema([("c", pa.string())]), store_schema=False) as writer:
    writer.write_table(pa.table({"c": many.dictionary_decode()}))
    narrow = pa.schema([("c", pa.dictionary(pa.int8(), pa.string()))])
    writer.add_key_value_metadata({"ARROW:schema": base64.b64encode(narrow.serialize().to_pybytes()).decode()})

views = {
    "view": pa.array(["a" * 40, None, "b"], pa.string_view()),
    "binary_view": pa.array([b"a" * 40, None, b"b"], pa.binary_view()),
    "nested": pa.array([["a" * 40], None, ["b"]], pa.list_(pa.string_view())),
    "list_view": pa.array([[1, 2], None, []], pa.list_view(pa.int8())),
    "fixed": pa.array([[1, 2], None, [3, None]], pa.list_(pa.int16(), 2)),
    "large": pa.array([["a"], None, []], pa.large_list(pa.large_string())),
    "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int8())),
    "duration": pa.array([1, None, 3], pa.duration("ms")),
    "seconds": pa.array([1, None, 3], pa.timestamp("s")),
    "zurich": pa.array([1, None, 3], pa.timestamp("us", "Europe/Zurich")),
    "decimal256": pa.array([1, None, -3], pa.decimal256(50, 3)),
    "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(["{}", None, "[1]"])),
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"a" * 16, None, b"b" * 16], pa.binary(16))),
}
schema = pa.table(views).schema.with_metadata({"written": "here"})
schema = schema.set(0, schema.field(0).with_metadata({"unit": "m", "PARQUET:field_id": "7"}))
pq.write_table(pa.Table.from_arrays(list(views.values()), schema=schema), path("views.parquet"))
for version in ("1.0", "2.0"):
    lists = pa.table({"l": [[i] * (i % 5) for i in range(20_000)], "s": [None if i % 3 else f"{i}" for i in range(20_000)]})
    pq.write_table(lists, path(f"pages_{version}.parquet"), data_page_version=version, data_page_size=2000, row_group_size=7000)

# Arrow schemas that are older than the file.
def with_origin(file, table, origin):
    """Writes a file whose Arrow schema is another one, or unreadable."""
    text = "AAAA" if origin is None else base64.b64encode(pa.schema(origin).serialize().to_pybytes()).decode()
    with pq.ParquetWriter(file, table.schema, store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"ARROW:schema": text})


plain = pa.table({"a": ["x", "y"], "b": pa.array([1, 2], pa.int64()), "c": ["u", "v"]})
d = pa.dictionary(pa.int32(), pa.string())
for name, origin in {
    "fewer": [("a", d)],
    "reordered": [("c", d), ("b", pa.int64()), ("a", pa.string())],
    "renamed": [("aa", d), ("b", pa.duration("s")), ("c", pa.string())],
    "other": [("a", pa.float64()), ("b", pa.string()), ("c", pa.list_(pa.int8()))],
    "unreadable": None,
}.items():
    with_origin(path(f"stale_{name}.parquet"), plain, origin)

# Lists that are not of the length that the Arrow schema says, and lists of no items.
pq.write_table(pa.table({"l": pa.array([[], []], pa.list_(pa.int8(), 0))}), path("lists_of_none.parquet"))
pairs = pa.list_(pa.int64())
for name, lists, size in [
    ("one", [[1, 2], None], 1),
    ("three", [[1, 2], []], 3),
    ("two", [[1, 2], [], None], 2),
]:
    with_origin(f"{folder}/stale_lists_{name}.parquet", pa.table({"l": pa.array(lists, pairs)}), [("l", pa.list_(pa.int64(), size))])
names += ["stale_lists_one.parquet", "stale_lists_three.parquet"]

frame = pl.DataFrame({
    "cat": pl.Series(["a", "b", None], dtype=pl.Categorical),
    "enum": pl.Series(["x", "y", None], dtype=pl.Enum(["x", "y"])),
    "dur": pl.Series([dt.timedelta(1), None, dt.timedelta(2)]),
    "time": pl.Series([dt.time(1, 2), None, dt.time(3)]),
    "date": pl.Series([dt.date(2020, 1, 1), None, dt.date(1, 1, 1)]),
    "array": pl.Series([[1, 2], None, [3, 4]], dtype=pl.Array(pl.Int8, 2)),
    "list": pl.Series([["a"], None, []]),
    "struct": pl.Series([{"a": 1}, None, {"a": None}]),
    "decimal": pl.Series(["1.1", None, "2.2"]).cast(pl.Decimal(10, 2)),
    "zone": pl.Series([dt.datetime(2020, 1, 1), None, dt.datetime(1900, 1, 1)]).dt.replace_time_zone("Europe/Zurich"),
    "u8": pl.Series([1, 2, None], dtype=pl.UInt8),
    "null": pl.Series([None, None, None], dtype=pl.Null),
})
frame.write_parquet(path("polars.parquet"))
frame.with_columns(i128=pl.Series([1, -2, None], dtype=pl.Int128)).write_parquet(path("polars_int128.parquet"))

casts = [f"arrow_cast('k', '{t}')" for t in ("Utf8View", "LargeUtf8", "Dictionary(Int32, Utf8)", "Dictionary(Int8, Utf8)")]
casts += [f"arrow_cast(7, '{t}')" for t in ("Dictionary(Int16, Int64)", "UInt16", "Duration(Second)", "Decimal256(50,3)")]
casts += ["arrow_cast('2020-01-01T00:00:00', 'Timestamp(Second, None)')", "make_array(1, null)", "named_struct('a', 1)"]
casts += ["arrow_cast('2020-01-01T00:00:00', 'Timestamp(Nanosecond, Some(\"UTC\"))')", "arrow_cast(1.5, 'Float16')"]
datafusion.SessionContext().sql("select " + ", ".join(casts)).write_parquet(path("datafusion.parquet"))

# GeoParquet: WKB of POINT(1 2), in a coordinate system of its own, in none, and in the default.
points = pa.array([struct.pack("<BIdd", 1, 1, 1, 2), None], pa.binary())
places = {"crs": {"crs": {"type": "GeographicCRS"}, "edges": "spherical"}, "none": {"crs": None}, "default": {}}
geo = {"version": "1.1.0", "columns": {k: {"encoding": "WKB", "geometry_types": []} | v for k, v in places.items()}}
table = pa.table({k: points for k in [*places, "other"]}).replace_schema_metadata({"geo": json.dumps(geo)})
pq.write_table(table, path("geoparquet.parquet"))
json.dump(names, sys.stdout)
