"""Compares results of queries with DuckDB's own answers.

    python tpch.py FOLDER < RESULTS

FOLDER has the tables as Parquet files. RESULTS is a JSON list of {"query", "paths"}: a statement, and the Arrow streams of its result as
they were fetched. Prints a JSON list with one object for each query: {"rows", "differences"}, the latter a text for each path.
"""

import glob
import json
import math
import os
import sys

import duckdb
from pyarrow import ipc


def rows(path):
    with ipc.open_stream(path) as reader:
        table = reader.read_all()
    return [tuple(row.values()) for row in table.to_pylist()]


def equal(one, other):
    """Averages may differ in their last bit from one version of DuckDB to another."""
    return math.isclose(one, other, rel_tol=1e-14) if isinstance(one, float) else one == other


def difference(want, got):
    if len(want) != len(got):
        return f"{len(got)} rows instead of {len(want)}"
    for i, (one, other) in enumerate(zip(want, got)):
        if len(one) != len(other) or not all(map(equal, one, other)):
            return f"row {i} is {other} instead of {one}"
    return ""


connection = duckdb.connect()
for path in glob.glob(f"{sys.argv[1]}/*.parquet"):
    name = os.path.basename(path).removesuffix(".parquet")
    connection.execute(f"create view {name} as from '{path}'")
answers = []
for result in json.load(sys.stdin):
    want = connection.execute(result["query"]).fetchall()
    answers.append({"rows": len(want), "differences": [difference(want, rows(path)) for path in result["paths"]]})
json.dump(answers, sys.stdout)
