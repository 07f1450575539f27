"""Uses a Flight SQL server by pyarrow's Flight client, which knows no SQL, and by ADBC's driver under polars and DuckDB.

    python sql_clients.py LOCATION ROWS

Prints a JSON object with what each of them found.
"""

import json
import sys

import adbc_driver_flightsql.dbapi as flight_sql
import duckdb
import polars as pl
import pyarrow as pa
from pyarrow import flight

location, ROWS = sys.argv[1], int(sys.argv[2])
QUERY = f"select range as n, 'row ' || range % 1000 as s from range({ROWS})"
found = {}


def field(number, value):
    """A field of a protobuf message: bytes shorter than 16,384."""
    length = bytes([len(value)]) if len(value) < 128 else bytes([len(value) & 127 | 128, len(value) >> 7])
    return bytes([number << 3 | 2]) + length + value


def command(name, value):
    """A command of Flight SQL, in its google.protobuf.Any."""
    url = f"type.googleapis.com/arrow.flight.protocol.sql.{name}".encode()
    return flight.FlightDescriptor.for_command(field(1, url) + field(2, value))


def query(text):
    return command("CommandStatementQuery", field(1, text.encode()))


with flight.connect(location) as client:
    pyarrow = found["pyarrow"] = {}
    [endpoint] = client.get_flight_info(query("select 42 as x")).endpoints
    pyarrow["query"] = client.do_get(endpoint.ticket).read_all().to_pylist()
    info = client.get_flight_info(query(QUERY))
    table = pa.concat_tables(client.do_get(endpoint.ticket).read_all() for endpoint in info.endpoints)
    pyarrow["many rows"] = [table.schema.equals(info.schema), table.num_rows, pa.compute.sum(table["n"]).as_py()]
    [endpoint] = client.get_flight_info(command("CommandGetTableTypes", b"")).endpoints
    pyarrow["types of tables"] = client.do_get(endpoint.ticket).read_all()["table_type"].to_pylist()
    try:
        client.get_flight_info(query("selec"))
    except pa.ArrowInvalid:
        pyarrow["errors of SQL"] = "ArrowInvalid"

with flight_sql.connect(location, autocommit=True) as connection:
    polars = found["polars"] = {"query": pl.read_database("select 42 as x", connection).to_dicts()}
    frame = pl.read_database(QUERY, connection).sort("n")
    polars["many rows"] = [frame.height, int(frame["n"].sum())]
    written = frame.head(1000).write_database("frame", connection, engine="adbc", if_table_exists="replace")
    polars["ordered rows"] = pl.read_database("select * from frame order by n", connection).equals(frame.head(1000))
    polars["ingest"] = [written, *pl.read_database("select count(*) from frame", connection).row(0)]

    with connection.cursor() as cursor:

        def rows(text, summary):
            """Of a result by the driver, which DuckDB reads as a table."""
            cursor.execute(text)
            reader = cursor.fetch_record_batch()  # noqa: F841
            return list(duckdb.sql(f"select {summary} from reader").fetchall()[0])

        ducks = found["duckdb"] = {"query": rows("select 42 as x", "x")}
        ducks["many rows"] = rows(QUERY, "count(*), sum(n)::bigint, count(distinct s)")
        made = duckdb.sql("select range as n, 'x' as s from range(1000)").to_arrow_table()
        ducks["ingest"] = [cursor.adbc_ingest("ducks", made, mode="create"), *rows("from ducks", "sum(n)::bigint")]

json.dump(found, sys.stdout)
