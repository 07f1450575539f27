#!/usr/bin/env bash
# ROAPI answers a query without rows with a schema that has no columns, by Flight SQL.
# Bites: everybody who reads by column names what a filter may leave empty: pandas, Polars and pyarrow by ADBC's Flight SQL
# driver get a table without the columns, and only on the days on which nothing matches. Sail and arrow-go's server, asked the
# same, name the columns.
# Seen: 2026-11-29, roapi 0.12.7, adbc-driver-flightsql 1.13.0, Python 3.11.7, Linux x86-64.
#
# Expected: the same columns in both cases. Flight SQL's FlightInfo and the stream of DoGet have the schema of the query.
# Seen:
#   3 rows: id, name
#   0 rows: (no columns)
set -euo pipefail
folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
server=
cd "$folder"
python3 -m venv venv || python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --disable-pip-version-check \
  roapi==0.12.7 adbc-driver-manager==1.13.0 adbc-driver-flightsql==1.13.0 pyarrow==26.0.1
printf 'id,name\n1,ann\n2,bob\n3,eve\n' > people.csv
ports() {
  venv/bin/python -c 'import socket
all = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*[one.getsockname()[1] for one in all])'
}
read -r flight http postgres < <(ports)
venv/bin/roapi --addr-flight-sql "127.0.0.1:$flight" --addr-http "127.0.0.1:$http" \
  --addr-postgres "127.0.0.1:$postgres" --table people=people.csv > roapi.log 2>&1 &
server=$!
seen=$(timeout 60 venv/bin/python -W ignore - "$flight" <<'PYTHON'
import sys
import time
from adbc_driver_flightsql import dbapi

for attempt in range(50):
    try:
        connection = dbapi.connect(f"grpc://127.0.0.1:{sys.argv[1]}", autocommit=True)
        connection.cursor().execute("select 1")
        break
    except Exception:
        time.sleep(0.2)
for condition in ["1 = 1", "1 = 0"]:
    cursor = connection.cursor()
    cursor.execute(f"select id, name from people where {condition}")
    table = cursor.fetch_arrow_table()
    print(f"{table.num_rows} rows: {', '.join(table.column_names) or '(no columns)'}")
PYTHON
)
printf '%s\n' "$seen"
expected="3 rows: id, name
0 rows: (no columns)"
if [ "$seen" != "$expected" ]; then
  echo "this finding does not hold any more" >&2
  exit 1
fi
