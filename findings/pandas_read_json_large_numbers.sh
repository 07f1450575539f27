#!/usr/bin/env bash
# pandas.read_json reads some numbers of 2^64 and more as other numbers, without an error or a warning: 123456789012345680000
# becomes 12776324570088370304, the remainder of its division by 2^64. Others of that size are refused ("Value is too big!"), as the
# check for an overflow compares each step with the one before, and a step that wraps round and is still larger passes. A
# fraction does not help: 123456789012345680000.0 is read as the same wrong number, 1.2776324570088370e+19.
#
# Bites: everybody who reads JSON that JavaScript has written. JSON.stringify writes floating-point numbers of up to 10^21 with
# all their digits and without an exponent, so that 1.2345678901234568e20 is such a number in the file. An exponent in the
# file, or precise_float=True with a point in the number, gives the right one.
#
# Seen: 2026-11-29, pandas 3.1.1, Python 3.11, Linux x86-64. That numbers of this size are refused is known
# (https://github.com/pandas-dev/pandas/issues/63572), not that some are read wrongly.
#
# Expected: 1.2345678901234568e+20, or an error.
# Seen:
#   123456789012345680000 is read as 12776324570088370304
#   123456789012345680000.0 is read as 1.277632457008837e+19
#   1.2345678901234568e+20 is read as 1.234567890123456e+20
#   99999999999999999999 is read as an error: Value is too big! at position 5
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check pandas==3.1.1

cat > large_numbers.py <<'PYTHON'
import io

import pandas

for number in ("123456789012345680000", "123456789012345680000.0", "1.2345678901234568e+20", "99999999999999999999"):
    try:
        [value] = pandas.read_json(io.StringIO(f'{{"n":{number}}}\n'), lines=True)["n"].tolist()
    except ValueError as error:
        value = f"an error: {error}"
    print(f"{number} is read as {value}")
PYTHON

seen=$(environment/bin/python large_numbers.py)
printf '%s\n' "$seen"
expected='123456789012345680000 is read as 12776324570088370304
123456789012345680000.0 is read as 1.277632457008837e+19
1.2345678901234568e+20 is read as 1.234567890123456e+20
99999999999999999999 is read as an error: Value is too big! at position 5'
if [ "$seen" != "$expected" ]; then
  echo "this finding does not hold any more" >&2
  exit 1
fi
