#!/usr/bin/env bash
# A column of DuckDB's type ARRAY (lists of one fixed length, such as INTEGER[3]) that has a NULL is written to Parquet in a form
# that pyarrow cannot read: "Length spanned by list offsets (5) larger than values array (length 3)". DuckDB itself, Polars and
# Arrow's reader in Rust read the file. Without a NULL, or as a list (INTEGER[]), pyarrow reads the column.
#
# Bites: everybody who writes embeddings or coordinates with DuckDB, some of them missing, and reads them with pyarrow or pandas.
# Cast the column to a list before it is written.
#
# Seen: 2026-11-29, DuckDB 2.0.1, pyarrow 26.0.1, Polars 2.1.0, Python 3.11, Linux x86-64. Not reported yet.
#
# Expected: pyarrow shows [[1, 2, 3], None], as the others do.
# Seen:
#   integer[3], DuckDB: [[1, 2, 3], None]
#   integer[3], Polars: [[1, 2, 3], None]
#   integer[3], pyarrow: ArrowInvalid Length spanned by list offsets (5) larger than values array (length 3)
#   integer[], DuckDB: [[1, 2, 3], None]
#   integer[], Polars: [[1, 2, 3], None]
#   integer[], pyarrow: [[1, 2, 3], None]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check duckdb==2.0.1 pyarrow==26.0.1 polars==2.1.0

cat > arrays.py <<'PYTHON'
import duckdb
import polars
import pyarrow.parquet as parquet

for kind in ("integer[3]", "integer[]"):
    duckdb.sql(f"copy (select [1, 2, 3]::{kind} as a union all select null) to 'a.parquet'")
    print(f"{kind}, DuckDB:", [row[0] and list(row[0]) for row in duckdb.sql("from 'a.parquet'").fetchall()])
    print(f"{kind}, Polars:", polars.read_parquet("a.parquet")["a"].to_list())
    try:
        print(f"{kind}, pyarrow:", parquet.read_table("a.parquet")["a"].to_pylist())
    except Exception as error:
        print(f"{kind}, pyarrow:", type(error).__name__, error)
PYTHON

seen=$(environment/bin/python arrays.py)
printf '%s\n' "$seen"
expected='integer[3], DuckDB: [[1, 2, 3], None]
integer[3], Polars: [[1, 2, 3], None]
integer[3], pyarrow: ArrowInvalid Length spanned by list offsets (5) larger than values array (length 3)
integer[], DuckDB: [[1, 2, 3], None]
integer[], Polars: [[1, 2, 3], None]
integer[], pyarrow: [[1, 2, 3], None]'
if [ "$seen" != "$expected" ]; then
  echo "this finding does not hold any more" >&2
  exit 1
fi
