"""Reads Arrow files by pyarrow, and by Polars if it is there: python same_rows.py STREAM FILE [STREAM FILE]...

Prints, for each pair, which readers find the rows of the stream in the file, what the file's schema and footer metadata are.
"""
import json
import sys

import pyarrow as pa

try:
    import polars
except ImportError:
    polars = None


def rows(table):
    return [column.to_pylist() for column in table.columns]


found = []
for stream, path in zip(sys.argv[1::2], sys.argv[2::2]):
    with open(stream, "rb") as file:
        is_file = file.read(6) == b"ARROW1"
    want = rows((pa.ipc.open_file if is_file else pa.ipc.open_stream)(stream).read_all())
    reader = pa.ipc.open_file(path)
    table = reader.read_all()
    table.validate(full=True)
    readers = {"pyarrow": rows(table) == want}
    if polars is not None:
        frame = polars.read_ipc(path)
        readers["polars"] = [frame[name].to_list() for name in frame.columns] == want
    metadata = {key.decode(): value.decode() for key, value in (reader.metadata or {}).items()}
    types = [str(field.type) for field in reader.schema]
    found.append({"readers": readers, "types": types, "metadata": metadata})
print(json.dumps(found))
