"""Uses a Flight SQL server by InfluxData's flightsql-dbapi: statements, parameters, metadata, and the first endpoint alone.

    python flightsql_dbapi.py HOST PORT ROWS

Prints a JSON object with what it found.
"""

import json
import sys
import types

import pyarrow as pa

# The package needs it for its dialect alone, and a version for which there are few wheels.
for name in ["sqlalchemy", "sqlalchemy.types"]:
    sys.modules[name] = types.ModuleType(name)
sys.modules["sqlalchemy"].types = sys.modules["sqlalchemy.types"]
for name in ["BOOLEAN", "DATE", "DATETIME", "DECIMAL", "FLOAT", "INTEGER", "NUMERIC", "TIME", "TIMESTAMP", "VARCHAR", "String"]:
    setattr(sys.modules["sqlalchemy.types"], name, type(name, (), {}))

from flightsql import FlightSQLClient  # noqa: E402

client = FlightSQLClient(host=sys.argv[1], port=int(sys.argv[2]), insecure=True)


def rows(info):
    return client.do_get(info.endpoints[0].ticket).read_all().to_pylist()


found = {
    "update": [client.execute_update(text) for text in ["create table dbapi (i integer)", "insert into dbapi values (1), (2)"]],
    "query": rows(client.execute("select * from dbapi order by i")),
    "tables": [row["table_name"] for row in rows(client.get_tables(table_name_filter_pattern="dba%"))],
    "information about the server": rows(client.get_sql_info([0]))[0]["value"],
}
with client.prepare("select * from dbapi where i = ?") as statement:
    found["query with parameters"] = rows(statement.execute(pa.record_batch([pa.array([2])], names=["i"])))
info = client.execute(f"select range as i from range({sys.argv[3]})")
found["many rows"] = [len(info.endpoints), client.do_get(info.endpoints[0].ticket).read_all().num_rows]
json.dump(found, sys.stdout)
