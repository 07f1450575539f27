"""Writes an Arrow stream whose dictionary grows by one value before each batch.

Usage: make_deltas.py FILE COUNT. Batch i has the values i, 0 and i again; value i is "v<i>", every 7th has a quote, every 10th is null.
"""

import json
import sys

import pyarrow as pa

path, count = sys.argv[1], int(sys.argv[2])
texts = [None if i % 10 == 9 else f'v{i}"' if i % 7 == 6 else f"v{i}" for i in range(count)]
values = pa.array(texts)
schema = pa.schema([("d", pa.dictionary(pa.int32(), pa.string()))])
options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, schema, options=options) as writer:
    for i in range(count):
        indices = pa.array([i, 0, i], pa.int32())
        column = pa.DictionaryArray.from_arrays(indices, values[: i + 1])
        writer.write(pa.record_batch([column], schema=schema))
json.dump(writer.stats.num_dictionary_deltas, sys.stdout)
