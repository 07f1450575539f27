"""A Flight client of pyarrow for the tests. Its standard input is JSON: {"location": URI, ...options, "steps": [[name, ...], ...]}.

Prints a list with one {"value": ...} or {"error": class, "message": text} for each step.
"""

import json
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.flight as flight
import pyarrow.ipc as ipc


class Headers(flight.ClientMiddleware):
    def __init__(self, factory):
        self.factory = factory

    def sending_headers(self):
        return dict(self.factory.send)

    def received_headers(self, headers):
        for name, values in headers.items():
            self.factory.received[name.lower()] = list(values)


class HeadersFactory(flight.ClientMiddlewareFactory):
    def __init__(self):
        self.send, self.received = {}, {}

    def start_call(self, info):
        return Headers(self)


class Handshake(flight.ClientAuthHandler):
    def __init__(self, user, password):
        super().__init__()
        self.basic, self.token = flight.BasicAuth(user, password), b""

    def authenticate(self, outgoing, incoming):
        outgoing.write(self.basic.serialize())
        self.token = incoming.read()

    def get_token(self):
        return self.token


class Client:
    def __init__(self, given):
        tls = {}
        if given.get("ca"):
            tls["tls_root_certs"] = given["ca"]
        if given.get("cert"):
            tls.update(cert_chain=given["cert"], private_key=given["key"])
        self.headers = HeadersFactory()
        middleware = [self.headers]
        if given.get("cookies"):
            middleware.append(flight.ClientCookieMiddlewareFactory())
        self.client = flight.FlightClient(given["location"], middleware=middleware, **tls)
        self.send = []
        self.timeout = given.get("timeout", 30)
        if given.get("bearer"):
            self.send.append((b"authorization", b"Bearer " + given["bearer"].encode()))

    @property
    def call(self):
        return flight.FlightCallOptions(timeout=self.timeout, headers=self.send)

    def basic(self, user, password):
        """Asks for a token; the steps after it send it."""
        header = self.client.authenticate_basic_token(user, password, flight.FlightCallOptions(timeout=self.timeout))
        self.send = [header]
        return [part.decode() for part in header]

    def handshake(self, user, password):
        """Authenticates by a handshake; the token that it gives goes with later calls as auth-token-bin."""
        self.client.authenticate(Handshake(user, password), flight.FlightCallOptions(timeout=self.timeout))

    def header(self, name, value):
        self.headers.send[name] = value

    def received(self, name):
        return self.headers.received.get(name)

    @staticmethod
    def descriptor(given):
        if isinstance(given, dict):
            return flight.FlightDescriptor.for_command(given["command"])
        return flight.FlightDescriptor.for_path(*given)

    @staticmethod
    def info(found):
        return {
            "path": [part.decode() for part in found.descriptor.path or []],
            "command": (found.descriptor.command or b"").decode("latin-1"),
            "schema": found.schema.serialize().to_pybytes().hex() if found.schema else None,
            "fields": [str(field) for field in found.schema] if found.schema else None,
            "endpoints": [
                {
                    "ticket": endpoint.ticket.ticket.hex(),
                    "locations": [location.uri.decode() for location in endpoint.locations],
                    "expires": endpoint.expiration_time is not None,
                    "app_metadata": endpoint.app_metadata.decode("latin-1"),
                }
                for endpoint in found.endpoints
            ],
            "rows": found.total_records,
            "bytes": found.total_bytes,
            "ordered": found.ordered,
            "app_metadata": found.app_metadata.decode("latin-1"),
        }

    def list(self, criteria=""):
        return [self.info(found) for found in self.client.list_flights(criteria.encode(), self.call)]

    def flight_info(self, descriptor):
        return self.info(self.client.get_flight_info(self.descriptor(descriptor), self.call))

    def schema(self, descriptor):
        return [str(field) for field in self.client.get_schema(self.descriptor(descriptor), self.call).schema]

    def ticket(self, given):
        """A ticket as hex, or the first one of a flight."""
        if isinstance(given, dict) and "hex" in given:
            return flight.Ticket(bytes.fromhex(given["hex"]))
        found = self.client.get_flight_info(self.descriptor(given), self.call)
        return found.endpoints[0].ticket

    def get(self, of, path=None):
        """Reads a flight to its end: counts, and all app_metadata; the batches go into an Arrow stream if a path is given."""
        reader = self.client.do_get(self.ticket(of), self.call)
        batches, rows, size, metadata = 0, 0, 0, []
        writer = ipc.new_stream(path, reader.schema) if path else None
        for chunk in reader:
            if chunk.app_metadata is not None:
                metadata.append(chunk.app_metadata.to_pybytes().decode("latin-1"))
            if chunk.data is None:
                continue
            batches += 1
            rows += chunk.data.num_rows
            size += chunk.data.nbytes
            if writer:
                writer.write_batch(chunk.data)
        if writer:
            writer.close()
        return {"batches": batches, "rows": rows, "bytes": size, "app_metadata": metadata}

    def get_sum(self, of):
        """Reads a flight of doubles to its end: counts, and the sum of the first column."""
        table = self.client.do_get(self.ticket(of), self.call).read_all()
        column = table.column(0)
        return {
            "rows": table.num_rows,
            "columns": table.num_columns,
            "batches": column.num_chunks,
            "sum": pc.sum(column).as_py(),
        }

    def get_counting(self, of):
        """Reads batches of one int64 column that counts up from 1, its first value being the batch's number."""
        batches, rows, wrong = 0, 0, 0
        for chunk in self.client.do_get(self.ticket(of), self.call):
            values = chunk.data.column(0).to_numpy()
            expected = np.arange(len(values), dtype=np.int64)
            expected[0] = batches
            wrong += int(np.count_nonzero(values != expected))
            batches += 1
            rows += len(values)
        return {"batches": batches, "rows": rows, "wrong": wrong}

    def get_then_cancel(self, of, count):
        """Reads some batches, cancels, and says how the stream ended."""
        reader = self.client.do_get(self.ticket(of), self.call)
        for _ in range(count):
            reader.read_chunk()
        reader.cancel()
        after = 0
        while True:
            try:
                reader.read_chunk()
                after += 1
            except StopIteration:
                return {"end": "stop", "after": after}
            except Exception as error:
                return {"end": type(error).__name__, "after": after}

    def get_slowly(self, of, seconds):
        """Reads one batch, sleeps, and reads the rest."""
        reader = self.client.do_get(self.ticket(of), self.call)
        rows = reader.read_chunk().data.num_rows
        time.sleep(seconds)
        for chunk in reader:
            rows += chunk.data.num_rows
        return {"rows": rows}

    def put(self, descriptor, path, metadata=False):
        """Uploads an Arrow file or stream. With metadata, each batch carries its number, and answers are awaited."""
        with open(path, "rb") as file:
            is_file = file.read(6) == b"ARROW1"
        source = ipc.open_file(path) if is_file else ipc.open_stream(path)
        batches = (source.get_batch(i) for i in range(source.num_record_batches)) if is_file else source
        options = flight.FlightCallOptions(
            timeout=self.timeout, headers=self.send, write_options=ipc.IpcWriteOptions(emit_dictionary_deltas=True)
        )
        writer, answers = self.client.do_put(self.descriptor(descriptor), source.schema, options)
        got = []
        with writer:
            for number, batch in enumerate(batches):
                if metadata:
                    writer.write_with_metadata(batch, str(number).encode())
                    answer = answers.read()
                    got.append(None if answer is None else answer.to_pybytes().decode("latin-1"))
                else:
                    writer.write_batch(batch)
            writer.done_writing()
            while (answer := answers.read()) is not None:
                got.append(answer.to_pybytes().decode("latin-1"))
        return got

    def put_big(self, descriptor, batches, size):
        """Uploads batches of one int64 column."""
        batch = pa.record_batch([pa.array(np.arange(size // 8, dtype=np.int64))], names=["n"])
        writer, answers = self.client.do_put(self.descriptor(descriptor), batch.schema, self.call)
        with writer:
            for _ in range(batches):
                writer.write_batch(batch)
            writer.done_writing()
            while answers.read() is not None:
                pass
        return {"rows": batches * batch.num_rows}

    def exchange(self, command, rows):
        """Sends batches of the given row counts with and without app_metadata, and returns what came back."""
        writer, reader = self.client.do_exchange(flight.FlightDescriptor.for_command(command), self.call)
        got = []

        def next_chunk():
            chunk = reader.read_chunk()
            got.append(
                {
                    "values": None if chunk.data is None else chunk.data.column(0).to_pylist(),
                    "app_metadata": None
                    if chunk.app_metadata is None
                    else chunk.app_metadata.to_pybytes().decode("latin-1"),
                }
            )

        with writer:
            writer.write_metadata(b"before the schema")
            next_chunk()
            writer.begin(pa.schema([("n", pa.int32())]))
            for number, count in enumerate(rows):
                batch = pa.record_batch([pa.array(range(count), pa.int32())], names=["n"])
                if number % 2 == 0:
                    writer.write_batch(batch)
                else:
                    writer.write_with_metadata(batch, f"number {number}".encode())
                next_chunk()
            writer.done_writing()
            try:
                next_chunk()
            except StopIteration:
                pass
        return got

    def action(self, kind, body=""):
        results = self.client.do_action(flight.Action(kind, body.encode("latin-1")), self.call)
        return [result.body.to_pybytes().decode("latin-1") for result in results]

    def actions(self):
        return [action.type for action in self.client.list_actions(self.call)]

    def sleep(self, seconds):
        time.sleep(seconds)


def main():
    given = json.load(sys.stdin)
    client, results = Client(given), []
    for name, *arguments in given["steps"]:
        try:
            results.append({"value": getattr(client, name)(*arguments)})
        except Exception as error:  # What the client raises is the result, not a failure of this program.
            results.append({"error": type(error).__name__, "message": str(error)})
    print(json.dumps(results))


if __name__ == "__main__":
    main()
