"""Writes Parquet files for tests that look at one thing each.

Usage: parquet_special.py FOLDER. Standard output: a JSON object of what the tests need to know of them.
"""

import base64
import json
import sys

import datafusion
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

folder = sys.argv[1]


class Keys(pe.KmsClient):
    """Keys that are not secret."""

    def __init__(self, configuration):
        pe.KmsClient.__init__(self)

    def wrap_key(self, key, master):
        return base64.b64encode(key)

    def unwrap_key(self, key, master):
        return base64.b64decode(key)


factory = pe.CryptoFactory(Keys)
table = pa.table({"open": [1, 2], "secret": ["x", "y"]})
for name, has_plain_footer in {"footer": False, "column": True}.items():
    choice = pe.EncryptionConfiguration(footer_key="f", column_keys={"c": ["secret"]}, plaintext_footer=has_plain_footer)
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), choice)
    with pq.ParquetWriter(f"{folder}/{name}.parquet", table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)

months = "arrow_cast(arrow_cast('14 months','Interval(YearMonth)'),'Interval(YearMonth)') as ym"
days = "arrow_cast('7 days 3 hours','Interval(DayTime)') as dt"
datafusion.SessionContext().sql(f"select {months}, {days}").write_parquet(f"{folder}/intervals.parquet")

random = np.random.default_rng(7)
block = random.bytes(1_000_000)
blobs = [block[i : i + 100_000] + i.to_bytes(4, "little") for i in range(3072)]
pq.write_table(pa.table({"i": range(3072), "b": pa.array(blobs)}), f"{folder}/blobs.parquet", compression="none")
doubles = {f"c{i}": random.random(1_000_000) for i in range(40)}
pq.write_table(pa.table(doubles), f"{folder}/doubles.parquet", compression="none", use_dictionary=False, data_page_version="2.0")
sums = [int(np.bitwise_xor.reduce(values.view(np.uint32))) for values in doubles.values()]
json.dump({"xor": int(np.bitwise_xor.reduce(sums))}, sys.stdout)
