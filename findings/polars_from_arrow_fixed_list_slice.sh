#!/usr/bin/env bash
# Polars refuses slices of fixed-size lists that have a null: "validity mask length must be equal to the number of values divided by
# size". An Arrow array that was sliced keeps its values and has an offset, which Polars applies to the values and to the validity
# bitmap of such a list differently. Without a null the same slice is read.
#
# Bites: everybody who passes Arrow data with embeddings, vectors or tensors to Polars in pieces: pl.from_arrow, pl.DataFrame and
# anything else that takes a library's Arrow C stream of sliced tables.
#
# Seen: 2026-11-29, polars 2.1.0, pyarrow 26.0.1, Python 3.11, Linux x86-64. Not reported; a like fault for slices without nulls was
# mended in 2024 (https://github.com/pola-rs/polars/pull/17058).
#
# Expected: the slice, as pyarrow shows it.
# Seen:
#   whole: [[1, 2], [3, 4], None, [5, 6]]
#   slice without a null: [[5, 6]]
#   slice with a null: validity mask length must be equal to the number of values divided by size
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check polars==2.1.0 pyarrow==26.0.1

cat > fixed_lists.py <<'PYTHON'
import polars as pl
import pyarrow as pa

whole = pa.array([[1, 2], [3, 4], None, [5, 6]], pa.list_(pa.int8(), 2))
for name, array in {"whole": whole, "slice without a null": whole.slice(3), "slice with a null": whole.slice(1)}.items():
    try:
        print(f"{name}: {pl.from_arrow(array).to_list()}")
    except pl.exceptions.ComputeError as error:
        print(f"{name}: {error}")
PYTHON

seen=$(environment/bin/python fixed_lists.py)
printf '%s\n' "$seen"
expected='whole: [[1, 2], [3, 4], None, [5, 6]]
slice without a null: [[5, 6]]
slice with a null: validity mask length must be equal to the number of values divided by size'
if [ "$seen" != "$expected" ]; then
  echo "this finding does not hold any more" >&2
  exit 1
fi
