#!/usr/bin/env bash
# pyarrow's to_pandas turns every value of a slice of a list view into None, without an error, if the array that it is a slice of has
# a null anywhere: [[1, 2], None, [3], [4]] from the third row on becomes [None, None]. to_pylist gives [[3], [4]], and without a null
# in the array so does to_pandas. Both list_view and large_list_view do it.
#
# Bites: everybody who passes list views on to pandas in pieces: Table.slice(…).to_pandas(), and batches that to_batches(max_chunksize)
# has cut.
#
# Seen: 2026-11-29, pyarrow 26.0.1, pandas 3.1.1, Python 3.11, Linux x86-64. Not reported.
#
# Expected: [[3], [4]] on each line.
# Seen:
#   list_view as a list: [[3], [4]]
#   list_view in pandas: [None, None]
#   large_list_view as a list: [[3], [4]]
#   large_list_view in pandas: [None, None]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check pyarrow==26.0.1 pandas==3.1.1

cat > list_view.py <<'PYTHON'
import pyarrow as pa

for kind in (pa.list_view, pa.large_list_view):
    part = pa.array([[1, 2], None, [3], [4]], kind(pa.int8())).slice(2)
    shown = [None if value is None else value.tolist() for value in part.to_pandas()]
    print(f"{kind.__name__} as a list: {part.to_pylist()}")
    print(f"{kind.__name__} in pandas: {shown}")
PYTHON

seen=$(environment/bin/python list_view.py)
printf '%s\n' "$seen"
expected='list_view as a list: [[3], [4]]
list_view in pandas: [None, None]
large_list_view as a list: [[3], [4]]
large_list_view in pandas: [None, None]'
if [ "$seen" != "$expected" ]; then
  echo "this finding does not hold any more" >&2
  exit 1
fi
