/** A server whose connections are held by several isolates: what clients get, and what the program sees of it. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import {
  connect,
  type Dataset,
  fromBatches,
  fromTable,
  openPath,
  releaseTransports,
  resident,
  serve,
  type Server,
} from "../../mod.ts";
import type { MessageStream } from "../../src/sources/dataset.ts";
import { FlightClient } from "../../flight.ts";
import { hostPool } from "../../src/memory/host_pool.ts";
import { assertDipcError } from "../support/assert.ts";
import { tripsBytes, tripsTable } from "../support/cli_data.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { endless, readAll, wholeOf } from "./support/isolates.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { unusedPort } from "../support/ports.ts";
import { delay, until } from "../support/time.ts";

function urisOf(server: Server, name: string): readonly string[] {
  return server.datasets.find((dataset) => dataset.name === name)!.uris;
}

testNeeding([needsUcx], "a table, a file, batches and a generator arrive whole from each of two isolates", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("trips.arrow");
  Deno.writeFileSync(path, tripsBytes("file", 5));
  const mapped = await openPath(path, { map: "guarded" });
  const table = await fromTable(tripsTable(40));
  const datasets = {
    ...{ table, path, mapped, again: await fromBatches(() => tripsTable(400).batches) },
    ...{
      once: (function* () {
        yield* tripsTable(300).batches;
      })(),
      stream: folder.file("trips.arrows"),
    },
  };
  Deno.writeFileSync(datasets.stream, tripsBytes("stream", 6));
  {
    await using server = await serve({ isolates: 2, datasets });
    const sizes = { table: 40, path: 5, mapped: 5, again: 400, once: 300, stream: 6 };
    for (const [name, batches] of Object.entries(sizes)) {
      const uris = urisOf(server, name);
      assertEquals(uris.length, 2);
      for (const uri of name === "once" ? uris.slice(1) : uris) {
        assertEquals(await readAll(uri), wholeOf(batches), name);
      }
      // More streams than isolates, concurrently.
      if (name === "once") continue;
      const all = await Promise.all([...uris, ...uris, ...uris].map((uri) => readAll(uri)));
      for (const each of all) assertEquals(each, wholeOf(batches), name);
    }
    await assertDipcError("busy", "only once", () => connect(urisOf(server, "once")));
    // What a file has is read by each isolate, but of one that was written to nothing more is sent.
    Deno.writeFileSync(path, tripsBytes("file", 2));
    for (const uri of urisOf(server, "path")) {
      const error = await assertDipcError("io", "log", () => readAll(uri));
      assert(!error.message.includes(folder.path), error.message);
    }
  }
  await mapped.close();
  await table.close();
  await releaseTransports();
  assertEquals(hostPool().stats.blocksOut, 0);
});

testNeeding(
  [needsUcx],
  "ports are P and P + 1, or free ones, and every dataset begins with another listener",
  async () => {
    const datasets = { a: tripsTable(1), b: tripsTable(2), c: tripsTable(3) };
    const portOf = (uri: string): number => Number(/:(\d+)\//.exec(uri)![1]);
    {
      await using server = await serve({ isolates: 3, datasets });
      const ports = server.datasets[0].uris.map(portOf);
      assertEquals(new Set(ports).size, 3);
      assertEquals(server.port, ports[0]);
      assertEquals(server.datasets[1].uris.map(portOf), [ports[1], ports[2], ports[0]]);
      assertEquals(server.datasets[2].uris.map(portOf), [ports[2], ports[0], ports[1]]);
    }
    {
      const port = unusedPort(2);
      await using server = await serve({ isolates: 2, port, datasets });
      assertEquals(server.datasets[0].uris.map(portOf), [port, port + 1]);
      assertEquals(await readAll(server.datasets[2].uris), wholeOf(3));
    }
    await releaseTransports();
  },
);

testNeeding(
  [needsUcx],
  "a port that is taken fails the start, and nothing is left of the isolate that has one",
  async () => {
    const datasets = { a: tripsTable(1) };
    const port = unusedPort(2);
    await using _ = await serve({ datasets, port: port + 1 });
    await assertDipcError("unreachable", "the port is in use", () => serve({ isolates: 2, port, datasets }));
    await using again = await serve({ port, datasets });
    assertEquals(again.port, port);
  },
);

testNeeding([needsUcx], "what goes with one isolate only is refused with the reason", async () => {
  const datasets = { a: tripsTable(1) };
  const transport = { connect: () => Promise.reject(), listen: () => Promise.reject(), close: () => Promise.resolve() };
  const refusals: [options: Omit<Parameters<typeof serve>[0], "datasets">, text: string][] = [
    [{ isolates: 0 }, "isolates"],
    [{ isolates: 1.5 }, "isolates"],
    [{ isolates: 257 }, "isolates"],
    [{ isolates: 2, metadataPort: 0 }, "metadataPort"],
    [{ isolates: 2, transport }, "transport"],
    [{ isolates: 3, port: 65_534 }, "65534 to 65536"],
    [{ isolates: 2, flight: { ucx: "off" } }, "flight.ucx"],
  ];
  for (const [options, text] of refusals) {
    await assertDipcError("invalid_argument", text, () => serve({ datasets, ...options }));
  }
  const { schema } = await fromTable(tripsTable(1));
  const device: Dataset = {
    schema,
    memory: "cuda:0",
    readOnce: false,
    open: () => Promise.reject(new Error("opened")),
    close() {},
  };
  await assertDipcError("invalid_argument", "cuda:0", () => serve({ isolates: 2, datasets: { device } }));
});

/** Events of a server by connection, and its counters, after the same requests. */
async function observed(isolates: number): Promise<unknown> {
  const failing = await fromBatches(function* () {
    yield* tripsTable(3).batches;
    throw new Error("the source has ended badly");
  });
  await using server = await serve({
    isolates,
    // A kept connection is one to the isolate that it was made to.
    keepAliveMs: 0,
    datasets: {
      table: tripsTable(20),
      failing,
      once: (function* () {
        yield* tripsTable(2).batches;
      })(),
    },
  });
  const events: unknown[] = [];
  for (const type of ["connection", "request", "end", "error"] as const) {
    server.addEventListener(type, ({ detail: { connection, dataset, totals, error } }) => {
      const { code, message } = error ?? {};
      events.push({ type, connection, dataset, totals: totals && { ...totals, unacknowledged: 0 }, code, message });
    });
  }
  const quiet = () => until(() => server.stats.activeConnections, (active) => active === 0);
  for (let round = 0; round < 2; round++) {
    assertEquals(await readAll(server.datasets[0].uris), wholeOf(20));
    await quiet();
    await assertDipcError("io", "its own log says why", () => readAll(server.datasets[1].uris));
    await quiet();
    if (round === 0) assertEquals(await readAll(server.datasets[2].uris[0]), wholeOf(2));
    else await assertDipcError("busy", "only once", () => connect(server.datasets[2].uris[0]));
    await quiet();
    await assertDipcError(
      "not_found",
      "no such dataset",
      () => connect(server.datasets[0].uris[0].replace("table", "x")),
    );
    await quiet();
  }
  return { events, stats: { ...server.stats } };
}

testNeeding([needsUcx], "counters and events of two isolates are those of one", async () => {
  const one = await observed(1);
  assertEquals(await observed(2), one);
  await releaseTransports();
});

testNeeding(
  [needsUcx],
  "a client takes the next URI when the first is full, and connections count over all isolates",
  async () => {
    await using server = await serve({
      ...{ isolates: 2, maxConnections: 2, windowBatches: 4 },
      datasets: { endless: await endless(), small: tripsTable(2) },
    });
    await using other = await serve({ datasets: { endless: tripsTable(1), small: tripsTable(1) } });
    const [uris, small] = server.datasets.map(({ uris }) => uris);
    const readers = [await connect(uris[0]), await connect(uris[1])];
    for (const uri of [...uris, uris]) {
      const error = await assertDipcError("busy", "try again later", () => connect(uri));
      assertStringIncludes(error.message, "2 connections");
    }
    // The second server is not full; nothing listens at the port between them.
    const unused = small[0].replace(/:\d+\//, ":1/");
    assertEquals(await readAll([small[0], unused, ...other.datasets[1].uris]), wholeOf(1));
    // The first reason counts.
    await assertDipcError("busy", "try again later", () => connect([small[0], unused]));
    // An error about the request is final.
    const unknown = small[0].replace("small", "unknown");
    for (const reader of readers) await reader.cancel();
    await until(() => server.stats.activeConnections, (active) => active === 0);
    await assertDipcError("not_found", "no such dataset", () => connect([unknown, ...other.datasets[1].uris]));
    assertEquals(await readAll(small), wholeOf(2));
    await releaseTransports();
  },
);

testNeeding([needsUcx], "Flight names the listeners in turn, and tickets for one use are good for one", async () => {
  await using server = await serve({
    isolates: 2,
    datasets: { trips: tripsTable(20) },
    flight: { requireTickets: true, tickets: { once: true }, allowPut: true },
  });
  await using client = await FlightClient.connect(server.flight!.location);
  const infos = [];
  for (let i = 0; i < 4; i++) infos.push(await client.getFlightInfo({ path: ["trips"] }));
  const firsts = infos.map(({ endpoints: [{ locations }] }) => /:(\d+)\//.exec(locations[0])![1]);
  assertEquals(new Set(firsts.slice(0, 2)).size, 2);
  assertEquals(firsts.slice(2), firsts.slice(0, 2));
  for (const { endpoints: [{ ticket, locations }] } of infos) {
    const uris = locations.filter((location) => location.startsWith("ucx:"));
    assertEquals(uris.length, 2);
    // Of several concurrent attempts at both isolates one gets the data.
    const attempts = [...uris, ...uris].map(async (uri) => {
      let rows = 0;
      for await (using batch of await connect(uri, { ticket })) rows += batch.numRows;
      return rows;
    });
    const outcomes = await Promise.allSettled(attempts);
    const codes = outcomes.map((outcome) => outcome.status === "fulfilled" ? outcome.value : outcome.reason.code);
    assertEquals(codes.toSorted(), [20_000, "permission_denied", "permission_denied", "permission_denied"]);
  }
  await assertDipcError("permission_denied", "", () => connect(urisOf(server, "trips")));

  // What is uploaded is served by both isolates at once.
  await client.put({ path: ["upload"] }, await fromTable(tripsTable(30)));
  assertEquals(server.datasets.map(({ name }) => name), ["trips", "upload"]);
  for (let i = 0; i < 2; i++) {
    const { endpoints: [{ ticket, locations }] } = await client.getFlightInfo({ path: ["upload"] });
    let rows = 0;
    for await (using batch of await connect(locations[0], { ticket })) rows += batch.numRows;
    assertEquals(rows, 30_000);
  }
  // And a later one in its place.
  await client.put({ path: ["upload"] }, await fromTable(tripsTable(7)));
  await using stream = await connect(server.flight!.location + "/upload");
  let rows = 0;
  for await (using batch of stream) rows += batch.numRows;
  assertEquals([rows, stream.stats.endpoints[0].route], [7_000, "ucx"]);
  await releaseTransports();
});

testNeeding(
  [needsUcx],
  "a program with few permissions ends by itself once its server in two isolates has shut down",
  async () => {
    using folder = new TemporaryFolder();
    Deno.writeTextFileSync(
      folder.file("program.ts"),
      `import { connect, releaseTransports, serve } from ${JSON.stringify(`file://${ROOT}/mod.ts`)};
import { tableFromArrays } from "npm:apache-arrow@21.2.0";
const server = await serve({ isolates: 2, datasets: { n: tableFromArrays({ n: Int32Array.of(1, 2, 3) }) } });
for (const uri of server.datasets[0].uris) console.log((await (await connect(uri)).toTable()).numRows);
await server.shutdown();
await releaseTransports();
console.log(server.stats.completed);
`,
    );
    const run = async (...permissions: string[]) => {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "--no-prompt",
          "--no-check",
          ...permissions,
          `--config=${ROOT}/deno.json`,
          folder.file("program.ts"),
        ],
        signal: AbortSignal.timeout(60_000),
      }).output();
      return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
    };
    // The narrowest permissions that docs/permissions.md names.
    const few = ["--allow-ffi", "--allow-env=DIPC_LIBUCP,HOME,XDG_CACHE_HOME"];
    const { code, stdout, stderr } = await run(...few, `--allow-read=${ROOT}`);
    assertEquals([code, stdout], [0, "3\n3\n2\n"], stderr);
    const denied = await run(...few);
    assertEquals(denied.code, 1);
    assertStringIncludes(
      denied.stderr,
      "cannot start isolate 1 of the server: Deno may not read the program's own files",
    );
    assertStringIncludes(denied.stderr, `run again with --allow-read=${ROOT}`);
  },
);

testNeeding([needsUcx], "what is read ahead for an isolate is bounded in bytes", async () => {
  const inner = await fromTable(tableFromArrays({ id: new Int32Array(2 ** 20) }));
  let made = 0;
  // One message again and again, which costs nothing.
  const source: Dataset = {
    schema: inner.schema,
    readOnce: false,
    open: () => ({ next: () => (made++, (inner.open() as MessageStream).next()), close() {} }),
    close() {},
  };
  await using server = await serve({ isolates: 2, datasets: { source } });
  const reader = await connect(server.datasets[0].uris);
  for (let i = 0; i < 80; i++) {
    (await reader.next()).value![Symbol.dispose]();
    await delay(10); // the isolate that reads ahead is this one
  }
  // It rises no more once everything that may be under way is.
  let last = -1;
  await until(async () => {
    await delay(200);
    return made;
  }, (now) => now === last || (last = now, false));
  console.log(`${made} batches of 4 MiB were made for a reader of 80`);
  assert(made < 80 + 12, `${made} batches were made`);
  await reader.cancel();
  await inner.close();
  await releaseTransports();
});

testNeeding([needsUcx], "data in memory is there once, however many isolates send it", async () => {
  const MEGABYTE = 2 ** 20, COUNT = 32, BATCH = 8 * MEGABYTE;
  const dataset = await resident(
    await fromBatches(function* () {
      for (let i = 0; i < COUNT; i++) {
        yield tableFromArrays({ id: Float64Array.from({ length: BATCH / 8 }, (_, row) => i * row) }).batches[0];
      }
    }),
  );
  assertEquals(dataset.bodyBytes, COUNT * BATCH);
  const server = await serve({ isolates: 2, datasets: { dataset } });
  const readOnce = async (uri: string): Promise<void> => {
    let rows = 0;
    for await (using batch of await connect(uri)) {
      assertEquals(batch.getChild("id")!.get(1), rows / (BATCH / 8));
      rows += batch.numRows;
    }
    assertEquals(rows, COUNT * BATCH / 8);
  };
  const [first, second] = server.datasets[0].uris;
  await readOnce(first);
  const before = Deno.memoryUsage().rss;
  await readOnce(second);
  const more = (Deno.memoryUsage().rss - before) / MEGABYTE;
  console.log(`256 MiB sent by a second isolate: ${Math.round(more)} MiB more`);
  assert(more < 128, `${more} MiB more`);
  await server.shutdown();
  await dataset.close();
  await releaseTransports();
  assertEquals(hostPool().stats.blocksOut, 0);
});

Deno.test("without UCX several isolates are an error, or Flight alone, as with one", async () => {
  using folder = new TemporaryFolder();
  // A process of its own: this one may have loaded UCX.
  Deno.writeTextFileSync(
    folder.file("program.ts"),
    `import { connect, serve } from ${JSON.stringify(`file://${ROOT}/mod.ts`)};
import { tableFromArrays } from "npm:apache-arrow@21.2.0";
const datasets = { n: tableFromArrays({ n: Int32Array.of(1, 2, 3) }) };
const options = { isolates: 2, library: "/nowhere/libucp.so.0", datasets };
console.log(await serve(options).catch(({ code }) => code));
const server = await serve({ ...options, flight: { ucx: "optional" } });
const stream = await connect(server.flight!.location + "/n");
console.log(server.port, server.datasets[0].uris.length, (await stream.toTable()).numRows);
await server.shutdown();
`,
  );
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", `--config=${ROOT}/deno.json`, folder.file("program.ts")],
    signal: AbortSignal.timeout(60_000),
  }).output();
  const [out, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assertEquals([code, out], [0, "library_not_found\n0 0 3\n"], errors);
});
