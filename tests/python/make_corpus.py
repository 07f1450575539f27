"""Writes a corpus of Arrow data with pyarrow: every type it can write, as IPC stream and IPC file.

    python make_corpus.py FOLDER [--seed N]

Prints one JSON object: the cases with their files, and the types covered. Fails when a type of Arrow is in no case.
"""

import argparse
import decimal
import json
import pathlib
import random
import sys

import numpy as np
import pyarrow as pa
from pyarrow import ipc

import big_endian


# pyarrow knows these types but has no array class for them; the gold case "interval" holds both.
NOT_WRITTEN = ("interval_months", "interval_day_time")


class Case:
    """One dataset: a schema, its batches with their custom metadata, and how to write it."""

    def __init__(self, name, batches, covers, schema=None, options=None, stream_only=False, metadata=None):
        self.name = name
        self.batches = batches
        self.covers = covers
        self.schema = schema if schema is not None else batches[0].schema
        self.options = options or {}
        self.stream_only = stream_only
        self.metadata = metadata or {}


def batch_of(columns, schema=None):
    """A record batch from a mapping of names to arrays."""
    if schema is not None:
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=schema)
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns.keys()))


def nullable(values, rng, rate=0.2):
    """The values with some of them replaced by None."""
    return [None if rng.random() < rate else value for value in values]


def words(rng, count, longest=40):
    letters = "abcdefghijklmnopqrstuvwxyz äöü€😀"
    return ["".join(rng.choice(letters) for _ in range(rng.randrange(longest))) for _ in range(count)]


def primitive_columns(rng, count):
    columns = {}
    for bits in (8, 16, 32, 64):
        low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        signed = [low, high] + [rng.randint(low, high) for _ in range(count - 2)]
        columns[f"int{bits}"] = pa.array(nullable(signed, rng), getattr(pa, f"int{bits}")())
        unsigned = [0, 2 * high + 1] + [rng.randint(0, 2 * high + 1) for _ in range(count - 2)]
        columns[f"uint{bits}"] = pa.array(unsigned, getattr(pa, f"uint{bits}")())
    columns["bool"] = pa.array(nullable([rng.random() < 0.5 for _ in range(count)], rng))
    half = np.frombuffer(rng.randbytes(2 * count), np.float16)
    columns["float16"] = pa.array(half, pa.float16())
    special = [float("nan"), float("inf"), -0.0, 5e-324]
    floats = (special + [rng.gauss(0, 1e10) for _ in range(count)])[:count]
    columns["float32"] = pa.array(nullable(floats, rng), pa.float32())
    columns["float64"] = pa.array(nullable(floats, rng), pa.float64())
    return columns


def temporal_columns(rng, count):
    columns = {
        "date32": pa.array(nullable([rng.randrange(-100000, 100000) for _ in range(count)], rng), pa.date32()),
        "date64": pa.array([rng.randrange(-1000, 1000) * 86_400_000 for _ in range(count)], pa.date64()),
        "time32_s": pa.array([rng.randrange(86_400) for _ in range(count)], pa.time32("s")),
        "time32_ms": pa.array(nullable([rng.randrange(86_400_000) for _ in range(count)], rng), pa.time32("ms")),
        "time64_us": pa.array([rng.randrange(86_400_000_000) for _ in range(count)], pa.time64("us")),
        "time64_ns": pa.array([rng.randrange(86_400_000_000_000) for _ in range(count)], pa.time64("ns")),
    }
    for unit in ("s", "ms", "us", "ns"):
        ticks = [rng.randrange(-(2**40), 2**40) for _ in range(count)]
        columns[f"timestamp_{unit}"] = pa.array(nullable(ticks, rng), pa.timestamp(unit))
        columns[f"timestamp_{unit}_utc"] = pa.array(ticks, pa.timestamp(unit, tz="UTC"))
        columns[f"timestamp_{unit}_zone"] = pa.array(ticks, pa.timestamp(unit, tz="America/New_York"))
        columns[f"timestamp_{unit}_offset"] = pa.array(ticks, pa.timestamp(unit, tz="+05:30"))
        columns[f"duration_{unit}"] = pa.array(nullable(ticks, rng), pa.duration(unit))
    months = [(rng.randrange(-100, 100), rng.randrange(-40, 40), rng.randrange(-(2**60), 2**60)) for _ in range(count)]
    columns["month_day_nano"] = pa.array(nullable(months, rng), pa.month_day_nano_interval())
    return columns


def decimal_columns(rng, count):
    columns = {}
    for bits, precision, scale in ((32, 9, 2), (64, 18, 0), (128, 38, 10), (128, 5, -3), (256, 76, 38)):
        data_type = getattr(pa, f"decimal{bits}")(precision, scale)
        with decimal.localcontext() as context:
            context.prec = 80
            top = 10**precision - 1
            numbers = [-top, top] + [rng.randint(-top, top) for _ in range(count - 2)]
            values = [decimal.Decimal(number).scaleb(-scale) for number in numbers]
            name = f"decimal{bits}_{precision}_{scale}".replace("-", "m")
            columns[name] = pa.array(nullable(values, rng), data_type)
    return columns


def binary_columns(rng, count):
    texts = nullable(words(rng, count), rng)
    blobs = [None if text is None else text.encode() for text in texts]
    return {
        "utf8": pa.array(texts, pa.string()),
        "large_utf8": pa.array(texts, pa.large_string()),
        "binary": pa.array(blobs, pa.binary()),
        "large_binary": pa.array(blobs, pa.large_binary()),
        "fixed_5": pa.array(nullable([rng.randbytes(5) for _ in range(count)], rng), pa.binary(5)),
        "fixed_0": pa.array([b""] * count, pa.binary(0)),
    }


def view_columns(rng, count):
    texts = nullable(words(rng, count, 60), rng)
    short = nullable([text[:5] for text in words(rng, count)], rng)
    return {
        "string_view": pa.array(texts, pa.string_view()),
        "string_view_inline": pa.array(short, pa.string_view()),
        "binary_view": pa.array([None if text is None else text.encode() for text in texts], pa.binary_view()),
        "string_view_many_buffers": pa.concat_arrays(
            [pa.array(words(rng, count, 60), pa.string_view()) for _ in range(3)]
        ).slice(count, count),
    }


def list_columns(rng, count):
    numbers = nullable([nullable(range(rng.randrange(6)), rng) for _ in range(count)], rng)
    texts = nullable([words(rng, rng.randrange(4)) for _ in range(count)], rng)
    pairs = nullable([[1.5 * i, None] for i in range(count)], rng)
    entries = nullable([[(word, len(word)) for word in words(rng, rng.randrange(4))] for _ in range(count)], rng)
    structs = [None if i % 5 == 0 else {"a": i, "b": {"c": str(i)}} for i in range(count)]
    struct_type = pa.struct([("a", pa.int16()), ("b", pa.struct([("c", pa.string())]))])
    return {
        "list": pa.array(numbers, pa.list_(pa.int32())),
        "list_of_text": pa.array(texts, pa.list_(pa.string())),
        "large_list": pa.array(numbers, pa.large_list(pa.int64())),
        "list_of_list": pa.array([[row] for row in numbers], pa.list_(pa.list_(pa.int8()))),
        "fixed_size_list": pa.array(pairs, pa.list_(pa.float64(), 2)),
        "fixed_size_list_of_text": pa.array([["x", None, "zz"]] * count, pa.list_(pa.string(), 3)),
        "map": pa.array(entries, pa.map_(pa.string(), pa.int32())),
        "map_sorted": pa.array(entries, pa.map_(pa.string(), pa.int64(), keys_sorted=True)),
        "struct": pa.array(structs, struct_type),
        "struct_without_fields": pa.array([{}] * count, pa.struct([])),
    }


def list_view_columns(rng, count):
    offsets = pa.array([rng.randrange(20) for _ in range(count)], pa.int32())
    sizes = pa.array([rng.randrange(5) for _ in range(count)], pa.int32())
    values = pa.array(nullable(range(30), rng), pa.int16())
    texts = pa.array(words(rng, 30), pa.string_view())
    return {
        "list_view": pa.ListViewArray.from_arrays(offsets, sizes, values),
        "list_view_of_views": pa.ListViewArray.from_arrays(offsets, sizes, texts),
        "large_list_view": pa.LargeListViewArray.from_arrays(
            offsets.cast(pa.int64()), sizes.cast(pa.int64()), values
        ),
        "list_view_nulls": pa.array(nullable([[i, i + 1] for i in range(count)], rng), pa.list_view(pa.int64())),
    }


def run_end_columns(rng, count):
    columns = {}
    for bits in (16, 32, 64):
        ends = sorted(rng.sample(range(1, count), 4)) + [count]
        values = pa.array(["a", None, "bb", "", "c"], pa.string())
        columns[f"run_ends_{bits}"] = pa.RunEndEncodedArray.from_arrays(
            pa.array(ends, getattr(pa, f"int{bits}")()), values
        )
    ends = pa.array([count // 2, count], pa.int32())
    columns["run_ends_of_structs"] = pa.RunEndEncodedArray.from_arrays(ends, pa.array([{"a": 1}, {"a": None}]))
    columns["list_of_run_ends"] = pa.ListArray.from_arrays(
        pa.array(range(count + 1), pa.int32()), columns["run_ends_32"]
    )
    return columns


def union_columns(rng, count):
    types = pa.array([rng.randrange(3) for _ in range(count)], pa.int8())
    children = [
        pa.array(nullable(range(count), rng), pa.int32()),
        pa.array(nullable(words(rng, count), rng), pa.string()),
        pa.array([[i] for i in range(count)], pa.list_(pa.float32())),
    ]
    counters = [0, 0, 0]
    offsets = []
    for code in types.to_pylist():
        offsets.append(counters[code])
        counters[code] += 1
    codes = pa.array([(5, 7, 9)[code] for code in types.to_pylist()], pa.int8())
    return {
        "sparse": pa.UnionArray.from_sparse(types, children),
        "sparse_codes": pa.UnionArray.from_sparse(codes, children, ["i", "s", "l"], [5, 7, 9]),
        "dense": pa.UnionArray.from_dense(types, pa.array(offsets, pa.int32()), children),
        "dense_codes": pa.UnionArray.from_dense(
            codes, pa.array(offsets, pa.int32()), children, ["i", "s", "l"], [5, 7, 9]
        ),
    }


def dictionary_columns(rng, count):
    columns = {}
    texts = pa.array(["red", "green", None, "blue"])
    for bits in (8, 16, 32, 64):
        for sign in ("int", "uint"):
            indices = pa.array(nullable([rng.randrange(4) for _ in range(count)], rng), getattr(pa, f"{sign}{bits}")())
            columns[f"{sign}{bits}"] = pa.DictionaryArray.from_arrays(indices, texts)
    indices = pa.array([rng.randrange(3) for _ in range(count)], pa.int16())
    columns["ordered"] = pa.DictionaryArray.from_arrays(indices, pa.array([1.5, 2.5, 3.5]), ordered=True)
    columns["of_lists"] = pa.DictionaryArray.from_arrays(indices, pa.array([[1], [], [2, None]]))
    columns["of_views"] = pa.DictionaryArray.from_arrays(indices, pa.array(["a" * 40, "b", "c"], pa.string_view()))
    columns["empty_values"] = pa.DictionaryArray.from_arrays(
        pa.array([None] * count, pa.int8()), pa.array([], pa.string())
    )
    return columns


def nested_dictionary_columns(rng, count):
    inner = pa.DictionaryArray.from_arrays(pa.array([0, 1, 1, 0, 2], pa.int8()), pa.array(["x", "y", "zz"]))
    lists = pa.ListArray.from_arrays(pa.array([0, 2, 3, 5], pa.int32()), inner)
    indices = pa.array(nullable([rng.randrange(3) for _ in range(count)], rng), pa.int32())
    struct = pa.StructArray.from_arrays([inner, pa.array(range(5))], ["d", "n"])
    repeated = pa.array([rng.randrange(5) for _ in range(count)])
    return {
        "dictionary_of_lists_of_dictionaries": pa.DictionaryArray.from_arrays(indices, lists),
        "struct_with_dictionary": struct.take(repeated),
        "list_of_dictionaries": lists.take(pa.array([i % 3 for i in range(count)])),
        "dictionary_of_structs_with_dictionary": pa.DictionaryArray.from_arrays(indices, struct.slice(0, 3)),
    }


def extension_columns(rng, count):
    uuids = pa.array([rng.randbytes(16) for _ in range(count)], pa.binary(16))
    tensor = pa.fixed_shape_tensor(pa.int32(), [2, 2])
    return {
        "uuid": pa.ExtensionArray.from_storage(pa.uuid(), uuids),
        "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}'] * count)),
        "bool8": pa.ExtensionArray.from_storage(pa.bool8(), pa.array([i % 2 for i in range(count)], pa.int8())),
        "opaque": pa.ExtensionArray.from_storage(
            pa.opaque(pa.binary(), "geometry", "somebody"), pa.array([b"abc"] * count)
        ),
        "tensor": pa.ExtensionArray.from_storage(
            tensor, pa.array([[1, 2, 3, 4]] * count, pa.list_(pa.int32(), 4))
        ),
    }


def growing_dictionaries(rng, replace):
    """Batches whose dictionary grows (a delta each), or is another one each time (a replacement each)."""
    batches = []
    values = []
    for number in range(5):
        fresh = [f"value {number} {i}" for i in range(3)]
        values = fresh if replace else values + fresh
        indices = pa.array([rng.randrange(len(values)) for _ in range(20)], pa.int32())
        plain = pa.array(range(20), pa.int64())
        column = pa.DictionaryArray.from_arrays(indices, pa.array(values))
        batches.append(batch_of({"plain": plain, "growing": column}))
    return batches


def cases(seed):
    """All cases of the corpus."""
    rng = random.Random(seed)
    families = {
        "primitive": primitive_columns,
        "temporal": temporal_columns,
        "decimal": decimal_columns,
        "binary": binary_columns,
        "views": view_columns,
        "lists": list_columns,
        "list_views": list_view_columns,
        "run_end_encoded": run_end_columns,
        "unions": union_columns,
        "extension": extension_columns,
    }
    made = []
    for name, family in families.items():
        batches = [batch_of(family(rng, count)) for count in (40, 7, 64)]
        made.append(Case(name, batches, "three batches"))
    for name, family in {"dictionary": dictionary_columns, "nested_dictionary": nested_dictionary_columns}.items():
        made.append(Case(name, [batch_of(family(rng, 40))], "one batch"))
        first = batch_of(family(rng, 40))
        made.append(Case(f"{name}_shared", [first, first.slice(3, 20), first.slice(0, 0)], "one dictionary, 3 batches"))

    everything = {}
    for name, family in families.items():
        everything.update({f"{name}.{key}": column for key, column in family(rng, 33).items()})
    everything["null"] = pa.nulls(33)
    wide = batch_of(everything)
    made.append(Case("everything", [wide], "all types side by side"))
    made.append(Case("everything_sliced", [wide.slice(3, 13), wide.slice(17)], "slices at odd offsets"))
    made.append(Case("everything_zero_rows", [wide.slice(0, 0), wide, wide.slice(33)], "batches of no rows"))
    made.append(Case("everything_no_batches", [], "schema only", schema=wide.schema))
    for codec in ("lz4", "zstd"):
        made.append(Case(f"everything_{codec}", [wide, wide.slice(5, 9)], "compressed", options={"compression": codec}))
        large = batch_of({"n": pa.array(range(50_000)), "t": pa.array([f"row {i % 97}" for i in range(50_000)])})
        made.append(Case(f"large_{codec}", [large] * 3, "compressed, large", options={"compression": codec}))
    made.append(Case("null", [batch_of({"n": pa.nulls(9), "l": pa.array([None] * 9, pa.list_(pa.null()))})], "null type"))
    no_columns = pa.RecordBatch.from_arrays([], schema=pa.schema([]))
    made.append(Case("zero_columns", [no_columns, no_columns], "no columns"))
    made.append(
        Case("zero_columns_with_rows", [pa.RecordBatch.from_struct_array(pa.array([{}] * 5, pa.struct([])))], "rows only")
    )

    growing = growing_dictionaries(rng, False)
    made.append(Case("dictionary_deltas", growing, "deltas", options={"emit_dictionary_deltas": True}))
    replaced = growing_dictionaries(rng, True)
    replacing = {"unify_dictionaries": False}
    made.append(Case("dictionary_replacements", replaced, "replacements", options=replacing, stream_only=True))
    made.append(Case("dictionary_regrown", growing, "replaced by longer ones", options=replacing, stream_only=True))
    compressed = {"emit_dictionary_deltas": True, "compression": "zstd"}
    made.append(Case("dictionary_deltas_zstd", growing, "compressed deltas", options=compressed))

    long = "€" * 1_000_000
    made.append(Case("huge_strings", [batch_of({"s": pa.array([long, None, "", long[:7]])})] * 2, "3 MB in one value"))
    views = pa.array([long, "short", long[:400_000]], pa.string_view())
    made.append(Case("huge_views", [batch_of({"s": views})], "3 MB in one view"))
    numbers = [batch_of({"n": pa.array(range(i, i + 60_000))}) for i in range(0, 600_000, 60_000)]
    made.append(Case("rendezvous", numbers, "bodies above the rendezvous threshold"))
    made.append(Case("many_small", [batch_of({"n": pa.array([i])}) for i in range(2000)], "2000 batches of one row"))
    many = {f"c{i}": pa.array([i, None, i * 2], pa.int16()) for i in range(3000)}
    made.append(Case("many_columns", [batch_of(many)] * 2, "3000 columns"))

    field = pa.field("a", pa.int32(), nullable=False, metadata={b"unit": b"m", b"\xc3\xa9": b"\xe2\x82\xac", b"empty": b""})
    child = pa.field("item", pa.int8(), metadata={b"inner": b"yes"})
    schema = pa.schema([field, pa.field("l", pa.list_(child))], metadata={b"owner": b"somebody", b"large": b"x" * 70_000})
    described = batch_of({"a": pa.array([1, 2], pa.int32()), "l": pa.array([[1], None], pa.list_(child))}, schema)
    custom = {0: {"batch": "first", "é": "€"}, 2: {"batch": "third"}}
    made.append(Case("custom_metadata", [described] * 3, "schema, fields, batches", metadata=custom))
    twice = pa.RecordBatch.from_arrays([pa.array([1]), pa.array(["x"]), pa.array([2.5])], names=["a", "a", ""])
    made.append(Case("duplicate_and_empty_names", [twice], "names"))
    deep = pa.array([1, None, 3])
    for _ in range(25):
        deep = pa.StructArray.from_arrays([deep], ["s"])
    made.append(Case("deep", [batch_of({"deep": deep})], "25 levels"))

    plain = {name: column for name, column in everything.items() if name.split(".")[0] in ("primitive", "lists", "unions")}
    version4 = {"metadata_version": ipc.MetadataVersion.V4}
    without_unions = batch_of({name: column for name, column in plain.items() if not name.startswith("unions")})
    made.append(Case("metadata_v4", [without_unions], "metadata version 4", options=version4))
    made.append(Case("metadata_v4_unions", [batch_of(union_columns(rng, 20))], "version 4 unions", options=version4))
    legacy = {"use_legacy_format": True}
    made.append(Case("legacy_framing", [batch_of(plain)], "framing before 0.15", options=legacy, stream_only=True))
    return made


def write(case, folder):
    """Writes one case as stream and, if possible, as file; returns its entry for the list."""
    options = ipc.IpcWriteOptions(**case.options)
    entry = {
        "name": case.name,
        "covers": case.covers,
        "batches": len(case.batches),
        "rows": sum(batch.num_rows for batch in case.batches),
        "files": [],
    }
    makers = [("arrows", ipc.new_stream)] + ([] if case.stream_only else [("arrow", ipc.new_file)])
    for extension, make in makers:
        path = folder / f"{case.name}.{extension}"
        with make(str(path), case.schema, options=options) as writer:
            for number, batch in enumerate(case.batches):
                writer.write_batch(batch, custom_metadata=case.metadata.get(number))
        stats = writer.stats
        entry["dictionaries"] = stats.num_dictionary_batches
        entry["deltas"] = stats.num_dictionary_deltas
        entry["replacements"] = stats.num_replaced_dictionaries
        entry["files"].append(str(path))
    return entry


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)

    entries = []
    seen = set()

    def visit(data_type):
        seen.add(data_type.id)
        if isinstance(data_type, pa.BaseExtensionType):
            visit(data_type.storage_type)
        elif pa.types.is_dictionary(data_type):
            visit(data_type.value_type)
        elif pa.types.is_run_end_encoded(data_type):
            visit(data_type.run_end_type)
            visit(data_type.value_type)
        else:
            for index in range(data_type.num_fields):
                visit(data_type.field(index).type)

    for case in cases(arguments.seed):
        for field in case.schema:
            visit(field.type)
        entry = write(case, arguments.folder)
        for kind in ("deltas", "replacements"):
            if kind in case.covers and entry[kind] == 0:
                sys.exit(f"case {case.name} should hold {kind} of dictionaries, but pyarrow wrote none")
        entries.append(entry)
    entries.append(big_endian.write(arguments.folder))

    known = {name[5:].lower(): value for name, value in vars(pa.lib).items() if name.startswith("Type_")}
    missing = sorted(name for name, value in known.items() if value not in seen and name not in NOT_WRITTEN)
    if missing:
        sys.exit(f"no case of the corpus holds {', '.join(missing)}: add one to make_corpus.py")
    covered = sorted(name for name, value in known.items() if value in seen)
    print(json.dumps({"cases": entries, "types": covered, "pyarrow": pa.__version__, "seed": arguments.seed}))


if __name__ == "__main__":
    main()
