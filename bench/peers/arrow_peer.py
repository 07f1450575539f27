"""The other side of each comparison: pyarrow Flight, and a pyarrow IPC stream over a Unix socket.

Started by the benchmark as `arrow_peer.py flight-server|flight-client|ipc-server|ipc-client|c-data|adbc`. Reads one JSON command a
line from standard input and answers each with one JSON line on standard output. Times are taken here, beside the calls
they belong to, so that the control channel never counts.
"""

import json
import os
import socket
import sys
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.flight as flight


def make_batches(spec):
    """The same columns and values as bench/data.ts: row numbers, so that every value can be checked."""
    rows, count, columns = spec["rows"], spec["batches"], spec["columns"]
    schema = pa.schema([pa.field(f"c{i}", pa.int64() if i < (columns + 1) // 2 else pa.float64(), nullable=False)
                        for i in range(columns)])
    factors = [1, 3, 0.5, -1.0]
    batches = []
    for b in range(count):
        index = np.arange(b * rows, (b + 1) * rows, dtype=np.int64)
        arrays = [pa.array(index * int(factors[i]) if pa.types.is_int64(f.type) else index * factors[i], type=f.type)
                  for i, f in enumerate(schema)]
        batches.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
    return schema, batches


class FlightServer(flight.FlightServerBase):
    def __init__(self):
        super().__init__("grpc+tcp://127.0.0.1:0")
        self.datasets = {}

    def get_flight_info(self, context, descriptor):
        endpoint = flight.FlightEndpoint(descriptor.path[0], [])
        return flight.FlightInfo(pa.schema([]), descriptor, [endpoint], -1, -1)

    def do_get(self, context, ticket):
        return self.datasets[ticket.ticket.decode()]()


def resident(schema, batches):
    # A RecordBatchReader is driven from C++ without the interpreter: faster than a Python generator.
    return lambda: flight.RecordBatchStream(pa.RecordBatchReader.from_batches(schema, batches))


def mapped_file(path):
    def start():
        reader = pa.ipc.open_file(pa.memory_map(path))
        batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
        return flight.RecordBatchStream(pa.RecordBatchReader.from_batches(reader.schema, batches))
    return start


def parquet_file(path):
    import pyarrow.parquet as pq

    def start():
        file = pq.ParquetFile(path, memory_map=True)
        batches = file.iter_batches(batch_size=65536)
        return flight.RecordBatchStream(pa.RecordBatchReader.from_batches(file.schema_arrow, batches))
    return start


def duckdb_query(setup, sql):
    import duckdb

    database = duckdb.connect()
    database.execute(setup)

    def start():
        return flight.RecordBatchStream(database.cursor().sql(sql).to_arrow_reader(65536))
    return start


def flight_server():
    server = FlightServer()
    threading.Thread(target=server.serve, daemon=True).start()

    def handle(command):
        do = command["do"]
        if do == "serve":
            server.datasets.clear()
            for spec in command["datasets"]:
                if spec["kind"] == "memory":
                    source = resident(*make_batches(spec))
                elif spec["kind"] == "duckdb":
                    source = duckdb_query(spec["setup"], spec["sql"])
                elif spec["kind"] == "file":
                    source = mapped_file(spec["path"])
                else:
                    source = parquet_file(spec["path"])
                server.datasets[spec["name"]] = source
            return {"port": server.port}
        if do == "write-file":
            schema, batches = make_batches(command)
            with pa.OSFile(command["path"], "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
                for batch in batches:
                    writer.write_batch(batch)
            return {}
        raise ValueError(f"unknown command {do}")
    return handle


def first_batches(port, ticket, count, opened):
    samples = []
    for _ in range(count):
        start = time.perf_counter()
        client = opened or flight.FlightClient(f"grpc+tcp://127.0.0.1:{port}")
        reader = client.do_get(flight.Ticket(ticket))
        reader.read_chunk().data
        samples.append((time.perf_counter() - start) * 1000)
        reader.read_all()
        if opened is None:
            client.close()
    return samples


def small_queries(client, ticket, count):
    start = time.perf_counter()
    rows = 0
    for _ in range(count):
        for batch in client.do_get(flight.Ticket(ticket)).to_reader():
            rows += batch.num_rows
    return {"rows": rows, "seconds": time.perf_counter() - start}


def sum_columns(batches):
    rows = bytes_ = count = checksum = 0
    for batch in batches:
        rows += batch.num_rows
        bytes_ += batch.get_total_buffer_size()
        count += 1
        checksum += sum(pc.sum(column).as_py() for column in batch.columns)
    return {"rows": rows, "bytes": bytes_, "batches": count, "checksum": checksum}


def sum_file(path):
    """Adds up every value of a file that is mapped for that, and only that."""
    reader = pa.ipc.open_file(pa.memory_map(path))
    started = time.time()
    start = time.perf_counter()
    totals = sum_columns(reader.get_batch(i) for i in range(reader.num_record_batches))
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "wholeSeconds": seconds, "started": started, "ended": time.time(), **totals}


def processor_seconds():
    times = os.times()
    return {"seconds": times.user + times.system}


def flight_client():
    clients = {}

    def handle(command):
        if command["do"] == "sum-file":
            return sum_file(command["path"])
        port = command["port"]
        if port not in clients:
            clients[port] = flight.FlightClient(f"grpc+tcp://127.0.0.1:{port}")
        client = clients[port]
        if "path" in command:
            descriptor = flight.FlightDescriptor.for_path(command["path"])
            ticket = client.get_flight_info(descriptor).endpoints[0].ticket.ticket
        else:
            ticket = command["name"].encode()
        if command["do"] == "first-batch":
            opened = None if command["isCold"] else client
            return {"samples": first_batches(port, ticket, command["count"], opened)}
        if command["do"] == "small-query":
            return small_queries(client, ticket, command["count"])
        asked = time.time()
        begin = time.perf_counter()
        reader = client.do_get(flight.Ticket(ticket))
        schema = reader.schema
        started = time.time()
        start = time.perf_counter()
        rows = bytes_ = batches = checksum = 0
        do = command["do"]
        if do == "read":
            for chunk in reader:
                batch = chunk.data
                rows += batch.num_rows
                bytes_ += batch.get_total_buffer_size()
                batches += 1
        elif do == "sum":
            rows, bytes_, batches, checksum = sum_columns(reader.to_reader()).values()
        elif do == "small":
            # to_reader() hands out batches without a chunk object each: 15 % faster than iterating chunks.
            for batch in reader.to_reader():
                rows += batch.num_rows
                checksum += batch.column(0)[0].as_py()
                batches += 1
            bytes_ = rows * 8
        elif do == "keep":
            table = reader.read_all()
            rows, bytes_, batches = table.num_rows, table.nbytes, table.column(0).num_chunks
        else:
            raise ValueError(f"unknown command {do}")
        end = time.perf_counter()
        return {"seconds": end - start, "wholeSeconds": end - begin, "asked": asked, "started": started,
                "ended": time.time(), "rows": rows, "bytes": bytes_, "batches": batches, "checksum": checksum,
                "columns": len(schema)}
    return handle


class SocketSink:
    """Only what pyarrow calls, straight to the socket: no Python buffering between."""
    closed = False

    def __init__(self, connection):
        self.connection = connection

    def write(self, data):
        self.connection.sendall(data)
        return len(data)

    def flush(self):
        pass

    def writable(self):
        return True

    def readable(self):
        return False

    def seekable(self):
        return False

    def close(self):
        self.closed = True


class SocketSource:
    """Reads whole buffers with one call; the bytes object it returns is used by pyarrow in place."""
    closed = False

    def __init__(self, connection):
        self.connection = connection

    def read(self, size=-1):
        return self.connection.recv(size, socket.MSG_WAITALL)

    def readable(self):
        return True

    def writable(self):
        return False

    def seekable(self):
        return False

    def close(self):
        self.closed = True


def ipc_server():
    state = {}

    def accept(listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            schema, batches = state["data"]
            with connection, pa.ipc.new_stream(SocketSink(connection), schema) as writer:
                for batch in batches:
                    writer.write_batch(batch)

    def handle(command):
        if command["do"] != "serve":
            raise ValueError(f"unknown command {command['do']}")
        state["data"] = make_batches(command["datasets"][0])
        path = command["socket"]
        if state.get("path") != path:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(path)
            listener.listen()
            state["path"] = path
            threading.Thread(target=accept, args=(listener,), daemon=True).start()
        return {"socket": path}
    return handle


def ipc_client():
    def handle(command):
        if command["do"] != "read":
            raise ValueError(f"unknown command {command['do']}")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            begin = time.perf_counter()
            connection.connect(command["socket"])
            reader = pa.ipc.open_stream(pa.PythonFile(SocketSource(connection), mode="r"))
            schema = reader.schema
            start = time.perf_counter()
            rows = bytes_ = batches = 0
            for batch in reader:
                rows += batch.num_rows
                bytes_ += batch.get_total_buffer_size()
                batches += 1
            end = time.perf_counter()
        return {"seconds": end - start, "wholeSeconds": end - begin, "rows": rows, "bytes": bytes_,
                "batches": batches, "checksum": 0, "columns": len(schema)}
    return handle


def c_data():
    """pyarrow's side of the results of the C data interface; the producer and consumer are the C library that ours has."""
    import ctypes

    rows = 65536
    numbers = pa.array(range(rows), pa.int64())
    texts = pa.array([f"value {i}" for i in range(rows)])
    batch = pa.record_batch([numbers, texts] * 5, names=[f"c{i}" for i in range(10)])
    schema = batch.schema
    c_data.structs = structs = ctypes.create_string_buffer(160)  # kept as long as the process lives
    source = ctypes.addressof(structs)
    target = source + 80
    batch._export_to_c(source)

    def timed(count, call):
        start = time.perf_counter()
        for _ in range(count):
            call()
        return time.perf_counter() - start

    def handle(command):
        library = ctypes.CDLL(command["library"])
        count = command["count"]
        for name, pointers in (("bench_produce", 2), ("bench_release", 1), ("bench_nothing", 1)):
            getattr(library, name).argtypes = [ctypes.c_void_p] * pointers
        # What ctypes itself costs does not count.
        if command["do"] == "import":
            def call():
                library.bench_produce(source, target)
                pa.RecordBatch._import_from_c(target, schema).column(2)[7].as_py()
            own = timed(count, lambda: library.bench_produce(source, target))
        elif command["do"] == "export":
            def call():
                batch._export_to_c(target)
                library.bench_release(target)
            own = timed(count, lambda: library.bench_nothing(target))
        else:
            raise ValueError(f"unknown command {command['do']}")
        return {"rate": count / (timed(count, call) - own)}
    return handle


def adbc():
    """Reads queries by the driver manager of Python."""
    from adbc_driver_manager import dbapi

    connections = {}

    def handle(command):
        key = command["uri"]
        if key not in connections:
            connections[key] = dbapi.connect(driver=command["driver"], db_kwargs={"uri": command["uri"]}, autocommit=True)
        with connections[key].cursor() as cursor:
            start = time.perf_counter()
            if command["do"] == "small":  # executed as one prepared statement
                rows = 0
                for i in range(command["count"]):
                    cursor.execute(command["sql"], (i % 4 + 1,))
                    rows += len(cursor.fetchall())
            else:
                cursor.execute(command["sql"])
                rows = sum(batch.num_rows for batch in cursor.fetch_record_batch())
            return {"seconds": time.perf_counter() - start, "rows": rows}
    return handle


ROLES = {"flight-server": flight_server, "flight-client": flight_client, "ipc-server": ipc_server,
         "ipc-client": ipc_client, "c-data": c_data, "adbc": adbc}


def main():
    handle = ROLES[sys.argv[1]]()
    print(json.dumps({"ready": True, "pid": os.getpid(), "pyarrow": pa.__version__,
                      "python": sys.version.split()[0]}), flush=True)
    for line in sys.stdin:
        try:
            command = json.loads(line)
            answer = processor_seconds() if command["do"] == "cpu" else handle(command)
        except Exception as error:  # the harness reports it and stops the case
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    os._exit(0)


main()
