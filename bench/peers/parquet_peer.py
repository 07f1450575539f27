"""Copies a Parquet file with pyarrow, or compares two.

    python parquet_peer.py copy FROM TO
    python parquet_peer.py check A B     fails unless the rows are the same
"""

import sys

import pyarrow.parquet as parquet

do, one, other = sys.argv[1:]
if do == "parquet":
    parquet.write_table(parquet.read_table(one), other)
else:
    expected, found = parquet.read_table(one), parquet.read_table(other)
    if not found.cast(expected.schema).equals(expected):
        sys.exit(f"{other} does not have the rows of {one}")
