"""Compares Parquet files with the Arrow streams they were made of, column by column.

Standard input: a JSON list of {"name", "arrow", "parquet"}. Standard output: a JSON list of {"name", "columns", "different"},
where "different" lists the columns that are not equal.
"""

import json
import sys

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as parquet


def compare(pair):
    with open(pair["arrow"], "rb") as file:
        want = ipc.open_stream(file.read()).read_all()
    got = parquet.ParquetFile(pair["parquet"]).read()
    different = []
    if want.num_rows != got.num_rows or want.num_columns != got.num_columns:
        different.append(f"{got.num_rows} rows and {got.num_columns} columns, expected {want.num_rows} and {want.num_columns}")
    for index, field in enumerate(want.schema):
        a, b = want.column(index), got.column(index)
        if pa.types.is_dictionary(a.type):
            a = a.cast(a.type.value_type)
        if pa.types.is_dictionary(b.type):
            b = b.cast(b.type.value_type)
        try:
            # The unit of a type may change where Parquet lacks it; the values may not.
            equal = a.equals(b) or a.equals(b.cast(a.type)) or str(a.to_pylist()) == str(b.to_pylist())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            different.append(f"{field.name}: {a.type} and {b.type}: {error}")
            continue
        if not equal:
            different.append(f"{field.name}: {a.type} and {b.type}")
    return {"name": pair["name"], "columns": want.num_columns, "different": different}


json.dump([compare(pair) for pair in json.load(sys.stdin)], sys.stdout)
