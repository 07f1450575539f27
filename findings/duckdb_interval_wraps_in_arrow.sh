#!/usr/bin/env bash
# An INTERVAL of DuckDB of more than 292 years of microseconds gets another value, without an error, when it becomes Arrow: its
# microseconds are multiplied by 1,000 in 64 bits, and wrap.
#
# Bites: everybody who sums long times with DuckDB and reads them by Arrow: in Python by to_arrow_table, by ADBC, in R.
#
# Seen: 2026-11-29, DuckDB 2.0.1, pyarrow 26.0.1, Python 3.11, Linux x86-64. Not reported yet.
#
# Expected: an error, because the type holds no such value. (fetchall shows the days that it is.)
# Seen:
#   115740 days, 17:46:40
#   MonthDayNano(months=0, days=0, nanoseconds=-8446744073709551616)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check duckdb==2.0.1 pyarrow==26.0.1

cat > interval.py <<'PYTHON'
import duckdb

query = "select to_microseconds(10000000000000000) as i"
print(duckdb.sql(query).fetchall()[0][0])
print(duckdb.sql(query).to_arrow_table()["i"][0].as_py())
PYTHON

seen=$(environment/bin/python interval.py)
printf '%s\n' "$seen"
expected='115740 days, 17:46:40
MonthDayNano(months=0, days=0, nanoseconds=-8446744073709551616)'
if [ "$seen" != "$expected" ]; then
  echo "this finding does not hold any more" >&2
  exit 1
fi
