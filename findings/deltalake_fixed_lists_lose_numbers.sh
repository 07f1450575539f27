#!/usr/bin/env bash
# write_deltalake (delta-rs) stores null in place of every number of a fixed-size list that does not fit into the type of the Delta
# table, and says nothing. Delta has signed integers only, so that uint8 becomes byte: 128 to 255 are lost, half of the range. In a
# plain column, in a list of variable length and in a struct the same number is an error, and nothing is written.
#
# Bites: everybody who stores quantised embeddings, pixels or hashes as a fixed-size list of uint8 (or uint16, uint32, uint64) in a Delta
# table. Cast the column to the next larger signed type before it is written, or declare its items as not nullable: then it is an
# error here, too.
#
# Seen: 2026-11-29, deltalake 1.6.6, pyarrow 26.0.1, Python 3.11, Linux x86-64. Not reported. That a fixed-size list comes back as a list of
# variable length is intended (https://github.com/delta-io/delta-rs/issues/2162), that its numbers become null is not.
#
# The input is valid by Arrow's columnar format (Fixed-Size List Layout, its child of any type). Expected: an error in each case.
# Seen, as the Parquet file of the table has it:
#   uint8: DeltaError: Can't cast value 200 to type Int8
#   list<item: uint8>: DeltaError: Can't cast value 200 to type Int8
#   fixed_size_list<item: uint8>[3]: [[100, None, None]]
#   fixed_size_list<item: uint32>[3]: [[100, 200, None]]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check deltalake==1.6.6 pyarrow==26.0.1

cat > unsigned.py <<'PYTHON'
from pathlib import Path

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq

arrays = [
    pa.array([100, 200, 255], pa.uint8()),
    pa.array([[100, 200, 255]], pa.list_(pa.uint8())),
    pa.array([[100, 200, 255]], pa.list_(pa.uint8(), 3)),
    pa.array([[100, 200, 2**32 - 1]], pa.list_(pa.uint32(), 3)),
]
for number, array in enumerate(arrays):
    folder = Path(f"table{number}")
    try:
        deltalake.write_deltalake(folder, pa.table({"c": array}))
        file = next(folder.glob("*.parquet"))
        found = pq.ParquetFile(file).read()["c"].to_pylist()
    except deltalake.exceptions.DeltaError as error:
        found = f"{type(error).__name__}: {str(error).split(': ')[-1]}"
    print(f"{array.type}: {found}")
PYTHON

seen=$(environment/bin/python unsigned.py)
printf '%s\n' "$seen"
expected="uint8: DeltaError: Can't cast value 200 to type Int8
list<item: uint8>: DeltaError: Can't cast value 200 to type Int8
fixed_size_list<item: uint8>[3]: [[100, None, None]]
fixed_size_list<item: uint32>[3]: [[100, 200, None]]"
if [ "$seen" != "$expected" ]; then
  echo "this finding does not hold any more" >&2
  exit 1
fi
