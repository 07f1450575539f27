"""Compares answers to queries with those of DuckDB: {"tables": {name: FILE}, "queries": {name: {"sql": SQL, "answers": {way: STREAM}}}}.

Prints, for each query, its rows at DuckDB, and for each way "equal" or what differs. Rows count in any order, because queries order by
less than whole rows. Engines have other types for averages and shares: numbers with a fraction are equal up to a billionth, or, if
the answer's column is a decimal, up to one in its last place.
"""

import datetime
import decimal
import json
import math
import sys

import duckdb
import pyarrow as pa


def plain(value):
    if isinstance(value, (decimal.Decimal, float)):
        return float(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day).isoformat()
    return value.rstrip() if isinstance(value, str) else value


def rows(table):
    found = zip(*(map(plain, column.to_pylist()) for column in table.columns))
    # Numbers are sorted by the digits that are certain.
    return sorted(found, key=lambda row: [f"{v:.3f}" if isinstance(v, float) else repr(v) for v in row])


def unit(field):
    """The last place of a decimal."""
    return 10.0**-field.type.scale if pa.types.is_decimal(field.type) else 1e-9


def same(one, other, last):
    if isinstance(one, (float, int)) and isinstance(other, (float, int)):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=last)
    return one == other


def difference(expected, table):
    found, units = rows(table), [unit(field) for field in table.schema]
    if len(expected) != len(found):
        return f"{len(found)} rows, expected {len(expected)}"
    for number, (one, other) in enumerate(zip(expected, found)):
        if len(one) != len(other) or not all(map(same, one, other, units)):
            return f"row {number} is {other}, expected {one}"
    return "equal"


given = json.load(sys.stdin)
database = duckdb.connect()
for name, path in given["tables"].items():
    database.execute(f"create view {name} as from '{path}'")
compared = {}
for name, query in given["queries"].items():
    expected = rows(database.sql(query["sql"]).to_arrow_table())
    ways = {way: pa.ipc.open_stream(path).read_all() for way, path in query["answers"].items()}
    compared[name] = {"rows": len(expected), "ways": {way: difference(expected, table) for way, table in ways.items()}}
print(json.dumps(compared))
