"""A Flight server of pyarrow for the tests. Its one argument is JSON: see Options. Prints {"port": N}; ends with its standard input.

What it holds is what was put into it, what `files` names, and what `batches` describes.
"""

import base64
import json
import sys
import threading

import numpy as np
import pyarrow as pa
import pyarrow.flight as flight
import pyarrow.ipc as ipc


class Options:
    """Defaults of the JSON argument."""

    files = {}  # name: path of an Arrow file or stream
    generated = {}  # name: {"batches": N (-1: endless), "bytes": bytes of a batch's one column, "numbered": see generate}
    locations = {}  # name: [URI, ...], handed out as they are; none: this server
    app_metadata = False  # each batch of do_get comes with its number as app_metadata
    basic = None  # {"user": ..., "password": ..., "token": ...}: answers basic with a bearer token, and asks for it
    bearer = None  # the one bearer token that is let in
    tls = None  # {"cert": PEM, "key": PEM, "client_ca": PEM or null}

    def __init__(self, given):
        for name, value in given.items():
            if not hasattr(Options, name):
                raise ValueError(f"unknown option {name}")
            setattr(self, name, value)


def read_file(path):
    with open(path, "rb") as file:
        start = file.read(6)
    reader = ipc.open_file(path) if start == b"ARROW1" else ipc.open_stream(path)
    if start == b"ARROW1":
        return reader.schema, [reader.get_batch(i) for i in range(reader.num_record_batches)]
    return reader.schema, list(reader)


class CheckToken(flight.ServerMiddleware):
    def __init__(self, token):
        self.token = token

    def sending_headers(self):
        return {"authorization": f"Bearer {self.token}"}


class CheckTokenFactory(flight.ServerMiddlewareFactory):
    """Lets nobody in without the password or the token."""

    def __init__(self, options):
        self.basic, self.bearer = options.basic, options.bearer

    def start_call(self, info, headers):
        given = [value for name, values in headers.items() if name.lower() == "authorization" for value in values]
        if not given:
            raise flight.FlightUnauthenticatedError("no authorization")
        kind, _, value = given[0].partition(" ")
        if self.basic and kind.lower() == "basic":
            if base64.b64decode(value).decode() == f"{self.basic['user']}:{self.basic['password']}":
                return CheckToken(self.basic["token"])
        expected = self.basic["token"] if self.basic else self.bearer
        if kind.lower() == "bearer" and value == expected:
            return None
        raise flight.FlightUnauthenticatedError("wrong password or token")


class EchoHeader(flight.ServerMiddleware):
    def __init__(self, value):
        self.value = value

    def sending_headers(self):
        return {"x-echo": self.value}


class EchoHeaderFactory(flight.ServerMiddlewareFactory):
    """Sends the header x-echo back."""

    def start_call(self, info, headers):
        values = headers.get("x-echo")
        return EchoHeader(values[0]) if values else None


class NoAuth(flight.ServerAuthHandler):
    """Needed if a middleware does the work: without a handler, pyarrow rejects Handshake with Unimplemented."""

    def authenticate(self, outgoing, incoming):
        pass

    def is_valid(self, token):
        return ""


class Server(flight.FlightServerBase):
    def __init__(self, options):
        self.options = options
        self.held = {name: read_file(path) for name, path in options.files.items()}
        self.state = {"yielded": 0, "ended": 0, "cancelled": 0, "exchanged": 0, "gets": 0}
        self.lock = threading.Lock()
        scheme, tls = "grpc", {}
        if options.tls:
            scheme = "grpc+tls"
            tls = {"tls_certificates": [(options.tls["cert"], options.tls["key"])]}
            if options.tls.get("client_ca"):
                tls.update(verify_client=True, root_certificates=options.tls["client_ca"])
        middleware = {"echo": EchoHeaderFactory()}
        if options.basic or options.bearer:
            middleware["auth"] = CheckTokenFactory(options)
        super().__init__(
            location=f"{scheme}://127.0.0.1:0",
            auth_handler=NoAuth() if options.basic else None,
            middleware=middleware,
            **tls,
        )

    def schema_of(self, name):
        if name in self.held:
            return self.held[name][0]
        if name in self.options.generated:
            return pa.schema([("n", pa.int64())])
        if name in self.options.locations:
            return pa.schema([])
        raise KeyError(f"there is no {name}")

    def name_of(self, descriptor):
        name = descriptor.path[0].decode() if descriptor.path else descriptor.command.decode()
        known = (self.held, self.options.generated, self.options.locations)
        if not any(name in some for some in known):
            raise KeyError(f"there is no {name}")
        return name

    def info_of(self, descriptor, name):
        endpoint = flight.FlightEndpoint(
            name.encode(), self.options.locations.get(name, []), app_metadata=b"endpoint of " + name.encode()
        )
        rows = sum(batch.num_rows for batch in self.held[name][1]) if name in self.held else -1
        return flight.FlightInfo(
            self.schema_of(name), descriptor, [endpoint], rows, -1, app_metadata=b"info of " + name.encode()
        )

    def list_flights(self, context, criteria):
        for name in sorted({*self.held, *self.options.generated, *self.options.locations}):
            if name.startswith(criteria.decode()):
                yield self.info_of(flight.FlightDescriptor.for_path(name), name)

    def get_flight_info(self, context, descriptor):
        return self.info_of(descriptor, self.name_of(descriptor))

    def get_schema(self, context, descriptor):
        return flight.SchemaResult(self.schema_of(self.name_of(descriptor)))

    def do_get(self, context, ticket):
        name = ticket.ticket.decode()
        with self.lock:
            self.state["gets"] += 1
        if name in self.options.generated:
            described = self.options.generated[name]
            return flight.GeneratorStream(self.schema_of(name), self.generate(context, **described))
        if name not in self.held:
            raise KeyError(f"there is no {name}")
        schema, batches = self.held[name]
        options = ipc.IpcWriteOptions(emit_dictionary_deltas=True)
        if self.options.app_metadata:
            numbered = ((batch, str(number).encode()) for number, batch in enumerate(batches))
            return flight.GeneratorStream(schema, numbered, options=options)
        return flight.RecordBatchStream(pa.RecordBatchReader.from_batches(schema, batches), options=options)

    def generate(self, context, batches, bytes, numbered=False):
        """Batches that count up from 0; the first value of each is its number if they are numbered."""
        values = np.arange(bytes // 8, dtype=np.int64)
        batch = pa.record_batch([pa.array(values)], names=["n"])
        try:
            number = 0
            while batches < 0 or number < batches:
                if context.is_cancelled():
                    with self.lock:
                        self.state["cancelled"] += 1
                    return
                if numbered:
                    values = values.copy()
                    values[0] = number
                    batch = pa.record_batch([pa.array(values)], names=["n"])
                yield batch
                number += 1
                with self.lock:
                    self.state["yielded"] += 1
        finally:
            with self.lock:
                self.state["ended"] += 1

    def do_put(self, context, descriptor, reader, writer):
        name = descriptor.path[0].decode() if descriptor.path else descriptor.command.decode()
        batches = []
        for chunk in reader:
            if chunk.data is not None:
                batches.append(chunk.data)
            if chunk.app_metadata is not None:
                writer.write(chunk.app_metadata)
        self.held[name] = (reader.schema, batches)

    def do_exchange(self, context, descriptor, reader, writer):
        """Echo: data and metadata go back as they came, in one message if they came in one."""
        if descriptor.command != b"echo":
            raise flight.FlightServerError("the only exchange here is echo")
        started = False
        for chunk in reader:
            with self.lock:
                self.state["exchanged"] += 1
            if not started and chunk.data is not None:
                started = True
                writer.begin(chunk.data.schema)
            if chunk.data is not None and chunk.app_metadata is not None:
                writer.write_with_metadata(chunk.data, chunk.app_metadata)
            elif chunk.data is not None:
                writer.write_batch(chunk.data)
            elif chunk.app_metadata is not None:
                writer.write_metadata(chunk.app_metadata)

    def list_actions(self, context):
        return [("echo", "answers with its body"), ("state", "counters"), ("many", "N results"), ("fail", "fails")]

    def do_action(self, context, action):
        if action.type == "echo":
            yield flight.Result(action.body)
        elif action.type == "state":
            with self.lock:
                yield flight.Result(json.dumps(self.state).encode())
        elif action.type == "many":
            for number in range(int(action.body.to_pybytes())):
                yield flight.Result(str(number).encode())
        elif action.type == "fail":
            kind = action.body.to_pybytes().decode()
            raise {
                "internal": flight.FlightInternalError,
                "unauthenticated": flight.FlightUnauthenticatedError,
                "unauthorized": flight.FlightUnauthorizedError,
                "unavailable": flight.FlightUnavailableError,
                "cancelled": flight.FlightCancelledError,
                "timeout": flight.FlightTimedOutError,
                "server": flight.FlightServerError,
                "not_found": KeyError,
                "invalid": ValueError,
                "unimplemented": NotImplementedError,
            }[kind](f"asked to fail as {kind}")
        else:
            raise NotImplementedError(action.type)


def main():
    with Server(Options(json.loads(sys.argv[1]))) as server:
        print(json.dumps({"port": server.port}), flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
