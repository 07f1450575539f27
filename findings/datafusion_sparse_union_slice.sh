#!/usr/bin/env bash
# DataFusion reads a slice of a sparse union that it is handed by the Arrow C stream interface from the start of the whole array: the
# kinds of the values are those of the slice, the values themselves those of the first rows. A table in batches of two rows repeats the
# first two values in each. The reader is that of arrow-rs; arro3-core 0.9.1, which has it as well, does the same.
#
# Bites: everybody who passes unions from pyarrow (or another producer that slices without copying) to DataFusion in pieces: Table.slice, and
# to_batches(max_chunksize). Dense unions are right, and so is the slice after take, or after it went through an IPC stream.
#
# Seen: 2026-11-29, datafusion 55.0.0, DuckDB 2.0.1, pyarrow 26.0.1, Python 3.11, Linux x86-64. The same within arrow-rs was noted by its
# users in August 2026 (https://github.com/spiceai/spiceai/issues/13635).
#
# The input is valid: by Arrow's columnar format (Sparse Union) the children are as long as the union, by the C data interface
# (ArrowArray.offset) an array may begin at a logical offset, and pyarrow's validate(full=True) accepts it.
# Expected: 12 and d, as in pyarrow and DuckDB.
# Seen:
#   slice: pyarrow [12, 'd'], DuckDB [12, 'd'], DataFusion [10, 'b']
#   batches: pyarrow [10, 'b', 12, 'd'], DuckDB [10, 'b', 12, 'd'], DataFusion [10, 'b', 10, 'b']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check datafusion==55.0.0 duckdb==2.0.1 pyarrow==26.0.1

cat > union.py <<'PYTHON'
import datafusion
import duckdb
import pyarrow as pa

kinds = pa.array([0, 1, 0, 1], pa.int8())
children = [pa.array([10, 11, 12, 13]), pa.array(["a", "b", "c", "d"])]
whole = pa.table({"u": pa.UnionArray.from_sparse(kinds, children, ["number", "word"])})
batches = pa.Table.from_batches(whole.to_batches(max_chunksize=2))
for name, table in {"slice": whole.slice(2), "batches": batches}.items():
    table.validate(full=True)
    by_duckdb = [row[0] for row in duckdb.from_arrow(table).fetchall()]
    by_datafusion = pa.table(datafusion.SessionContext().from_arrow(table))["u"].to_pylist()
    print(f"{name}: pyarrow {table['u'].to_pylist()}, DuckDB {by_duckdb}, DataFusion {by_datafusion}")
PYTHON

seen=$(environment/bin/python union.py)
printf '%s\n' "$seen"
expected="slice: pyarrow [12, 'd'], DuckDB [12, 'd'], DataFusion [10, 'b']
batches: pyarrow [10, 'b', 12, 'd'], DuckDB [10, 'b', 12, 'd'], DataFusion [10, 'b', 10, 'b']"
if [ "$seen" != "$expected" ]; then
  echo "this finding does not hold any more" >&2
  exit 1
fi
