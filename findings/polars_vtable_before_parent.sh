#!/usr/bin/env bash
# Polars rejects Arrow data whose metadata has a vtable at a lower address than the table that refers to it. In the binary format of
# flatbuffers a table finds its vtable by a signed offset, so that it may be anywhere, before or after, and shared by many tables;
# pyarrow and apache-arrow read it. Polars' reader (planus) drops all bytes before the parent when it follows a
# reference, so it no longer finds a vtable there, and says "InvalidOffset". The usual builders write from the back to the front and
# never produce that order, which is why it goes unnoticed until somebody writes the metadata with code of their own.
#
# Bites: encoders that write Arrow metadata front to back, with all vtables at the start (ours did), and their users:
# pyarrow takes the file, Polars calls it out of specification.
#
# Seen: 2026-11-29, polars 2.1.0, pyarrow 26.0.1, Python 3.11, Linux x86-64.
#
# Expected: [1, 2] from both readers, for both orders.
# Seen:
#   vtable after the parent: pyarrow [1, 2], polars [1, 2]
#   vtable before the parent: pyarrow [1, 2], polars InvalidOffset
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check pyarrow==26.0.1 polars==2.1.0

cat > vtable.py <<'PYTHON'
import io
import struct

import polars
import pyarrow as pa

MESSAGE, BATCH, NODES, BUFFERS, SIZE = 40, 80, 108, 132, 168


def record_batch(vtable):
    """A Message with a RecordBatch of two int64 in one column; the vtable of the batch is at the given place."""
    data = bytearray(SIZE)
    put = lambda at, form, *values: struct.pack_into("<" + form, data, at, *values)
    refer = lambda at, to: put(at, "I", to - at)
    refer(0, MESSAGE)
    put(4, "6H", 12, 24, 16, 18, 4, 8)  # vtable: its size, the table's; version, type of header, header, body length
    put(MESSAGE, "i", MESSAGE - 4)
    refer(MESSAGE + 4, BATCH)
    put(MESSAGE + 8, "qhB", 16, 4, 3)  # 16 bytes of body, V5, a record batch
    put(vtable, "5H", 10, 24, 8, 4, 16)  # vtable: its size, the table's; rows, nodes, buffers
    put(BATCH, "i", BATCH - vtable)
    refer(BATCH + 4, NODES)
    put(BATCH + 8, "q", 2)
    refer(BATCH + 16, BUFFERS)
    put(NODES, "I2q", 1, 2, 0)
    put(BUFFERS, "I4q", 2, 0, 0, 0, 16)
    return bytes(data)


def rows(read):
    try:
        return read()
    except Exception as error:
        return "InvalidOffset" if "InvalidOffset" in str(error) else repr(error)


schema = pa.schema([("n", pa.int64())]).serialize().to_pybytes()
for name, vtable in (("after", 64), ("before", 24)):
    frame = struct.pack("<iI", -1, SIZE) + record_batch(vtable)
    stream = schema + frame + struct.pack("<2q", 1, 2) + struct.pack("<iI", -1, 0)
    by_pyarrow = rows(lambda: pa.ipc.open_stream(stream).read_all()["n"].to_pylist())
    by_polars = rows(lambda: polars.read_ipc_stream(io.BytesIO(stream))["n"].to_list())
    print(f"vtable {name} the parent: pyarrow {by_pyarrow}, polars {by_polars}")
PYTHON

seen=$(environment/bin/python vtable.py)
printf '%s\n' "$seen"
expected='vtable after the parent: pyarrow [1, 2], polars [1, 2]
vtable before the parent: pyarrow [1, 2], polars InvalidOffset'
if [ "$seen" != "$expected" ]; then
  echo "this finding does not hold any more" >&2
  exit 1
fi
