"""Uses a Flight SQL server by ADBC's driver: statements, parameters, ingest, metadata, transactions, many rows.

    python adbc_flightsql.py LOCATION ROWS

Prints a JSON object with what it found.
"""

import json
import sys

import adbc_driver_flightsql.dbapi as flight_sql
import pyarrow as pa
import pyarrow.compute as pc

location = sys.argv[1]
ROWS = int(sys.argv[2])
found = {}

with flight_sql.connect(location, autocommit=True) as connection, connection.cursor() as cursor:

    def rows(query, parameters=None):
        cursor.execute(query, parameters)
        return cursor.fetchall()

    found["query"] = rows("select 42 as x, 'hej' as s, null as n")
    cursor.execute("create table adbc (i integer, s varchar)")
    cursor.executemany("insert into adbc values (?, ?)", [(1, "a"), (2, "b"), (3, None)])
    found["update with many rows of parameters"] = cursor.rowcount
    found["query with parameters"] = rows("select * from adbc where i >= ? order by i", (2,))
    table = pa.table({"n": pa.array(range(ROWS), pa.int64()), "s": [f"row {i % 1000}" for i in range(ROWS)]})
    # The driver sends no messages of more than 16 MiB.
    table = pa.Table.from_batches(table.to_batches(max_chunksize=100_000))
    found["ingest"] = [cursor.adbc_ingest("many", table, mode="create")]
    for mode in ["append", "replace", "create_append"]:
        found["ingest"].append(cursor.adbc_ingest("many", table.slice(0, 10), mode=mode))
    try:
        cursor.adbc_ingest("many", table, mode="create")
    except flight_sql.ProgrammingError as error:
        found["ingest"].append(str(error).split(":")[0])
    cursor.adbc_ingest("many", table, mode="replace")
    cursor.execute("select * from many")
    fetched = cursor.fetch_arrow_table()
    found["many rows"] = [fetched.num_rows, pc.sum(fetched["n"]).as_py()]
    cursor.execute("select * from many order by n")
    found["ordered rows"] = cursor.fetch_arrow_table().equals(table)
    partitions, schema = cursor.adbc_execute_partitions("select * from many")
    with flight_sql.connect(location, autocommit=True) as other, other.cursor() as reader:
        total = 0
        for partition in partitions:
            reader.adbc_read_partition(partition)
            total += reader.fetch_arrow_table().num_rows
    found["endpoints read by another connection"] = [len(partitions) > 1, total]
    info = connection.adbc_get_info()
    found["information about the server"] = [info["vendor_name"], info["driver_name"]]
    found["types of tables"] = connection.adbc_get_table_types()
    objects = connection.adbc_get_objects(depth="columns", table_name_filter="adbc").read_all().to_pylist()
    found["columns"] = [
        column["column_name"]
        for catalog in objects
        for schema in catalog["catalog_db_schemas"]
        for each in schema["db_schema_tables"]
        for column in each["table_columns"]
    ]
    found["schema of a table"] = str(connection.adbc_get_table_schema("adbc").field("i").type)
    errors = found["errors of SQL"] = {}
    for query in ["selec", "from nothing", "select 'x'::integer", "from read_text('/etc/hostname')"]:
        try:
            rows(query)
        except flight_sql.Error as error:
            errors[query] = str(error).split(":")[0]

with flight_sql.connect(location) as connection, connection.cursor() as cursor:
    found["transactions"] = []
    for end in [connection.rollback, connection.commit]:
        cursor.execute("insert into adbc values (9, 'z')")
        end()
        cursor.execute("select count(*) from adbc")
        found["transactions"].append(cursor.fetchall()[0][0])

# A session is kept by a cookie.
session = {
    "db_kwargs": {"adbc.flight.sql.rpc.with_cookie_middleware": "true"},
    "conn_kwargs": {"adbc.connection.catalog": "tables", "adbc.connection.db_schema": "elsewhere"},
}
with flight_sql.connect(location, autocommit=True) as connection, connection.cursor() as cursor:
    cursor.execute("create schema tables.elsewhere")
    cursor.execute("create table tables.elsewhere.adbc as select 'elsewhere' as place")
with flight_sql.connect(location, autocommit=True, **session) as connection, connection.cursor() as cursor:
    cursor.execute("select * from adbc")
    found["catalog and schema of the session"] = cursor.fetchall()
    cursor.execute("select * from adbc where place = ?", ("elsewhere",))
    found["catalog and schema of the session"] += cursor.fetchall()
    connection.adbc_current_db_schema = "main"
    cursor.execute("select count(*) from adbc")
    found["catalog and schema of the session"] += cursor.fetchall()
    found["catalog and schema of the session"] += [connection.adbc_current_catalog, connection.adbc_current_db_schema]
    try:
        connection.adbc_current_catalog = "nowhere"
    except flight_sql.Error as error:
        found["catalog and schema of the session"].append(str(error).split(":")[0])

json.dump(found, sys.stdout)
