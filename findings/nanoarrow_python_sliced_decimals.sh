#!/usr/bin/env bash
# nanoarrow for Python gives the values from the start of the whole array for a slice of decimals, of fixed-size binary (UUIDs, hashes),
# of half floats and of month-day-nano intervals, and more of them than the slice has rows: a slice of two rows becomes a list of four.
# In a table the other columns of each row are right, so that values of different rows stand side by side. If the slice has a null, its
# length and the nulls are right, and the values are not.
#
# Bites: everybody who reads with nanoarrow what another library has cut: Table.slice and to_batches(max_chunksize) of pyarrow, or any
# producer of a C stream whose batches are pieces of a larger one. to_pylist, iter_py and iter_scalar do it; to_pysequence is right.
#
# Seen: 2026-11-29, nanoarrow 0.9.0, pyarrow 26.0.1, Python 3.11, Linux x86-64. Its makers know that its C function for intervals
# leaves the offset out (https://github.com/apache/arrow-nanoarrow/issues/754); the other types were not reported.
#
# The input is valid by the Arrow C data interface, section Structure definitions: ArrowArray.offset is "the logical offset inside the
# array". Expected: 3 and 4, in every column.
# Seen:
#   int64: [3, 4]
#   decimal128(5, 0): [1, 2, 3, 4]
#   fixed_size_binary[1]: [1, 2, 3, 4]
#   halffloat: [1, 2, 3, 4]
#   rows of the table: (3, 1, 1, 1) (4, 2, 2, 2)
#   slice with a null: [1, 2, None] of [2, 3, None]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check nanoarrow==0.9.0 pyarrow==26.0.1

cat > sliced.py <<'PYTHON'
import nanoarrow as na
import pyarrow as pa

NUMBERS = [1, 2, 3, 4]
table = pa.table([
    pa.array(NUMBERS),
    pa.array(NUMBERS, pa.decimal128(5, 0)),
    pa.array([str(n).encode() for n in NUMBERS], pa.binary(1)),
    pa.array(NUMBERS, pa.float16()),
], names=["integer", "decimal", "binary", "half"]).slice(2)
table.validate(full=True)

for column in table.columns:
    print(f"{column.type}:", [int(value) for value in na.ArrayStream(column).read_all().to_pylist()])
rows = na.ArrayStream(table).read_all().to_pylist()
print("rows of the table:", *(tuple(int(value) for value in row.values()) for row in rows))

part = pa.array([1, 2, 3, None], pa.decimal128(5, 0)).slice(1)
shown = [[value and int(value) for value in values] for values in (na.Array(part).to_pylist(), part.to_pylist())]
print(f"slice with a null: {shown[0]} of {shown[1]}")
PYTHON

seen=$(environment/bin/python sliced.py)
printf '%s\n' "$seen"
expected='int64: [3, 4]
decimal128(5, 0): [1, 2, 3, 4]
fixed_size_binary[1]: [1, 2, 3, 4]
halffloat: [1, 2, 3, 4]
rows of the table: (3, 1, 1, 1) (4, 2, 2, 2)
slice with a null: [1, 2, None] of [2, 3, None]'
if [ "$seen" != "$expected" ]; then
  echo "this finding does not hold any more" >&2
  exit 1
fi
