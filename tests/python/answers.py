"""Says what became of the columns of Arrow streams that a database was given.

    python answers.py < PAIRS

PAIRS is a JSON list of {"want", "got", "anyOrder"}: paths of an Arrow stream each, and whether the rows may be in another order. Prints
a JSON list with one list a pair, of {"want", "got", "values"} for each column: the type that went in, the type that came back, and
whether the values are the "same", "text" that says the same, or "other".
"""

import collections
import datetime
import decimal
import json
import sys
import uuid

import pyarrow as pa
import pyarrow.compute
from pyarrow import ipc


def joined(column):
    """A column as one array of plain values."""
    if pa.types.is_run_end_encoded(column.type):
        column = pa.chunked_array([pa.compute.run_end_decode(chunk) for chunk in column.chunks])
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    array = column.combine_chunks()
    return array.storage if isinstance(array.type, pa.BaseExtensionType) else array


def equal_as(one, other):
    """Whether a cast of one array equals the other one."""
    try:
        return one.cast(other.type).equals(other)
    except (pa.ArrowException, NotImplementedError):
        return False


def plain(value):
    """What has the same meaning becomes the same, and can be counted."""
    if isinstance(value, datetime.timedelta):
        return ("span", value // datetime.timedelta(microseconds=1))
    if isinstance(value, pa.MonthDayNano) and value.months == 0:
        return ("span", value.days * 86_400_000_000 + value.nanoseconds / 1000)
    if isinstance(value, (list, tuple)):
        return tuple(plain(each) for each in value)
    if isinstance(value, dict):
        return tuple((name, plain(each)) for name, each in value.items())
    return value


def parsed(text, like):
    """The value that a text says; `like` is of its kind."""
    if text is None or like is None or isinstance(like, str):
        return text
    try:
        if isinstance(like, decimal.Decimal):
            return decimal.Decimal(text)
        if isinstance(like, bytes):
            return uuid.UUID(text).bytes
        if isinstance(like, datetime.datetime):
            zone = None if like.tzinfo is None else datetime.timezone.utc
            return datetime.datetime.fromisoformat(text).replace(tzinfo=zone)
        return datetime.date.fromisoformat(text)
    except (ValueError, decimal.DecimalException):
        return text


def compare(want, got, any_order):
    is_text = pa.types.is_string(got.type if not isinstance(got.type, pa.BaseExtensionType) else got.type.storage_type)
    want, got = joined(want), joined(got)
    if want.equals(got):
        return "same"
    is_text = is_text and not (pa.types.is_large_string(want.type) or pa.types.is_string_view(want.type))
    same = "text" if is_text else "same"
    if equal_as(want, got) or equal_as(got, want):
        return same
    try:
        values, others = want.to_pylist(), got.to_pylist()
        like = next((value for value in values if value is not None), None)
        if is_text:
            others = [parsed(text, like) for text in others]
        values, others = [plain(value) for value in values], [plain(value) for value in others]
        is_same = values == others or (any_order and collections.Counter(values) == collections.Counter(others))
        return same if is_same else "other"
    except (OverflowError, ValueError, KeyError):
        return "other"


def answer(pair):
    want, got = ipc.open_stream(pair["want"]).read_all(), ipc.open_stream(pair["got"]).read_all()
    columns = []
    for index, (one, other) in enumerate(zip(want.schema, got.schema, strict=True)):
        values = compare(want.column(index), got.column(index), pair["anyOrder"])
        columns.append({"want": str(one.type), "got": str(other.type), "values": values})
    return columns


print(json.dumps([answer(pair) for pair in json.load(sys.stdin)]))
