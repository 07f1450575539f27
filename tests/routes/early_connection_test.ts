/**
 * The connection by UCX that is begun while a Flight server is still asked: it is there when the stream needs it, and nobody is worse
 * off for it.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { connect, type ConnectOptions, releaseTransports, serve, type ServeOptions, type Server } from "../../mod.ts";
import { assertDipcError } from "../support/assert.ts";
import { tripsTable } from "../support/cli_data.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { startDipc } from "../support/processes.ts";
import { until } from "../support/time.ts";

const SERVER = `${ROOT}/tests/support/server_program.ts`;
const ROWS = 2000;
/** A stream with other limits does not take the connection that waits. */
const COLD: ConnectOptions = { limits: { maxMetadataBytes: 2 ** 20 } };

/** What answers wait for. */
type Gate = PromiseWithResolvers<void> & { asked: number };

/** A server of Flight and UCX whose answers to Flight can be held back. */
class HeldServer implements AsyncDisposable {
  readonly errors: string[] = [];
  readonly #server: Server;
  readonly #gate: Gate;

  private constructor(server: Server, gate: Gate) {
    this.#server = server;
    this.#gate = gate;
    server.addEventListener("error", (event) => this.errors.push(String((event as CustomEvent).detail.error)));
  }

  static async start(options: Partial<ServeOptions> = {}, port = 0): Promise<HeldServer> {
    const gate: Gate = { ...Promise.withResolvers<void>(), asked: 0 };
    gate.resolve();
    const bearer = async (): Promise<string> => {
      gate.asked++;
      await gate.promise;
      return "somebody";
    };
    const flight = { port, auth: { bearer } };
    return new HeldServer(await serve({ ...options, datasets: { trips: tripsTable(2) }, flight }), gate);
  }

  get port(): number {
    return this.#server.flight!.port;
  }

  hold(): void {
    Object.assign(this.#gate, Promise.withResolvers<void>(), { asked: 0 });
  }

  /** Resolves once a call is held back. */
  async isHolding(): Promise<void> {
    await until(() => this.#gate.asked > 0);
  }

  release(): void {
    this.#gate.resolve();
  }

  async rows(options: ConnectOptions = {}, name = "trips"): Promise<number> {
    await using stream = await connect(`${this.#server.flight!.location}/${name}`, {
      share: false,
      ...options,
      flight: { token: "any", ...options.flight },
    });
    return (await stream.toTable()).numRows;
  }

  /** Streams that come from one address, until it is known. */
  async known(): Promise<this> {
    for (let i = 0; i < 2; i++) assertEquals(await this.rows(), ROWS);
    return this;
  }

  /** Connections so far, active ones and idle ones, once they are so many. */
  async reaches(...counts: [connections: number, active: number, idle: number]): Promise<void> {
    const current = () => {
      const { connections, activeConnections, idleConnections } = this.#server.stats;
      return Promise.resolve([connections, activeConnections, idleConnections]);
    };
    assertEquals(await until(current, (found) => String(found) === String(counts)), counts);
  }

  /** Ends it; its clients do not learn of that in any other way. */
  async shutdown(): Promise<void> {
    this.release();
    await this.#server.shutdown();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await releaseTransports();
    await this.shutdown();
  }
}

testNeeding([needsUcx], "a stream finds its connection made while the Flight server was still asked", async () => {
  await using server = await (await HeldServer.start()).known();
  await server.reaches(1, 0, 1);
  server.hold();
  const rows = server.rows(COLD);
  await server.reaches(2, 1, 1);
  server.release();
  assertEquals(await rows, ROWS);
  // It stays like any other, and while it waits none is begun.
  await server.reaches(2, 0, 2);
  assertEquals(await server.rows(COLD), ROWS);
  await server.reaches(2, 0, 2);
  assertEquals(server.errors, []);
});

testNeeding([needsUcx], "concurrent streams begin connections of their own, and each takes one", async () => {
  await using server = await (await HeldServer.start()).known();
  server.hold();
  const rows = Promise.all([1, 2, 3].map(() => server.rows(COLD)));
  await server.reaches(4, 3, 1);
  server.release();
  assertEquals(await rows, [ROWS, ROWS, ROWS]);
  await server.reaches(4, 0, 4);
  assertEquals(server.errors, []);
});

testNeeding([needsUcx], "no connection is begun if none may be kept, or the stream does not come by UCX", async () => {
  await using server = await (await HeldServer.start()).known();
  const options: ConnectOptions[] = [{ keepAliveMs: 0 }, { maxIdleConnections: 0 }, { route: "flight" }];
  for (const [connections, option] of options.entries()) {
    server.hold();
    const rows = server.rows({ ...COLD, ...option });
    await server.isHolding();
    await server.reaches(connections + 1, 0, 1);
    server.release();
    assertEquals(await rows, ROWS);
  }
  await releaseTransports();
  await server.reaches(3, 0, 0);
  server.hold();
  const rows = server.rows();
  await server.isHolding();
  await server.reaches(3, 0, 0);
  server.release();
  assertEquals([await rows, server.errors], [ROWS, []]);
});

testNeeding([needsUcx], "a connection that is not used is cut, and none is begun before others have come", async () => {
  await using server = await (await HeldServer.start()).known();
  for (const activeConnections of [1, 0]) {
    server.hold();
    const missing = assertDipcError("not_found", '"missing"', () => server.rows(COLD, "missing"));
    await server.isHolding();
    await server.reaches(2, activeConnections, 1);
    server.release();
    await missing;
    await server.reaches(2, 0, 1);
  }
  await server.known();
  const stop = new AbortController();
  server.hold();
  const aborted = assertDipcError("cancelled", "", () => server.rows({ ...COLD, signal: stop.signal }));
  await server.reaches(3, 1, 1);
  stop.abort();
  await aborted;
  await server.reaches(3, 0, 1);
  // A client that leaves without a request is not an error.
  assertEquals(server.errors, []);
});

testNeeding([needsUcx], "a server that takes long to answer is not made to keep a place free meanwhile", async () => {
  await using server = await (await HeldServer.start({ maxConnections: 1 })).known();
  server.hold();
  const rows = server.rows(COLD);
  await server.reaches(2, 1, 0);
  await server.reaches(2, 0, 0);
  server.release();
  assertEquals(await rows, ROWS);
  await server.reaches(3, 0, 1);
  assertEquals(server.errors, []);
});

testNeeding(
  [needsUcx],
  "a server in the place of another one is reached, though nobody listens at the address of that one any more",
  async () => {
    const former = await (await HeldServer.start()).known();
    await former.shutdown();
    await using server = await HeldServer.start({}, former.port);
    assertEquals(await server.rows(COLD), ROWS);
    await server.reaches(1, 0, 1);
    assertEquals(server.errors, []);
  },
);

testNeeding([needsUcx], "no connection is begun to a server that names another isolate each time", async () => {
  const settings = { datasets: { small: { batches: 1, rows: 10 } }, options: { isolates: 2, flight: {} } };
  await using server = startDipc([JSON.stringify(settings)], { program: SERVER, stdin: "piped", timeoutMs: 300_000 });
  const { flight } = JSON.parse((await server.firstLine)!);
  for (const options of [{}, {}, COLD, COLD]) {
    await using stream = await connect(`${flight}/small`, { share: false, ...options });
    assertEquals((await stream.toTable()).numRows, 10);
  }
  const found = await server.ask("stats") as { server: { connections: number } };
  assertEquals(found.server.connections, 4);
  await releaseTransports();
});
