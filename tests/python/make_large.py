"""Writes a large dataset of about so many bytes once decoded, piece by piece.

    python make_large.py arrow|parquet PATH BYTES
"""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

ROWS = 32_768


def batch(rng, number):
    """One batch: numbers, times, and text of few values; about 1 MB."""
    ids = np.arange(number * ROWS, (number + 1) * ROWS, dtype=np.int64)
    prices = rng.random(ROWS)
    flags = rng.integers(0, 2, ROWS).astype(bool)
    times = pa.array(ids * 1000, pa.timestamp("us"))
    texts = pa.array(np.char.mod("text %d", rng.integers(0, 1000, 64))[rng.integers(0, 64, ROWS)])
    nulls = pa.array(prices, mask=rng.random(ROWS) < 0.1)
    return pa.record_batch([pa.array(ids), nulls, pa.array(flags), times, texts], names=["id", "price", "flag", "time", "text"])


def main():
    kind, path, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
    rng = np.random.default_rng(1)
    # Making data is slow and repeating it is not: 16 batches in turn.
    batches = [batch(rng, number) for number in range(16)]
    schema = batches[0].schema
    written = 0
    if kind == "arrow":
        writer = ipc.new_file(path, schema)
        write = writer.write_batch
    else:
        writer = pq.ParquetWriter(path, schema, compression="zstd")
        write = lambda group: writer.write_table(pa.Table.from_batches([group]))
    number = 0
    while written < wanted:
        write(batches[number % len(batches)])
        written += batches[number % len(batches)].nbytes
        number += 1
    writer.close()
    print('{"batches": %d, "bytes": %d}' % (number, written))


if __name__ == "__main__":
    main()
