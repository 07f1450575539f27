/** Calls of the Flight client that end early, wait, or fail half-way; cookies and middleware around them. */
import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import { DipcError, fromTable } from "../../mod.ts";
import { repeat } from "../support/repeat.ts";
import { FlightClient, serveFlight } from "../../flight.ts";
import { GrpcConnection } from "../../src/grpc/client_connection.ts";
import { encodeFrame, frameOfMessage } from "../../src/flight/data.ts";
import { parseFlightLocation } from "../../src/flight/location.ts";
import { delay, until } from "../support/time.ts";
import { assertDipcError } from "../support/assert.ts";
import { type FakeCall, fakeFlight, infoBytes, resultBytes } from "../support/flight_fake.ts";

const MiB = 2 ** 20;
const data = await fromTable(tableFromArrays({ n: new Float64Array(MiB / 8) }));

/** Sends batches of 1 MiB for as long as they are taken, and counts them. */
async function endless(call: FakeCall, sent: { bytes: number; aborted: boolean }): Promise<void> {
  let gone = false;
  call.stream.on("aborted", () => sent.aborted = gone = true);
  call.stream.on("close", () => gone = true);
  await call.frame({ header: data.schema.bytes });
  const run = await data.open();
  const message = (await run.next())!;
  const pieces = encodeFrame(frameOfMessage(message));
  while (!gone) {
    for (const piece of pieces) {
      if (gone) break;
      await call.raw(piece);
      sent.bytes += piece.byteLength;
    }
  }
}

Deno.test("a reader that stops takes no more than a few MiB, and leaving it ends the call", async () => {
  const sent = { bytes: 0, aborted: false };
  await using server = await fakeFlight((call) => endless(call, sent));
  await using client = await FlightClient.connect(server.location);
  {
    await using reader = await client.doGet("x");
    const { value } = await reader.next();
    assertEquals(value?.batch?.numRows, MiB / 8);
    // Until nothing more is taken.
    await until(async () => {
      const before = sent.bytes;
      await delay(300);
      return sent.bytes === before;
    });
    assertLess(sent.bytes, 16 * MiB);
  }
  await until(() => sent.aborted);
});

Deno.test("other calls go on if one of several streams is left", async () => {
  const sent = { bytes: 0, aborted: false };
  await using server = await fakeFlight(async (call) => {
    if (call.method === "DoGet" && await call.ticket() === "endless") return await endless(call, sent);
    if (call.method === "DoGet") await call.data(repeat(data, 50));
    else await call.message(infoBytes([]));
    call.finish();
  });
  await using client = await FlightClient.connect(server.location);
  await using whole = await client.doGet("whole");
  await whole.next();
  {
    await using left = await client.doGet("endless");
    await left.next();
  }
  let batches = 1;
  for await (const _ of whole) batches++;
  assertEquals(batches, 50);
  await client.getFlightInfo({ path: "x" });
});

Deno.test("an upload that the server refuses half-way fails with the server's status, and gives its memory back", async () => {
  await using server = await fakeFlight(async (call) => {
    await delay(50);
    call.finish(7, "not you");
  });
  await using client = await FlightClient.connect(server.location);
  const error = await assertDipcError(
    "permission_denied",
    "not you",
    () => client.put({ path: "x" }, repeat(data, 1000)),
  );
  assertEquals(error.foreign?.status, 7);
  await using writer = await client.doPut({ path: "x" }, data);
  await assertRejects(
    async () => {
      for await (const _ of writer.results());
    },
    DipcError,
    "not you",
  );
  let released = 0;
  const run = await data.open();
  const message = (await run.next())!;
  const inner = message.body!;
  const { space, byteLength, address } = inner;
  const body = { space, byteLength, address, bytes: () => inner.bytes(), release: () => released++ };
  await assertRejects(() => writer.write({ header: message.header, body }), DipcError, "not you");
  assertEquals(released, 1);
});

Deno.test("an upload may take longer than timeoutMs while the server takes it, and not when it takes nothing", async () => {
  const BATCHES = 25;
  let batches = 0, isStuck = false;
  await using server = await serveFlight({
    handlers: {
      async doPut(upload, { signal }) {
        for await (const { message } of upload) {
          message?.body?.release();
          batches++;
          if (isStuck) await new Promise((resolve) => signal.addEventListener("abort", resolve));
          else await delay(100);
        }
      },
    },
  });
  await using client = await FlightClient.connect(server.location, { timeoutMs: 1000 });
  await client.put({ path: "x" }, repeat(data, BATCHES));
  assertEquals(batches, BATCHES);
  isStuck = true;
  await assertDipcError("timeout", /in 1 s$/, () => client.put({ path: "x" }, repeat(data, BATCHES)));
});

Deno.test("deadlines and signals end calls, and the deadline is sent to the server", async () => {
  const timeouts: (string | undefined)[] = [];
  await using server = await fakeFlight((call) => {
    timeouts.push(call.headers["grpc-timeout"] as string | undefined);
    return new Promise(() => {});
  });
  await using client = await FlightClient.connect(server.location, { timeoutMs: 10_000 });
  await assertDipcError("timeout", "", () => client.getFlightInfo({ path: "x" }, { timeoutMs: 100 }));
  for (
    const call of [
      (signal: AbortSignal) => client.getFlightInfo({ path: "x" }, { signal }),
      (signal: AbortSignal) => client.doGet("x", { signal }),
      async (signal: AbortSignal) => {
        for await (const _ of client.listFlights("", { signal }));
      },
    ]
  ) {
    const stop = new AbortController();
    const pending = assertDipcError("cancelled", "", () => call(stop.signal));
    await delay(50);
    stop.abort(new Error("enough"));
    assertEquals(((await pending).cause as Error).message, "enough");
    await assertDipcError("cancelled", "", () => call(stop.signal));
  }
  assertEquals(timeouts, ["100m", "10000m", undefined, undefined]);
});

Deno.test("time-outs longer than a timer can wait are not cut short, and invalid ones are rejected", async () => {
  await using server = await fakeFlight(async (call) => {
    await delay(20);
    await call.message(infoBytes([]));
    call.finish();
  });
  for (const timeoutMs of [2 ** 31, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
    await using client = await FlightClient.connect(server.location, { timeoutMs });
    await client.getFlightInfo({ path: "x" });
    for (const ofCall of [timeoutMs, Infinity]) await client.getFlightInfo({ path: "x" }, { timeoutMs: ofCall });
  }
  await using client = await FlightClient.connect(server.location);
  for (const timeoutMs of [0, -1, NaN, -Infinity]) {
    await assertDipcError("invalid_argument", "", () => FlightClient.connect(server.location, { timeoutMs }));
    await assertDipcError("invalid_argument", "", () => client.getFlightInfo({ path: "x" }, { timeoutMs }));
  }
});

Deno.test("cookies come back, middleware sees headers and ends in order, and a hook that throws fails the call", async () => {
  const cookies: (string | undefined)[] = [];
  await using server = await fakeFlight(async (call) => {
    cookies.push(call.headers.cookie);
    call.respond({ "set-cookie": ["id=1; Path=/", "b=2"], "x-name": call.method });
    if (call.method === "DoAction") await call.message(resultBytes(new Uint8Array(0)));
    else await call.message(infoBytes([]));
    call.finish();
  });
  const seen: string[] = [];
  const middleware = ["outer", "inner"].map((name) => ({
    onCall: ({ method }: { method: string }) => void seen.push(`${name} call ${method}`),
    onHeaders: (_: unknown, headers: Headers) => void seen.push(`${name} headers ${headers.get("x-name")}`),
    onEnd: (_: unknown, trailers: Headers, error?: unknown) =>
      void seen.push(`${name} end ${trailers.get("grpc-status")} ${error ?? "well"}`),
  }));
  await using client = await FlightClient.connect(server.location, { middleware });
  await client.getFlightInfo({ path: "x" });
  assertEquals(seen, [
    "outer call GetFlightInfo",
    "inner call GetFlightInfo",
    "inner headers GetFlightInfo",
    "outer headers GetFlightInfo",
    "inner end 0 well",
    "outer end 0 well",
  ]);
  for await (const _ of client.doAction("x"));
  assertEquals(cookies, [undefined, "id=1; b=2"]);
  await using plain = await FlightClient.connect(server.location, { cookies: false });
  await plain.getFlightInfo({ path: "x" });
  await plain.getFlightInfo({ path: "x" });
  assertEquals(cookies.slice(2), [undefined, undefined]);
  await using broken = await FlightClient.connect(server.location, {
    middleware: [{
      onHeaders() {
        throw new Error("hook");
      },
    }],
  });
  await assertRejects(() => broken.getFlightInfo({ path: "x" }), Error, "hook");
});

Deno.test("a client finds a server again that was restarted, and is of no use once it is closed", async () => {
  const answer = async (call: FakeCall) => {
    await call.message(infoBytes([]));
    call.finish();
  };
  const first = await fakeFlight(answer);
  const client = await FlightClient.connect(first.location);
  await client.getFlightInfo({ path: "x" });
  await first[Symbol.asyncDispose]();
  for (let i = 0; i < 2; i++) {
    const error = await assertRejects(() => client.getFlightInfo({ path: "x" }), DipcError);
    assert(["unreachable", "connection_lost"].includes(error.code), error.code);
  }
  await client.close();
  await client.close();
  await assertDipcError("closed", "", () => client.getFlightInfo({ path: "x" }));
});

Deno.test("a call ends at once if its connection is closed before it was sent, whenever that is", async () => {
  await using server = await fakeFlight(() => new Promise(() => {}));
  for (let turns = 0; turns < 12; turns++) {
    const client = await FlightClient.connect(server.location);
    const failing = assertDipcError("closed", "", () => client.getFlightInfo({ path: "x" }), `after ${turns} turns`);
    for (let i = 0; i < turns; i++) await Promise.resolve();
    await client.close();
    await failing;
  }
});

Deno.test("a caller that stops waiting for a connection does not abort it for others; closing ends the wait of all", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const location = parseFlightLocation(`grpc+tls://127.0.0.1:${listener.addr.port}`);
  // A server that accepts and says nothing, in the middle of TLS's handshake.
  const connection = new GrpcConnection(location, { timeoutMs: 60_000 });
  const giveUp = new AbortController();
  const first = assertDipcError("cancelled", "", () => connection.connect(giveUp.signal));
  const second = assertDipcError("closed", "", () => connection.connect());
  using _silent = await listener.accept();
  giveUp.abort();
  await first;
  assertEquals(await Promise.race([second, delay(100).then(() => "waits")]), "waits");
  await connection.close();
  await second;

  // Without any waiting caller the attempt is aborted, and the next one is new.
  const other = new GrpcConnection(location, { timeoutMs: 60_000 });
  for (let i = 0; i < 2; i++) {
    const alone = new AbortController();
    const failing = assertDipcError("cancelled", "", () => other.connect(alone.signal));
    using socket = await listener.accept();
    alone.abort();
    await failing;
    const buffer = new Uint8Array(4096);
    try {
      while (await socket.read(buffer) !== null);
    } catch {
      // Reset: closed, too.
    }
  }
  await other.close();
});

Deno.test("leaving a loop never throws, whatever has come behind what was read", async () => {
  await using server = await fakeFlight(async (call) => {
    await call.message(infoBytes([]));
    await call.raw(Uint8Array.of(9));
  });
  await using client = await FlightClient.connect(server.location);
  let seen = 0;
  for await (const _ of client.listFlights()) {
    seen++;
    await delay(50);
    break;
  }
  assertEquals(seen, 1);
});

Deno.test("a status before an answer that goes on is not its end", async () => {
  await using server = await fakeFlight(async (call) => {
    call.respond({ "grpc-status": "0" });
    await call.message(infoBytes([]));
    await delay(20);
    call.stream.close(2);
  });
  await using client = await FlightClient.connect(server.location);
  await assertDipcError("connection_lost", "", () => Array.fromAsync(client.listFlights()));
});

Deno.test("payloads of a handshake without end wait for the server, and stop when it has answered", async () => {
  let isRefusing = false;
  await using server = await fakeFlight(async (call) => {
    call.stream.removeAllListeners("data");
    call.stream.pause();
    await until(() => isRefusing);
    call.finish(16, "not you");
  });
  await using client = await FlightClient.connect(server.location);
  let sent = 0;
  function* payloads() {
    for (;;) {
      sent++;
      yield new Uint8Array(64 * 1024);
    }
  }
  const failing = assertRejects(() => Array.fromAsync(client.handshake(payloads())), DipcError, "not you");
  let held: number;
  do {
    // Until it sends no more.
    held = sent;
    await delay(200);
    assertLess(sent * 64 * 1024, 16 * MiB);
  } while (sent > held);
  isRefusing = true;
  await failing;
  await delay(20); // time for more that must not come
  assertLess(sent, held + 3);
});

/** Goes between a client and a server, and can stop carrying what goes over the connections that it has. */
class Relay implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #sockets: Deno.Conn[] = [];
  readonly #running: Promise<void>;
  #isSilent = false;
  connections = 0;

  constructor(port: number) {
    this.#running = this.#run(port);
  }

  get location(): string {
    return `grpc://127.0.0.1:${this.#listener.addr.port}`;
  }

  /** What comes over the connections there are now is lost from here on. */
  silence(): void {
    this.#isSilent = true;
  }

  async #run(port: number): Promise<void> {
    for await (const near of this.#listener) {
      this.connections++;
      this.#isSilent = false;
      const mine = this.connections;
      const far = await Deno.connect({ hostname: "127.0.0.1", port });
      this.#sockets.push(near, far);
      const carry = async (from: Deno.Conn, to: Deno.Conn) => {
        const buffer = new Uint8Array(2 ** 16);
        for (let bytes; (bytes = await from.read(buffer)) !== null;) {
          if (!this.#isSilent && mine === this.connections) await to.write(buffer.subarray(0, bytes));
        }
      };
      carry(near, far).catch(() => {});
      carry(far, near).catch(() => {});
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const socket of this.#sockets) socket.close();
    await this.#running.catch(() => {});
  }
}

Deno.test("a connection that has gone silent costs one call, and the next one finds the server again", async () => {
  await using server = await fakeFlight(async (call) => {
    await call.message(infoBytes([]));
    call.finish();
  });
  await using relay = new Relay(Number(new URL(server.location).port));
  await using client = await FlightClient.connect(relay.location, { timeoutMs: 1100 });
  await client.getFlightInfo({ path: "x" });
  assertEquals(relay.connections, 1);
  relay.silence();
  await assertDipcError("timeout", "", () => client.getFlightInfo({ path: "x" }));
  await client.getFlightInfo({ path: "x" });
  assertEquals(relay.connections, 2);
});

Deno.test("a call that the server has not taken before it went away says that it can be retried", async () => {
  await using server = await fakeFlight((call) => call.stream.close(7));
  await using client = await FlightClient.connect(server.location);
  await assertDipcError("unreachable", "can be retried", () => client.getFlightInfo({ path: "x" }));
});
