#!/usr/bin/env bash
# pandas.read_csv reads a column of numbers as texts if its first number is an integer of 2^64 or more and a later one has a
# fraction. With the same numbers in another order the column is one of floating-point numbers: the type depends on the order
# of the rows. There is no error and no warning; sums join the texts, and comparisons are those of texts.
#
# Bites: everybody who reads CSV that writes large floating-point numbers without an exponent, as JavaScript does up to 10^21
# and SQL databases do for numeric columns. dtype={"n": float} reads the column, and so does an exponent in the file.
#
# Seen: 2026-11-29, pandas 3.1.1, Python 3.11, Linux x86-64.
#
# Expected: float64, whatever the order.
# Seen:
#   123456789012345680000, 0.5: str
#   0.5, 123456789012345680000: float64
#   1.2345678901234568e+20, 0.5: float64
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check pandas==3.1.1

cat > order.py <<'PYTHON'
import io

import pandas

for numbers in (
    ["123456789012345680000", "0.5"],
    ["0.5", "123456789012345680000"],
    ["1.2345678901234568e+20", "0.5"],
):
    column = pandas.read_csv(io.StringIO("\n".join(["n", *numbers])))["n"]
    print(f"{', '.join(numbers)}: {column.dtype}")
PYTHON

seen=$(environment/bin/python order.py)
printf '%s\n' "$seen"
expected='123456789012345680000, 0.5: str
0.5, 123456789012345680000: float64
1.2345678901234568e+20, 0.5: float64'
if [ "$seen" != "$expected" ]; then
  echo "this finding does not hold any more" >&2
  exit 1
fi
