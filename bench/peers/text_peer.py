"""Writes a Parquet file as text, as dipc's peers do, or compares a text with the Parquet file that it was made from.

    python text_peer.py csv PARQUET FILE      by pyarrow: read_table, write_csv
    python text_peer.py ndjson PARQUET FILE   by DuckDB: COPY
    python text_peer.py check PARQUET FILE    by DuckDB: fails unless the rows are the same
"""

import sys

do, parquet, path = sys.argv[1:]
if do == "csv":
    import pyarrow.csv
    import pyarrow.parquet

    pyarrow.csv.write_csv(pyarrow.parquet.read_table(parquet), path)
elif do == "ndjson":
    import duckdb

    duckdb.sql(f"COPY (SELECT * FROM '{parquet}') TO '{path}' (FORMAT json)")
else:
    import duckdb

    columns = duckdb.sql(f"DESCRIBE SELECT * FROM '{parquet}'").fetchall()
    typed = ", ".join(f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind, *_ in columns)
    text, data = f"(SELECT {typed} FROM '{path}')", f"(SELECT * FROM '{parquet}')"
    for one, other in ((text, data), (data, text)):
        [(lacking,)] = duckdb.sql(f"SELECT count(*) FROM ({one} EXCEPT ALL {other})").fetchall()
        if lacking > 0:
            sys.exit(f"{lacking} rows of {one} are not in {other}")
