#!/usr/bin/env bash
# ADBC's driver of Flight SQL calls a location by gRPC whatever its scheme is, and waits 20 seconds if a server of another protocol is there.
# Bites: every server whose endpoints name a transport of their own before their gRPC location, as Flight allows: each result takes 20 s
# longer. A server can put the gRPC location first.
# Seen: 2026-11-29, adbc-driver-flightsql 1.13.0, pyarrow 26.0.1, Python 3.11.7, Linux x86-64.
#
# Expected: a location whose scheme is not one of gRPC is passed over at once.
# Seen:
#   grpc first: 3 rows, at once
#   other scheme first: 3 rows, after about 20 s
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv || python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --disable-pip-version-check \
  adbc-driver-manager==1.13.0 adbc-driver-flightsql==1.13.0 pyarrow==26.0.1
seen=$(venv/bin/python - <<'PYTHON'
import socket
import time

import adbc_driver_flightsql.dbapi as flight_sql
import pyarrow as pa
from pyarrow import flight

TABLE = pa.table({"n": [1, 2, 3]})


class Server(flight.FlightServerBase):
    """Answers every statement with three rows at the locations that are to be tried."""

    def get_flight_info(self, context, descriptor):
        if b"CommandGetSqlInfo" in descriptor.command:
            raise NotImplementedError
        return flight.FlightInfo(TABLE.schema, descriptor, [flight.FlightEndpoint(b"t", self.locations)], 3, -1)

    def do_get(self, context, ticket):
        return flight.RecordBatchStream(TABLE)


with Server("grpc://127.0.0.1:0") as server, socket.create_server(("127.0.0.1", 0)) as silent:
    own = f"grpc://127.0.0.1:{server.port}"
    for what, first in [("grpc", own), ("other scheme", f"ucx://127.0.0.1:{silent.getsockname()[1]}/t")]:
        server.locations = [first, own]
        with flight_sql.connect(own, autocommit=True) as connection, connection.cursor() as cursor:
            began = time.monotonic()
            cursor.adbc_statement.set_sql_query("select 1")
            stream, _ = cursor.adbc_statement.execute_query()
            rows = pa.RecordBatchReader._import_from_c(stream.address).read_all().num_rows
            seconds = time.monotonic() - began
        print(f"{what} first: {rows} rows, {'at once' if seconds < 10 else f'after about {round(seconds, -1):.0f} s'}")
PYTHON
)
printf '%s\n' "$seen"
expected="grpc first: 3 rows, at once
other scheme first: 3 rows, after about 20 s"
if [ "$seen" != "$expected" ]; then
  echo "this finding does not hold any more" >&2
  exit 1
fi
