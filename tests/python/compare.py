"""Compares Arrow data that was fetched with what was served, by pyarrow: schema, metadata, dictionaries, values.

    python compare.py < PAIRS

PAIRS is a JSON list of {"name", "want", "got"}: paths of an Arrow stream or file each. Prints a JSON list with one
object a pair: {"name", "equal", "reason", "batches", "rows", "bytes"}. "bytes" says whether metadata and body of each
message are the same byte for byte: "identical", "reordered" (dictionaries in another order), or "other".
"""

import json
import sys

import pyarrow as pa
from pyarrow import ipc


class Different(Exception):
    """Says where two things differ."""


def read(path):
    """Schema, (batch, custom metadata) pairs, and whether the reader shows a dictionary with all later deltas.

    A file's reader does that, because a file lets all dictionaries be read first; a stream's reader cannot.
    """
    with open(path, "rb") as file:
        is_file = file.read(6) == b"ARROW1"
    if is_file:
        reader = ipc.open_file(path)
        pairs = [reader.get_batch_with_custom_metadata(i) for i in range(reader.num_record_batches)]
    else:
        reader = ipc.open_stream(path)
        pairs = list(reader.iter_batches_with_custom_metadata())
    return reader.schema, pairs, is_file and reader.stats.num_dictionary_deltas > 0


def raw_messages(path):
    """(metadata, body) of every message; of a file the order is that of its footer's reader: dictionaries first."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:6] == b"ARROW1":
        data = data[8:]
    messages = []
    for message in ipc.MessageReader.open_stream(pa.py_buffer(data)):
        metadata = message.metadata.to_pybytes()
        messages.append((message.type, metadata.rstrip(b"\0"), message.body.to_pybytes() if message.body else b""))
    return messages


def same(where, want, got, growing=False):
    """Raises Different unless two arrays hold the same type, validity and values, floats compared bit by bit.

    Where `growing`, a dictionary may lack values at its end: those of later deltas.
    """
    if want.type != got.type:
        raise Different(f"{where}: type {want.type} became {got.type}")
    if len(want) != len(got):
        raise Different(f"{where}: {len(want)} values became {len(got)}")
    kind = want.type
    if isinstance(kind, pa.BaseExtensionType):
        return same(where, want.storage, got.storage, growing)
    if pa.types.is_dictionary(kind):
        same(f"{where} indices", want.indices, got.indices)
        values = want.dictionary
        if growing and len(got.dictionary) < len(values):
            values = values.slice(0, len(got.dictionary))
        return same(f"{where} dictionary", values, got.dictionary, growing)
    if pa.types.is_run_end_encoded(kind):
        same(f"{where} run ends", want.run_ends, got.run_ends)
        return same(f"{where} values", want.values, got.values, growing)
    if pa.types.is_union(kind):
        # pyarrow crashes on the codes of a union without rows, whose buffers may be absent.
        if len(want) > 0 and want.type_codes != got.type_codes:
            raise Different(f"{where}: other type codes")
        if len(want) > 0 and kind.mode == "dense" and want.offsets != got.offsets:
            raise Different(f"{where}: other offsets")
        for index in range(kind.num_fields):
            same(f"{where} child {index}", want.field(index), got.field(index), growing)
        return None
    if want.is_null() != got.is_null():
        raise Different(f"{where}: other nulls")
    if pa.types.is_struct(kind):
        for index in range(kind.num_fields):
            same(f"{where}.{kind.field(index).name}", want.field(index), got.field(index), growing)
        return None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        if want.offsets != got.offsets:
            raise Different(f"{where}: other offsets")
        return same(f"{where} items", want.values, got.values, growing)
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        if want.offsets != got.offsets or want.sizes != got.sizes:
            raise Different(f"{where}: other offsets or sizes")
        return same(f"{where} items", want.values, got.values, growing)
    if pa.types.is_fixed_size_list(kind):
        return same(f"{where} items", want.values, got.values, growing)
    if pa.types.is_floating(kind):
        bits = {16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}[kind.bit_width]
        want, got = want.view(bits), got.view(bits)
    if not want.equals(got):
        raise Different(f"{where}: other values, first {first_difference(want, got)}")
    return None


def first_difference(want, got):
    for index in range(len(want)):
        if not want[index].equals(got[index]):
            return f"at {index}: {str(want[index])[:80]!r} became {str(got[index])[:80]!r}"
    return "unknown"


def same_batch(where, want, got, growing):
    """Compares two batches column by column; a column that Python has no class for is compared by C++."""
    if want.num_rows != got.num_rows:
        raise Different(f"{where}: {want.num_rows} rows became {got.num_rows}")
    if not want.schema.equals(got.schema, check_metadata=True):
        raise Different(f"{where}: other schema")
    for index in range(want.num_columns):
        try:
            columns = want.column(index), got.column(index)
        except KeyError:
            if not want.select([index]).equals(got.select([index]), check_metadata=True):
                raise Different(f"{where}, column {index} ({want.schema.field(index).type}): other values") from None
            continue
        same(f"{where}, column {index} ({want.schema.field(index).name!r})", *columns, growing)


def plain(metadata):
    return None if metadata is None else sorted(dict(metadata).items())


def compare(want_path, got_path):
    """Raises Different if the two differ; returns batches, rows and how the bytes compare."""
    want_schema, want, growing = read(want_path)
    got_schema, got, _ = read(got_path)
    if not want_schema.equals(got_schema, check_metadata=True):
        raise Different(f"schema: expected {want_schema}, found {got_schema}")
    if len(want) != len(got):
        raise Different(f"{len(want)} batches became {len(got)}")
    for number, (expected, found) in enumerate(zip(want, got)):
        where = f"batch {number}"
        if plain(expected.custom_metadata) != plain(found.custom_metadata):
            raise Different(f"{where}: custom metadata {expected.custom_metadata} became {found.custom_metadata}")
        # With the last batch all deltas have come.
        same_batch(where, expected.batch, found.batch, growing and number < len(want) - 1)
    rows = sum(pair.batch.num_rows for pair in want)
    # The schema is left out: a file may hold none but that of its footer.
    messages, found = raw_messages(want_path)[1:], raw_messages(got_path)[1:]
    same_bytes = "identical" if messages == found else "reordered" if sorted(messages) == sorted(found) else "other"
    return len(want), rows, same_bytes


def main():
    results = []
    for pair in json.load(sys.stdin):
        result = {"name": pair["name"], "equal": False, "reason": "", "batches": 0, "rows": 0, "bytes": "other"}
        try:
            batches, rows, same_bytes = compare(pair["want"], pair["got"])
            result.update(equal=True, batches=batches, rows=rows, bytes=same_bytes)
        except Different as difference:
            result["reason"] = str(difference)
        except Exception as error:  # The file could not be read: that is the result, not a failure of this program.
            result["reason"] = f"{type(error).__name__}: {error}"
        results.append(result)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
