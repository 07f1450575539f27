"""Writes a Parquet file whose Arrow schema has views, which readers may decode as plain columns.

Usage: make_views.py FILE. Standard output: the rows as JSON, as our command writes them.
"""

import json
import sys

import pyarrow as pa
import pyarrow.parquet as parquet

texts = ["a", None, "c" * 40]
lists = [["a"], None, ["b" * 30, None]]
structs = [{"x": "a"}, None, {"x": "b"}]
table = pa.table(
    {
        "text": pa.array(texts, pa.string_view()),
        "list_of_views": pa.array(lists, pa.list_(pa.string_view())),
        "list_view": pa.array(lists, pa.list_view(pa.string())),
        "large_list_view": pa.array(lists, pa.large_list_view(pa.string_view())),
        "struct_of_views": pa.array(structs, pa.struct([("x", pa.string_view())])),
        "n": pa.array([1, 2, 3], pa.int32()),
    }
)
parquet.write_table(table, sys.argv[1])
json.dump(table.to_pylist(), sys.stdout)
