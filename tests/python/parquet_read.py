"""Compares what dipc read from Parquet files, as Arrow streams, with what pyarrow and DuckDB read from them.

Standard input: a JSON list of {"name", "parquet", "arrows"}. Standard output: a JSON list of objects with lists of columns: "types",
where pyarrow's differ; "pyarrow" and "duckdb", where values do; "unread", which DuckDB cannot read.
"""

import json
import re
import sys

import duckdb
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

con = duckdb.connect()
con.sql("set timezone = 'UTC'")


def plain(array):
    """Values as Python objects that compare: times as integers, timestamps in nanoseconds, extension types as their storage."""
    if isinstance(array, pa.ChunkedArray):
        return [value for chunk in array.chunks for value in plain(chunk)]
    t = array.type
    if isinstance(t, pa.BaseExtensionType):
        return plain(array.storage)
    if pa.types.is_dictionary(t):
        return plain(array.dictionary_decode())
    if pa.types.is_timestamp(t):
        factor = {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}[t.unit]
        return [value and value * factor for value in array.cast(pa.int64()).to_pylist()]
    if pa.types.is_time64(t) or pa.types.is_duration(t) or pa.types.is_date64(t):
        return array.cast(pa.int64()).to_pylist()
    if pa.types.is_time32(t) or pa.types.is_date32(t):
        return array.cast(pa.int32()).to_pylist()
    valid = array.is_valid().to_pylist()
    if pa.types.is_struct(t):
        fields = [plain(array.field(i)) for i in range(t.num_fields)]
        return [tuple(f[i] for f in fields) if valid[i] else None for i in range(len(array))]
    if pa.types.is_map(t):
        values = list(zip(plain(array.keys), plain(array.items)))
    elif pa.types.is_fixed_size_list(t):
        return [plain(array.slice(i, 1).flatten()) if valid[i] else None for i in range(len(array))]
    elif pa.types.is_nested(t):
        return [plain(array[i].values) if valid[i] else None for i in range(len(array))]
    else:
        return array.to_pylist()
    offsets = array.offsets.to_pylist()
    first = offsets[0] if offsets else 0
    return [values[offsets[i] - first : offsets[i + 1] - first] if valid[i] else None for i in range(len(array))]


def by_pyarrow(file, name, got):
    """How a column's type and values differ from pyarrow's."""
    try:
        want = (file.read(columns=[name]) if "." not in name else file.read()).column(name)
    except (pa.ArrowException, OSError) as error:
        return f"cannot be read: {type(error).__name__}", None
    ours, theirs = (re.sub(r" \('[^']*'\)", "", str(t)) for t in (got.type, want.type))
    a, b = str(plain(got)), str(plain(want))
    return None if ours == theirs else f"{ours}, not {theirs}", None if a == b else f"{a[:100]}, not {b[:100]}"


def by_duckdb(parquet, name, got):
    """Whether DuckDB cannot read a column, and how its values, as text, differ."""
    quoted = '"' + name.replace('"', '""') + '"'
    try:
        want = con.sql(f"select {quoted}::varchar from read_parquet('{parquet}')").fetchall()
        ours = pa.table({name: got})  # noqa: F841: DuckDB finds it by its name
        have = con.sql(f"select {quoted}::varchar from ours").fetchall()
    except (duckdb.Error, pa.ArrowException) as error:
        return str(error).splitlines()[0][:100], None
    different = [(x, y) for (x,), (y,) in zip(have, want) if x != y]
    return None, None if have == want else f"{len(have)} and {len(want)} rows, different ones: {str(different)[:200]}"


def compare(pair):
    got = ipc.open_stream(pair["arrows"]).read_all()
    lists = {key: [] for key in ("types", "pyarrow", "duckdb", "unread")}
    result = {"name": pair["name"], "columns": got.num_columns, "rows": got.num_rows, "metadata": None, **lists}
    try:
        file = pq.ParquetFile(pair["parquet"])
        want = {k: v for k, v in (file.metadata.metadata or {}).items() if k != b"ARROW:schema"}
        if (got.schema.metadata or {}) != want:
            result["metadata"] = f"{got.schema.metadata}, not {want}"
    except (pa.ArrowException, OSError) as error:
        file = None
        result["types"].append(f"pyarrow cannot open it: {type(error).__name__}")
    for index, field in enumerate(got.schema):
        column, name = got.column(index), field.name
        types, values = (None, None) if file is None else by_pyarrow(file, name, column)
        unread, texts = by_duckdb(pair["parquet"], name, column)
        for key, what in {"types": types, "pyarrow": values, "unread": unread, "duckdb": texts}.items():
            result[key] += [f"{name}: {what}"] if what else []
    return result


json.dump([compare(pair) for pair in json.load(sys.stdin)], sys.stdout)
