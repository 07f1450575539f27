#!/usr/bin/env bash
# Polars refuses a whole Parquet file in which one column is annotated as GEOMETRY, also if that column is not requested: the
# error says that the file is out of specification. GEOMETRY and GEOGRAPHY are logical types of Parquet since March 2025
# (format 2.11), DuckDB and pyarrow read such a column as shapes or as their bytes, and the format lets a reader ignore a logical type
# that it does not know, because the column is one of plain bytes without it.
#
# Bites: everybody who opens with Polars what DuckDB has written with its option geoparquet_version V2, BOTH or NONE, or what
# any newer writer of geospatial Parquet made, for the sake of its other columns. The same for VARIANT was reported to Polars by a
# user (https://github.com/pola-rs/polars/issues/28627, July 2026).
#
# Seen: 2026-11-29, Polars 2.1.0, DuckDB 2.0.1, pyarrow 26.0.1, Python 3.11, Linux x86-64.
#
# Expected: the column n, as from a file of geoparquet_version V1, whose shapes have no annotation.
# Seen:
#   V1: pyarrow (1, 1), Polars (1, 1)
#   V2: pyarrow (1, 1), Polars ComputeError: parquet: File out of specification: LogicalType union has no variant set
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check polars==2.1.0 duckdb==2.0.1 pyarrow==26.0.1

cat > geometry.py <<'PYTHON'
import duckdb
import polars
import pyarrow.parquet as parquet

for version in ("V1", "V2"):
    path = f"{version}.parquet"
    duckdb.sql(
        f"COPY (SELECT 'POINT (1 2)'::GEOMETRY AS g, 1 AS n) TO '{path}' (FORMAT parquet, GEOPARQUET_VERSION '{version}')"
    )
    try:
        found = polars.read_parquet(path, columns=["n"]).shape
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    print(f"{version}: pyarrow {parquet.read_table(path, columns=['n']).shape}, Polars {found}")
PYTHON

seen=$(environment/bin/python geometry.py)
printf '%s\n' "$seen"
expected='V1: pyarrow (1, 1), Polars (1, 1)
V2: pyarrow (1, 1), Polars ComputeError: parquet: File out of specification: LogicalType union has no variant set'
if [ "$seen" != "$expected" ]; then
  echo "this finding does not hold any more" >&2
  exit 1
fi
