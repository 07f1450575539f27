"""Reads queries by the ADBC driver manager of Python and compares them with each other, and with flights of a server.

Arguments: a JSON object {driver, entrypoint, options, pairs, flights, location}: pairs of queries whose results must be equal, and
queries by the name of the flight that must equal their result.
"""

import json
import sys

import pyarrow.flight
from adbc_driver_manager import dbapi

task = json.loads(sys.argv[1])


def read(cursor, query):
    cursor.execute(query)
    return cursor.fetch_arrow_table()


def check(found, expected, name, with_metadata):
    if not found.schema.equals(expected.schema, check_metadata=with_metadata):
        raise SystemExit(f"{name}: {found.schema}\nis not\n{expected.schema}")
    if not found.combine_chunks().equals(expected.combine_chunks()):
        raise SystemExit(f"{name}: {found}\nis not\n{expected}")
    print(f"{name}: {found.num_rows} rows, {found.num_columns} columns are equal")


with dbapi.connect(driver=task["driver"], entrypoint=task.get("entrypoint"), db_kwargs=task["options"], autocommit=True) as connection:
    with connection.cursor() as cursor:
        for one, other in task.get("pairs", []):
            check(read(cursor, one), read(cursor, other), other, False)
        if "flights" in task:
            client = pyarrow.flight.connect(task["location"])
            for name, query in task["flights"].items():
                info = client.get_flight_info(pyarrow.flight.FlightDescriptor.for_path(name))
                check(client.do_get(info.endpoints[0].ticket).read_all(), read(cursor, query), name, True)
