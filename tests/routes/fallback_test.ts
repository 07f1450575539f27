/**
 * Which route `dipc get grpc://…` takes, why, how soon, and what becomes of it when the server dies.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import { connect, type Dataset, DipcError, fromTable, serve } from "../../mod.ts";
import { assertDipcError } from "../support/assert.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { dipc, type Running, type ServeInfo, startDipc } from "../support/processes.ts";
import { printTable } from "../support/table.ts";
import { assertSoon } from "../support/time.ts";

const ROWS = 1000;

interface FlightServerProcess extends AsyncDisposable {
  readonly location: string;
  readonly running: Running;
}

/** Our server with the dataset `n`, in a process of its own. */
async function startServer(batches: number, options: Record<string, unknown> = {}): Promise<FlightServerProcess> {
  const running = startDipc(
    [JSON.stringify({ datasets: { n: { batches, rows: ROWS } }, options: { flight: {}, ...options } })],
    { program: `${ROOT}/tests/support/server_program.ts`, stdin: "piped" },
  );
  const line = await running.firstLine;
  if (line === null) throw new Error((await running.outcome).stderr);
  const { flight } = JSON.parse(line) as ServeInfo;
  return { location: flight!, running, [Symbol.asyncDispose]: () => running[Symbol.asyncDispose]() };
}

/** The last line of `dipc get --json`. */
interface Got {
  route: string;
  routeReason: string;
  rows: number;
  batches: number;
  error?: { code: string; message: string };
}

async function get(location: string, options: readonly string[] = [], env: Record<string, string> = {}): Promise<Got> {
  const { stdout, stderr } = await dipc(["get", location, "n", "--json", ...options], { env });
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout);
}

testNeeding(
  [needsUcx],
  "dipc get uses UCX if it can, DoGet if it cannot or must not, and says why",
  async () => {
    await using server = await startServer(5);
    // Locations name a host; on this one nobody listens at the UCX port.
    await using closed = await startServer(5, { advertise: "127.0.0.9", flight: { advertise: "127.0.0.1" } });
    const nowhere = { DIPC_LIBUCP: "/nowhere/libucp.so.0" };
    const cases: [name: string, route: string, reason: RegExp, got: Got][] = [
      ["nothing in the way", "ucx", /^the server offers UCX, and it answered$/, await get(server.location)],
      ["--route flight", "flight", /^requested by route: "flight"$/, await get(server.location, ["--route", "flight"])],
      ["--route ucx", "ucx", /answered/, await get(server.location, ["--route", "ucx"])],
      [
        "DIPC_LIBUCP names nothing",
        "flight",
        /^UCX failed: library_not_found: cannot load the libucp that DIPC_LIBUCP names, \/nowhere\/libucp\.so\.0: /,
        await get(server.location, [], nowhere),
      ],
      ["the UCX port is closed", "flight", /^UCX failed: unreachable: .*127\.0\.0\.9/, await get(closed.location)],
    ];
    printTable(
      "Routes of dipc get",
      ["case", "via", "reason"],
      cases.map(([name, , , { route, routeReason }]) => [name, route, routeReason.slice(0, 120)]),
    );
    for (const [name, route, reason, got] of cases) {
      assertEquals([got.error, got.route, got.batches, got.rows], [undefined, route, 5, 5 * ROWS], name);
      assertMatch(got.routeReason, reason, name);
    }
    for (const [location, env] of [[closed.location, {}], [server.location, nowhere]] as const) {
      const { error } = await get(location, ["--route", "ucx"], env);
      assert(error !== undefined, "--route ucx must not take another route");
    }
  },
);

testNeeding([needsUcx], "what UCX was answered is the error, not what the second request met", async () => {
  const { schema } = await fromTable(tableFromArrays({ n: Int32Array.of(1) }));
  let runs = 0;
  const failing: Dataset = {
    schema,
    readOnce: false,
    open() {
      const error = runs++ === 0
        ? new DipcError("invalid_data", "cannot read the tape: it is torn")
        : new DipcError("io", "cannot read the tape: it is not in the drive any more");
      return {
        next(): never {
          throw error;
        },
        close() {},
      };
    },
    close() {},
  };
  const logged: string[] = [];
  await using server = await serve({ datasets: { failing }, flight: {} });
  const log = ({ detail }: { detail: { error?: DipcError } }): number => logged.push(detail.error!.message);
  server.addEventListener("error", log);
  server.flight!.addEventListener("error", log);
  const fetch = async (): Promise<void> => {
    await using stream = await connect(server.flight!.location, { flight: { path: "failing" } });
    for await (const _ of stream);
  };
  await assertDipcError("invalid_data", /on the server \(invalid_data\).* \(then grpc:.*: io: /, fetch);
  assertEquals(runs, 2);
  assertEquals(logged, ["cannot read the tape: it is torn", "cannot read the tape: it is not in the drive any more"]);
});

testNeeding([needsUcx], "a UCX port that is closed, or never answers, delays a stream by 2 s at most", async () => {
  // Accepts connections, and then says nothing: what a half-dead server or a proxy does.
  using silent = Deno.listen({ hostname: "127.0.0.10", port: 0 });
  const held: Deno.Conn[] = [];
  const accepting = (async () => {
    for await (const connection of silent) held.push(connection);
  })().catch(() => {});
  await using closed = await startServer(5, { advertise: "127.0.0.9", flight: { advertise: "127.0.0.1" } });
  await using mute = await startServer(5, {
    advertise: "127.0.0.10",
    port: silent.addr.port,
    flight: { advertise: "127.0.0.1" },
  });
  for (const { location } of [closed, mute]) {
    const started = performance.now();
    await using stream = await connect(location, { flight: { path: "n" } });
    const found: number[] = [];
    for await (using batch of stream) {
      if (found.length === 0) assertSoon(`the first batch: ${stream.stats.routeReason}`, started);
      found.push(Number(batch.getChildAt(0)!.get(0)));
    }
    assertEquals([found, stream.stats.route], [[0, 1, 2, 3, 4], "flight"]);
  }
  silent.close();
  for (const connection of held) connection.close();
  await accepting;
});

for (const route of ["ucx", "flight"] as const) {
  testNeeding(
    [needsUcx],
    `a server that is killed half-way is a failure by ${route}, and no batch comes twice`,
    async () => {
      await using server = await startServer(1_000_000);
      await using client = startDipc(["get", server.location, "n", "--route", route, "-o", "-", "--format", "ndjson"]);
      assertEquals(JSON.parse(await client.firstLine ?? "null"), { n: 0 });
      server.running.kill("SIGKILL");
      const { code, stdout, stderr } = await client.outcome;
      assertEquals(code, 1, stderr);
      assertMatch(stderr, /connection_lost|unreachable/);
      const starts = stdout.split("\n").slice(0, -1).filter((_, row) => row % ROWS === 0).map((line) =>
        JSON.parse(line).n
      );
      assertEquals(starts, starts.map((_, batch) => batch));
    },
  );
}
