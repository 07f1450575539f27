"""CSV and NDJSON as pyarrow, pandas and DuckDB read them with their defaults.

    python text_readers.py write FOLDER    writes Arrow streams into FOLDER: every type, awkward texts, single columns
    python text_readers.py read FOLDER     reads NAME.csv and NAME.ndjson beside each NAME.arrows, and prints JSON:
                                           {"wrong": [what differs], "types": {"csv": [row], "ndjson": [row]}}

A row has the column's name, its first cell, and the types that the three readers find.
"""

import base64
import csv
import datetime
import decimal
import json
import math
import pathlib
import sys

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
from pyarrow import ipc

D = decimal.Decimal
UTC = datetime.timezone.utc
DAY = datetime.date(2001, 2, 3)
MOMENT = datetime.datetime(2001, 2, 3, 4, 5, 6, 7000)
SECOND = MOMENT.replace(microsecond=0)
NANOS = pa.array([981173106007008009, None, 1], pa.timestamp("ns"))


def dense(types, offsets, children, names):
    return pa.UnionArray.from_dense(pa.array(types, pa.int8()), pa.array(offsets, pa.int32()), children, names)


def every_type():
    """Three rows of each type that has a text: a value, a null, another value."""
    both = [["a", None], None, []]
    return {
        "null": pa.nulls(3),
        "bool": pa.array([True, None, False]),
        **{f"int{bits}": pa.array([-(2 ** (bits - 1)), None, 7], getattr(pa, f"int{bits}")()) for bits in (8, 16, 32)},
        **{f"uint{bits}": pa.array([2**bits - 1, None, 7], getattr(pa, f"uint{bits}")()) for bits in (8, 16, 32)},
        "int64": pa.array([2**53 + 1, 2**63 - 1, -(2**63)]),
        "uint64": pa.array([2**64 - 1, 0, 7], pa.uint64()),
        "halffloat": pa.array(np.array([0.1, 65504, -2], np.float16)),
        "float": pa.array([0.1, None, -3.4028235e38], pa.float32()),
        "double": pa.array([0.1, None, 1.2345678901234567e20]),
        "double, not finite": pa.array([math.nan, math.inf, -math.inf]),
        "decimal32(9, 2)": pa.array([D("1234567.89"), None, D("-0.05")], pa.decimal32(9, 2)),
        "decimal64(15, 3)": pa.array([D("123456789012.345"), None, D("0.001")], pa.decimal64(15, 3)),
        "decimal128(38, 10)": pa.array([D("12345678901234567890.0123456789"), None, D("1.5")], pa.decimal128(38, 10)),
        "decimal256(76, 0)": pa.array([D(2**70), None, D("9" * 76)], pa.decimal256(76, 0)),
        "date32[day]": pa.array([DAY, None, datetime.date(9999, 12, 31)]),
        "date64[ms]": pa.array([DAY, None, datetime.date(1, 1, 1)], pa.date64()),
        "time32[s]": pa.array([datetime.time(1, 2, 3), None, datetime.time(23, 59, 59)], pa.time32("s")),
        "time32[ms]": pa.array([datetime.time(1, 2, 3, 4000), None, datetime.time(0)], pa.time32("ms")),
        "time64[us]": pa.array([datetime.time(1, 2, 3, 4), None, datetime.time(0)], pa.time64("us")),
        "time64[ns]": pa.array([datetime.time(1, 2, 3, 4), None, datetime.time(0)], pa.time64("ns")),
        "timestamp[s]": pa.array([SECOND, None, datetime.datetime(1, 1, 1)], pa.timestamp("s")),
        "timestamp[ms]": pa.array([MOMENT, None, SECOND], pa.timestamp("ms")),
        "timestamp[us]": pa.array([MOMENT, None, SECOND], pa.timestamp("us")),
        "timestamp[ns]": NANOS,
        "timestamp[us, tz=Asia/Tokyo]": pa.array([MOMENT, None, SECOND], pa.timestamp("us", "Asia/Tokyo")),
        "timestamp[s], far": pa.array([2**40, None, -(2**40)], pa.timestamp("s")),
        "duration[s]": pa.array([90, None, -1], pa.duration("s")),
        "duration[ns]": pa.array([1_500_000_000, None, -1], pa.duration("ns")),
        "month_day_nano_interval": pa.array([(14, -3, 1), None, (0, 0, 0)], pa.month_day_nano_interval()),
        "string": pa.array(["text", None, 'say "hi", ü🎈']),
        "large_string": pa.array(["text", None, ""], pa.large_string()),
        "string_view": pa.array(["text", None, "more than twelve bytes"], pa.string_view()),
        "binary": pa.array([b"\x00\x10", None, b""]),
        "large_binary": pa.array([b"\x00\x10", None, b"\xff"], pa.large_binary()),
        "binary_view": pa.array([b"\x00\x10", None, b"\xff" * 20], pa.binary_view()),
        "fixed_size_binary[2]": pa.array([b"\x00\x10", None, b"\x12\x34"], pa.binary(2)),
        "list<string>": pa.array(both),
        "large_list<int64>": pa.array([[1, None], None, []], pa.large_list(pa.int64())),
        "fixed_size_list<int64>[2]": pa.array([[1, None], None, [3, 4]], pa.list_(pa.int64(), 2)),
        "struct<x: int64, y: string>": pa.array([{"x": 1, "y": "a"}, None, {"x": None, "y": None}]),
        "map<string, int64>": pa.array([[("a", 1), ("a", 2)], None, []], pa.map_(pa.string(), pa.int64())),
        "map<int64, string>": pa.array([[(1, "a"), (2, None)], None, []], pa.map_(pa.int64(), pa.string())),
        "dense_union<i: int64, s: string>": dense([0, 1, 0], [0, 0, 1], [pa.array([1, 2]), pa.array(["a"])], ["i", "s"]),
        "dictionary<string>": pa.array(["text", None, "text"]).dictionary_encode(),
    }


#: Texts that a format or a reader gives a meaning of its own; none is a null or a number to any reader.
AWKWARD = [
    *['"', '""', 'a"b', "'", "'a", "''", ",", ";", "a;b", "|", "\t", " ", "  a", "a ", "#", "#a", "//", "\\", "\\n", "\\x"],
    *["\n", "a\nb", "\r", "a\r\nb", "\r\n", "ü", "你好", "🎈", "\x00", "\x01\x1f\x7f", "\u2028", "\ufeffx", "{}", "[", "-", "+", "x" * 3000],
]
#: Columns that would be empty lines if they were alone.
ALONE = {
    "text": pa.array(["x", None, "", None, "y"]),
    "blanks": pa.array([" ", "\t", "x", None, "  "]),
    "number": pa.array([1, None, 3, None, 5]),
    "nothing": pa.nulls(5),
    "delimiters": pa.array(["a;b", "c;d", "e|f", "g\th", "i;j"]),
    "binary": pa.array([b"", None, b"\x01", None, b"\x10"]),
    "list": pa.array([[], None, [1], None, []]),
}


def tables():
    every = every_type()
    return {
        # Under names that mean nothing: pandas makes dates of columns that are called so.
        "every": pa.table(list(every.values()), names=[f"c{i}" for i in range(len(every))]),
        "awkward": pa.table({"n": range(len(AWKWARD)), "s": AWKWARD, "t": AWKWARD[::-1]}),
        **{f"alone_{name}": pa.table({"column": values}) for name, values in ALONE.items()},
    }


def write(folder):
    for name, table in tables().items():
        with ipc.new_stream(folder / f"{name}.arrows", table.schema) as writer:
            writer.write_table(table)


READERS = {
    ("csv", "pyarrow"): pyarrow.csv.read_csv,
    ("csv", "pandas"): pd.read_csv,
    ("csv", "DuckDB"): lambda path: duckdb.read_csv(str(path)),
    ("ndjson", "pyarrow"): pyarrow.json.read_json,
    ("ndjson", "pandas"): lambda path: pd.read_json(path, lines=True),
    ("ndjson", "DuckDB"): lambda path: duckdb.read_json(str(path)),
}


def columns(found):
    """Name, type and values of each column that a reader found."""
    if isinstance(found, pa.Table):
        return [(name, str(column.type), column.to_pylist()) for name, column in zip(found.column_names, found.columns)]
    if isinstance(found, pd.DataFrame):
        return [(name, str(column.dtype), column.tolist()) for name, column in found.items()]
    rows = found.fetchall()
    return [(name, str(kind), [row[i] for row in rows]) for i, (name, kind) in enumerate(zip(found.columns, found.types))]


def is_null(value):
    return value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NaT


def moment(value):
    """A timestamp to the microsecond, in UTC: a reader may leave the time zone out, and DuckDB the nanoseconds."""
    stamp = pd.Timestamp(value)
    return (stamp.tz_localize(UTC) if stamp.tz is None else stamp.tz_convert(UTC)).floor("us")


def entries(value):
    """Objects without the keys of other rows, which readers of NDJSON add as nulls."""
    return {key: each for key, each in value.items() if each is not None} if isinstance(value, dict) else value


#: Texts of values that have no type of their own in Python.
TEXTS = {
    "timestamp[s], far": ["+036812-02-20T00:36:16", None, "-032873-11-12T23:23:44"],
    "duration[s]": ["PT90S", None, "PT-1S"],
    "duration[ns]": ["PT1.500000000S", None, "PT-0.000000001S"],
    "month_day_nano_interval": ["P14M-3DT0.000000001S", None, "P0D"],
}


def same(name, form, reader, kind, want, got):
    """Whether a value is what the documentation says it is."""
    if pa.types.is_union(kind):
        want = entries({"i": want} if isinstance(want, int) else {"s": want})
    if pa.types.is_map(kind) and want is not None:
        want = [{"key": key, "value": value} for key, value in want]
    if want is None or want == "":
        # CSV has no difference that readers see by default.
        return is_null(got) or (got == "" and (form == "csv" or want == ""))
    if pa.types.is_floating(kind):
        if not math.isfinite(want):
            return is_null(got) if form == "ndjson" or (reader, want) == ("pyarrow", math.nan) or math.isnan(want) else got == want
        to = {16: np.float16, 32: np.float32, 64: np.float64}[kind.bit_width]
        return to(got) == to(want) or (reader == "pandas" and math.isclose(got, want, rel_tol=1e-15))
    if pa.types.is_decimal(kind):
        if form == "ndjson" and kind.precision > 15 and reader != "pandas":
            return D(got) == want and isinstance(got, str)
        return math.isclose(float(got), float(want), rel_tol=1e-15)
    if pa.types.is_uint64(kind) and reader == "pyarrow":
        return got == float(want)
    if name in TEXTS:
        return got == want
    if pa.types.is_date(kind):
        return moment(got) == moment(want) if want.year > 1700 and want.year < 2200 else str(got)[:10] == str(want)
    if pa.types.is_time(kind):
        return datetime.time.fromisoformat(str(got)) == want
    if pa.types.is_timestamp(kind):
        return moment(got) == moment(want) if want.year > 1700 else str(got).replace(" ", "T") == want.isoformat()
    if isinstance(want, bytes):
        return got == ("\\x" + want.hex() if form == "csv" else base64.b64encode(want).decode())
    if isinstance(want, (list, dict)):
        return entries(json.loads(got) if form == "csv" else got) == entries(want)
    return got == want


def compare(name, table, form, reader, path, wrong):
    """Adds what differs; returns the types that the reader found."""
    try:
        found = columns(READERS[form, reader](path))
    except Exception as error:  # a reader that cannot read the file at all
        wrong.append(f"{name}.{form} by {reader}: {str(error)[:200]}")
        return []
    if [column[0] for column in found] != table.column_names:
        wrong.append(f"{name}.{form} by {reader}: columns {[column[0] for column in found]}")
        return []
    labels = list(every_type()) if name == "every" else table.column_names
    for (column, kind, got), label, field in zip(found, labels, table.schema):
        want = TEXTS.get(label) or table[column].to_pylist()
        value_type = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if len(got) != len(want):
            wrong.append(f"{name}.{form} by {reader}: {len(got)} rows of {len(want)}")
        for row, (a, b) in enumerate(zip(want, got)):
            try:
                is_same = same(label, form, reader, value_type, a, b)
            except Exception as error:  # a value of another kind
                is_same, b = False, f"{b!r} ({error})"
            if not is_same:
                wrong.append(f"{name}.{form} by {reader}: {label}, row {row}: {a!r} became {b!r} of {kind}")
    return [kind for _, kind, _ in found]


def first_cells(path, form, count):
    """The first cell of each column, as it stands in the file."""
    if form == "csv":
        with open(path, newline="") as file:
            return list(csv.reader(file))[1]
    line = path.read_text().split("\n")[0]
    starts = [line.index(f'"c{i}":') for i in range(count)] + [len(line)]
    return [line[start + len(f'"c{i}":') : end - 1] for i, (start, end) in enumerate(zip(starts, starts[1:]))]


def read(folder):
    wrong, types = [], {}
    for name, table in tables().items():
        for form in ("csv", "ndjson"):
            path = folder / f"{name}.{form}"
            found = [compare(name, table, form, reader, path, wrong) for reader in ("pyarrow", "pandas", "DuckDB")]
            if name == "every":
                cells = first_cells(path, form, table.num_columns)
                types[form] = [list(row) for row in zip(every_type(), cells, *found)]
    return {"wrong": wrong, "types": types}


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[2])
    if sys.argv[1] == "write":
        write(folder)
        print("{}")
    else:
        print(json.dumps(read(folder)))
