"""Data for the tests of the command's limits: one batch with columns of every layout that Arrow has.

    python cli_types.py write FILE [CODEC]    writes an Arrow stream of 1,000 rows, bodies compressed with CODEC
    python cli_types.py check FILE GOT ROWS   GOT must hold exactly the first ROWS rows of FILE; prints JSON
"""

import json
import sys

import pyarrow as pa
from pyarrow import ipc

ROWS = 1000


def some(values, every=3):
    """The values, each third one null."""
    return [None if i % every == 0 else value for i, value in enumerate(values)]


def table():
    n = range(ROWS)
    words = [f"word {i} {'x' * (i % 40)}" for i in n]
    lists = some([list(range(i % 5)) for i in n])
    columns = {
        "int": pa.array(some(list(n)), pa.int32()),
        "bool": pa.array(some([i % 2 == 0 for i in n])),
        "null": pa.nulls(ROWS),
        "string": pa.array(some(words)),
        "large": pa.array(some(words), pa.large_string()),
        "view": pa.array(some(words), pa.string_view()),
        "decimal": pa.array(some(list(n)), pa.decimal256(60, 2)),
        "list": pa.array(lists, pa.list_(pa.int16())),
        "large_list": pa.array(lists, pa.large_list(pa.int64())),
        "list_view": pa.array(lists, pa.list_view(pa.int32())),
        "large_list_view": pa.array(lists, pa.large_list_view(pa.int32())),
        "fixed_list": pa.array(some([[i, None, i + 1] for i in n]), pa.list_(pa.int32(), 3)),
        "struct": pa.array(some([{"a": i, "b": [words[i]] * (i % 3)} for i in n])),
        "map": pa.array(some([[(words[i], i)] * (i % 2) for i in n]), pa.map_(pa.string(), pa.int32())),
        "dictionary": pa.array(some([words[i % 7] for i in n])).dictionary_encode(),
        "sparse": pa.UnionArray.from_sparse(
            pa.array([i % 2 for i in n], pa.int8()), [pa.array(list(n)), pa.array(words)]
        ),
        "dense": pa.UnionArray.from_dense(
            pa.array([i % 2 for i in n], pa.int8()),
            pa.array([i // 2 for i in n], pa.int32()),
            [pa.array(list(range(ROWS // 2))), pa.array(words[: ROWS // 2])],
        ),
        "runs": pa.RunEndEncodedArray.from_arrays(
            pa.array([ROWS // 4, ROWS // 2, ROWS], pa.int32()), pa.array(["a", None, "c"])
        ),
    }
    return pa.table(columns)


def write(path, codec=None):
    data = table()
    with ipc.new_stream(path, data.schema, options=ipc.IpcWriteOptions(compression=codec)) as writer:
        for batch in data.to_batches():
            writer.write_batch(batch)


def check(path, got, rows):
    want = ipc.open_stream(path).read_all().slice(0, rows)
    found = (ipc.open_file if got.endswith(".arrow") else ipc.open_stream)(got).read_all()
    found.validate(full=True)
    wrong = [
        name
        for name in want.schema.names
        if want.column(name).to_pylist() != found.column(name).to_pylist()
        or want.column(name).null_count != found.column(name).null_count
    ]
    return {"rows": found.num_rows, "wrong": wrong, "schema": want.schema.equals(found.schema, check_metadata=True)}


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2], *sys.argv[3:])
        print("{}")
    else:
        print(json.dumps(check(sys.argv[2], sys.argv[3], int(sys.argv[4]))))
