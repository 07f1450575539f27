"""Makes a big-endian Arrow stream and file from little-endian batches that pyarrow wrote.

pyarrow reads big-endian data (it swaps while reading) but always writes in the order of the machine. Here the schema
message is written anew by hand, with the field `endianness` set, and the buffers of each body are swapped.
"""

import io
import random
import struct

import numpy as np
import pyarrow as pa
from pyarrow import ipc


class Table:
    """A flatbuffer table: (slot, kind, value) with kind one of the struct codes, or "ref" for a reference."""

    def __init__(self, *fields):
        self.fields = fields


class Structs:
    """A vector of structs, given as packed bytes."""

    def __init__(self, count, data):
        self.count = count
        self.data = data


def flatbuffer(root):
    """Serialises tables, strings, vectors of structs and lists of tables, parents before children, so that all references point forward."""
    out = bytearray(4)
    pending = [(0, root)]
    while pending:
        position, value = pending.pop(0)
        if isinstance(value, Table):
            pad(out, 4)
            target = write_table(out, value, pending)
        elif isinstance(value, str):
            pad(out, 4)
            target = len(out)
            data = value.encode()
            out += struct.pack("<I", len(data)) + data + b"\0"
        elif isinstance(value, Structs):
            # The count stands in the 4 bytes before the first struct, which is aligned to 8.
            pad(out, 8)
            out += bytes(4)
            target = len(out)
            out += struct.pack("<I", value.count) + value.data
        else:
            pad(out, 4)
            target = len(out)
            out += struct.pack("<I", len(value))
            for item in value:
                pending.append((len(out), item))
                out += bytes(4)
        struct.pack_into("<I", out, position, target - position)
    pad(out, 8)
    return bytes(out)


def pad(out, alignment):
    out += bytes(-len(out) % alignment)


def write_table(out, table, pending):
    slots = max((slot for slot, _, _ in table.fields), default=-1) + 1
    offsets = {}
    size = 4
    for slot, kind, _ in table.fields:
        width = 4 if kind == "ref" else struct.calcsize("<" + kind)
        size += -size % width
        offsets[slot] = size
        size += width
    vtable = struct.pack("<HH", 4 + 2 * slots, size)
    vtable += b"".join(struct.pack("<H", offsets.get(slot, 0)) for slot in range(slots))
    # The table itself starts at a multiple of 8, so that its 64-bit fields are aligned if their offset is.
    out += bytes(-(len(out) + len(vtable)) % 8)
    start = len(out) + len(vtable)
    out += vtable
    body = bytearray(size)
    struct.pack_into("<i", body, 0, len(vtable))
    out += body
    for slot, kind, value in table.fields:
        if kind == "ref":
            pending.append((start + offsets[slot], value))
        else:
            struct.pack_into("<" + kind, out, start + offsets[slot], value)
    return start


# Numbers of the union `Type` and of the enums in Arrow's Schema.fbs.
INT, FLOATING_POINT, BINARY, UTF8, BOOL, TIMESTAMP, LIST, STRUCT, FIXED_SIZE_BINARY = 2, 3, 4, 5, 6, 10, 12, 13, 15
LARGE_UTF8 = 20


def type_of(data_type):
    if pa.types.is_integer(data_type):
        signed = 1 if pa.types.is_signed_integer(data_type) else 0
        return INT, Table((0, "i", data_type.bit_width), (1, "B", signed))
    if pa.types.is_floating(data_type):
        return FLOATING_POINT, Table((0, "h", {16: 0, 32: 1, 64: 2}[data_type.bit_width]))
    if pa.types.is_boolean(data_type):
        return BOOL, Table()
    if pa.types.is_string(data_type):
        return UTF8, Table()
    if pa.types.is_large_string(data_type):
        return LARGE_UTF8, Table()
    if pa.types.is_binary(data_type):
        return BINARY, Table()
    if pa.types.is_timestamp(data_type):
        return TIMESTAMP, Table((0, "h", {"s": 0, "ms": 1, "us": 2, "ns": 3}[data_type.unit]))
    if pa.types.is_list(data_type):
        return LIST, Table()
    if pa.types.is_struct(data_type):
        return STRUCT, Table()
    raise TypeError(f"no big-endian writer for {data_type}")


def field_of(field):
    number, data_type = type_of(field.type)
    children = [field_of(field.type.field(i)) for i in range(field.type.num_fields)]
    return Table(
        (0, "ref", field.name),
        (1, "B", 1 if field.nullable else 0),
        (2, "B", number),
        (3, "ref", data_type),
        (5, "ref", children),
    )


def schema_table(schema):
    """The Schema table, big-endian."""
    return Table((0, "h", 1), (1, "ref", [field_of(field) for field in schema]))


def schema_message(schema):
    """The Schema message: version V5, header type 1 (schema), no body."""
    return flatbuffer(Table((0, "h", 4), (1, "B", 1), (2, "ref", schema_table(schema)), (3, "q", 0)))


def widths(data_type):
    """Bytes of the number in each buffer of a column of this type, 1 if there is nothing to swap."""
    if pa.types.is_boolean(data_type):
        return [1, 1]
    if pa.types.is_string(data_type) or pa.types.is_binary(data_type):
        return [1, 4, 1]
    if pa.types.is_large_string(data_type):
        return [1, 8, 1]
    if pa.types.is_list(data_type):
        return [1, 4] + widths(data_type.value_type)
    if pa.types.is_struct(data_type):
        return [1] + [width for i in range(data_type.num_fields) for width in widths(data_type.field(i).type)]
    return [1, data_type.bit_width // 8]


def swapped(message, schema):
    """The body of a record batch message with each number turned round. Padding is unchanged."""
    body = bytearray(message.body.to_pybytes())
    regions = buffer_regions(message.metadata.to_pybytes())
    all_widths = [width for field in schema for width in widths(field.type)]
    assert len(regions) == len(all_widths), "one width for each buffer"
    for (offset, length), width in zip(regions, all_widths):
        if width > 1:
            data = np.frombuffer(bytes(body[offset : offset + length]), f"<u{width}")
            body[offset : offset + length] = data.astype(f">u{width}").tobytes()
    return bytes(body)


def buffer_regions(metadata):
    """Offset and length of each buffer, read from a RecordBatch message."""

    def field(table, slot):
        vtable = table - struct.unpack_from("<i", metadata, table)[0]
        size = struct.unpack_from("<H", metadata, vtable)[0]
        offset = struct.unpack_from("<H", metadata, vtable + 4 + 2 * slot)[0] if 4 + 2 * slot < size else 0
        return table + offset if offset else None

    def follow(position):
        return position + struct.unpack_from("<I", metadata, position)[0]

    header = follow(field(follow(0), 2))
    vector = follow(field(header, 2))
    count = struct.unpack_from("<I", metadata, vector)[0]
    return [struct.unpack_from("<qq", metadata, vector + 4 + 16 * i) for i in range(count)]


def framed(metadata, body=b""):
    """One message of an IPC stream: continuation marker, length, metadata padded to 8, body."""
    metadata += bytes(-(len(metadata) + 8) % 8)
    return struct.pack("<II", 0xFFFFFFFF, len(metadata)) + metadata + body


def file_around(schema, frames, messages, end):
    """An Arrow file: magic, the frames of the stream, then a footer that points at each batch."""
    out = b"ARROW1\0\0" + frames[0]
    blocks = b""
    for frame, message in zip(frames[1:], messages):
        body = message.body.size
        blocks += struct.pack("<qiiq", len(out), len(frame) - body, 0, body)
        out += frame
    batches = Structs(len(messages), blocks)
    footer = flatbuffer(Table((0, "h", 4), (1, "ref", schema_table(schema)), (3, "ref", batches)))
    return out + end + footer + struct.pack("<i", len(footer)) + b"ARROW1"


def example(rng):
    count = 50
    numbers = [rng.randrange(-(2**31), 2**31) for _ in range(count)]
    columns = {
        "i8": pa.array([number % 100 for number in numbers], pa.int8()),
        "i16": pa.array([number % 30000 for number in numbers], pa.int16()),
        "i32": pa.array([None if number % 5 == 0 else number for number in numbers], pa.int32()),
        "i64": pa.array([number * 3_000_000_000 for number in numbers], pa.int64()),
        "u16": pa.array([number % 60000 for number in numbers], pa.uint16()),
        "f32": pa.array([number / 7 for number in numbers], pa.float32()),
        "f64": pa.array([number / 7 for number in numbers], pa.float64()),
        "b": pa.array([number % 3 == 0 for number in numbers]),
        "t": pa.array([None if number % 4 == 0 else str(number) for number in numbers]),
        "lt": pa.array([str(number) for number in numbers], pa.large_string()),
        "ts": pa.array(numbers, pa.timestamp("us")),
        "l": pa.array([[number, None] for number in numbers], pa.list_(pa.int32())),
        "s": pa.array([{"x": number, "y": str(number)} for number in numbers]),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def write(folder, seed=1):
    """Writes `big_endian.arrows` and `.arrow` after proving that pyarrow reads it as the batches it was made from."""
    rng = random.Random(seed)
    batches = [example(rng) for _ in range(2)]
    schema = batches[0].schema
    plain = io.BytesIO()
    with ipc.new_stream(plain, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    reader = ipc.MessageReader.open_stream(plain.getvalue())
    messages = list(reader)[1:]
    frames = [framed(schema_message(schema))]
    frames += [framed(message.metadata.to_pybytes(), swapped(message, schema)) for message in messages]
    end = struct.pack("<II", 0xFFFFFFFF, 0)
    stream = b"".join(frames) + end
    file = file_around(schema, frames, messages, end)
    opened = ipc.open_file(file)
    from_file = [opened.get_batch(i) for i in range(opened.num_record_batches)]
    for read_back in (list(ipc.open_stream(stream)), from_file):
        if len(read_back) != len(batches) or not all(got.equals(want) for got, want in zip(read_back, batches)):
            raise AssertionError("pyarrow does not read the big-endian data as the batches it was made from")
    paths = [folder / "big_endian.arrows", folder / "big_endian.arrow"]
    paths[0].write_bytes(stream)
    paths[1].write_bytes(file)
    return {
        "name": "big_endian",
        "covers": "bytes swapped by hand",
        "batches": len(batches),
        "rows": sum(batch.num_rows for batch in batches),
        "files": [str(path) for path in paths],
    }
