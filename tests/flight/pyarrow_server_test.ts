/**
 * Our Flight client with pyarrow's Flight server.
 *
 * @module
 */
import { assert, assertEquals, assertGreater, assertRejects } from "@std/assert";
import { connect, DipcError, fromTable, openPath } from "../../mod.ts";
import { FlightClient, type FlightClientOptions } from "../../flight.ts";
import { runEcho } from "../../tools/flight_integration/echo_client.ts";
import { Table, tableFromArrays, tableToIPC } from "apache-arrow";
import { until } from "../support/time.ts";
import { utf8 } from "../support/bytes.ts";
import { assertDipcError } from "../support/assert.ts";
import { Authority } from "../support/certificates.ts";
import {
  type PythonServer,
  type PythonServerOptions,
  type PythonServerState,
  startPythonServer,
} from "../support/flight_python.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { dipc, serve } from "../support/processes.ts";
import { needsPython } from "../support/python.ts";

const MiB = 2 ** 20;
const needs = [needsPython];

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** Three batches of 100 rows. */
function threeBatches(): Table {
  const parts = [0, 1, 2].map((part) =>
    tableFromArrays({ n: Int32Array.from({ length: 100 }, (_, i) => part * 100 + i) }).batches[0]
  );
  return new Table(parts);
}

async function withServer(
  options: PythonServerOptions,
  run: (client: FlightClient, server: PythonServer, file: string) => Promise<void>,
  clientOptions?: FlightClientOptions,
): Promise<void> {
  using folder = new TemporaryFolder();
  const file = folder.file("n.arrows");
  Deno.writeFileSync(file, tableToIPC(threeBatches(), "stream"));
  await using server = await startPythonServer({ files: { numbers: file }, ...options });
  await using client = await FlightClient.connect(server.location, clientOptions);
  await run(client, server, file);
}

async function state(client: FlightClient): Promise<PythonServerState> {
  for await (const body of client.doAction("state")) return JSON.parse(text(body));
  throw new Error("no answer");
}

async function sum(client: FlightClient, ticket: string): Promise<number> {
  let total = 0;
  await using reader = await client.doGet(ticket);
  for await (const { batch } of reader) for (const n of batch?.getChildAt(0) ?? []) total += Number(n);
  return total;
}

testNeeding(needs, "pyarrow's server answers our client's every call", async () => {
  const described = { files: {}, generated: { made: { batches: 2, bytes: 800 } }, app_metadata: true };
  await withServer(described, async (client, _server, file) => {
    // DoPut: every batch with a number, which the server sends back.
    const dataset = await openPath(file);
    await using writer = await client.doPut({ path: ["up"] }, dataset);
    const run = await dataset.open();
    const results = writer.results();
    for (let number = 0, message; (message = await run.next()) !== null; number++) {
      await writer.write(message, utf8(`batch ${number}`));
      assertEquals(text((await results.next()).value!), `batch ${number}`);
    }
    await run.close();
    await writer.finish();
    await dataset.close();

    const infos = [];
    for await (const info of client.listFlights()) infos.push(info);
    assertEquals(infos.map(({ descriptor }) => descriptor), [{ path: ["made"] }, { path: ["up"] }]);
    assertEquals([infos[0].totalRecords, infos[1].totalRecords], [-1n, 300n]);
    const some = [];
    for await (const info of client.listFlights("up")) some.push(text(info.appMetadata));
    assertEquals(some, ["info of up"]);

    const info = await client.getFlightInfo({ path: "up" });
    assertEquals([text(info.endpoints[0].appMetadata), text(info.endpoints[0].ticket)], ["endpoint of up", "up"]);
    assertGreater((await client.getSchema({ command: "up" })).byteLength, 0);

    const chunks: [number, string | null][] = [];
    await using reader = await client.doGet("up");
    assertEquals(reader.schema.fields.map(String), ["n: Int32"]);
    for await (const { batch, appMetadata } of reader) {
      chunks.push([Number(batch?.getChildAt(0)?.get(0)), appMetadata && text(appMetadata)]);
    }
    assertEquals(chunks, [[0, "0"], [100, "1"], [200, "2"]]);

    const many: string[] = [];
    for await (const body of client.doAction("many", "4")) many.push(text(body));
    assertEquals(many, ["0", "1", "2", "3"]);
    const actions: string[] = [];
    for await (const { type } of client.listActions()) actions.push(type);
    assertEquals(actions, ["echo", "state", "many", "fail"]);

    await runEcho(client);
    // Four batches came in; what ends the exchange is none.
    assertEquals((await state(client)).exchanged, 4);
  });
});

testNeeding(needs, "what pyarrow's server fails with becomes our code, and its own is kept", async () => {
  const expected: Record<string, [code: string, grpc: number]> = {
    internal: ["flight", 13],
    unauthenticated: ["permission_denied", 16],
    unauthorized: ["permission_denied", 7],
    unavailable: ["unreachable", 14],
    cancelled: ["cancelled", 1],
    timeout: ["timeout", 4],
    not_found: ["not_found", 5],
    invalid: ["invalid_argument", 3],
    unimplemented: ["unsupported", 12],
  };
  await withServer({}, async (client) => {
    const found: Record<string, [code: string, grpc: number | undefined]> = {};
    for (const kind of Object.keys(expected)) {
      const error = await assertRejects(
        async () => {
          for await (const _ of client.doAction("fail", kind));
        },
        DipcError,
        `asked to fail as ${kind}`,
      );
      found[kind] = [error.code, error.foreign?.status];
    }
    assertEquals(found, expected);
  });
});

testNeeding(needs, "headers go to pyarrow's server and come back, in plain calls and in streams", async () => {
  await withServer({}, async (client) => {
    const seen: (string | null)[] = [];
    const call = {
      headers: { "x-echo": "there and back" },
      onHeaders: (headers: Headers) => seen.push(headers.get("x-echo")),
    };
    await client.getFlightInfo({ path: "numbers" }, call);
    await using reader = await client.doGet("numbers", call);
    for await (const _ of reader);
    // pyarrow sends it twice if a call has one answer.
    assertEquals(seen.map((value) => value?.split(", ")[0]), ["there and back", "there and back"]);
  });
});

testNeeding(needs, "TLS with pyarrow's server: its authority is required, another one is rejected", async () => {
  const authority = await Authority.create();
  const other = await Authority.create("somebody else");
  const { cert, key } = await authority.issue("server");
  await withServer({ tls: { cert, key } }, async (client, { location }) => {
    assertEquals(await sum(client, "numbers"), 44850);
    for (const tls of [{ ca: other.cert }, {}]) {
      await assertDipcError("unreachable", "", async () => {
        await using stranger = await FlightClient.connect(location, { tls });
        await stranger.getFlightInfo({ path: "numbers" });
      });
    }
    await using anybody = await FlightClient.connect(location, { tls: { insecureSkipVerify: true } });
    assertEquals(await sum(anybody, "numbers"), 44850);
  }, { tls: { ca: authority.cert } });
});

testNeeding(needs, "mutual TLS with pyarrow's server: no client gets in without its certificate", async () => {
  const authority = await Authority.create();
  const server = await authority.issue("server");
  const client = await authority.issue("client");
  const stranger = await (await Authority.create("somebody else")).issue("client");
  const tls = { cert: server.cert, key: server.key, client_ca: authority.cert };
  await withServer({ tls }, async (known, { location }) => {
    assertEquals(await sum(known, "numbers"), 44850);
    // Without a certificate the server ends the connection silently; with another one that can have no other reason.
    for (const [own, code] of [[{}, "unreachable"], [stranger, "permission_denied"]] as const) {
      await assertDipcError(code, "certificate", async () => {
        await using unknown = await FlightClient.connect(location, {
          tls: { ca: authority.cert, ...own },
          timeoutMs: 5000,
        });
        await unknown.getFlightInfo({ path: "numbers" });
      });
    }
  }, { tls: { ca: authority.cert, ...client } });
});

testNeeding(
  needs,
  "basic authentication with pyarrow's server gives a bearer token, which later calls carry",
  async () => {
    const basic = { user: "ada", password: "count:less", token: "a-token" };
    await using server = await startPythonServer({ basic, generated: { made: { batches: 1, bytes: 80 } } });
    await using client = await FlightClient.connect(server.location, { user: "ada", password: "count:less" });
    assertEquals(await sum(client, "made"), 45);
    await using byToken = await FlightClient.connect(server.location, { token: "a-token" });
    assertEquals(await sum(byToken, "made"), 45);
    for (const options of [{ user: "ada", password: "wrong" }, { token: "wrong" }, {}]) {
      const error = await assertDipcError("permission_denied", "", async () => {
        await using stranger = await FlightClient.connect(server.location, options);
        await stranger.getFlightInfo({ path: "made" });
      });
      assertEquals(error.foreign?.status, 16);
    }
  },
);

testNeeding(needs, "batches of 64 MiB and 512 MiB come from pyarrow's server and go to it", async () => {
  const generated = { b64: { batches: 3, bytes: 64 * MiB }, b512: { batches: 1, bytes: 512 * MiB } };
  await withServer({ generated }, async (client) => {
    for (const [name, { batches, bytes }] of Object.entries(generated)) {
      const count = bytes / 8;
      await using reader = await client.doGet(name);
      let found = 0;
      for await (const { batch } of reader) {
        const values = batch!.getChildAt(0)!.toArray() as BigInt64Array;
        assertEquals([values.length, values[0], values[count - 1]], [count, 0n, BigInt(count - 1)]);
        found++;
      }
      assertEquals(found, batches);

      const batch = tableFromArrays({ n: BigInt64Array.from({ length: count }, (_, i) => BigInt(i)) });
      const dataset = await fromTable(batch);
      const path = `up-${name}`;
      await using writer = await client.doPut({ path }, dataset);
      const run = await dataset.open();
      for (let message; (message = await run.next()) !== null;) await writer.write(message);
      await run.close();
      await writer.finish();
      await dataset.close();
      assertEquals((await client.getFlightInfo({ path })).totalRecords, BigInt(count));
    }
  });
});

testNeeding(needs, "a cancelled DoGet ends pyarrow's stream, and the connection goes on", async () => {
  const generated = { endless: { batches: -1, bytes: MiB } };
  await withServer({ generated }, async (client) => {
    {
      await using reader = await client.doGet("endless");
      let batches = 0;
      for await (const _ of reader) if (++batches === 3) break;
    }
    await until(() => state(client), ({ ended }) => ended === 1);

    const stop = new AbortController();
    await using reader = await client.doGet("endless", { signal: stop.signal });
    await assertDipcError("cancelled", "", async () => {
      let batches = 0;
      for await (const _ of reader) if (++batches === 3) stop.abort(new Error("enough"));
    });
    await until(() => state(client), ({ ended }) => ended === 2);
    assertEquals(await sum(client, "numbers"), 44850);
  });
});

testNeeding(needs, "a deadline ends a stream of pyarrow's server that goes on forever", async () => {
  await withServer({ generated: { endless: { batches: -1, bytes: 1024 } } }, async (client) => {
    await assertDipcError("timeout", "", async () => {
      await using reader = await client.doGet("endless", { timeoutMs: 500 });
      for await (const _ of reader);
    });
    await until(() => state(client), ({ ended }) => ended === 1);
  });
});

testNeeding(
  needs,
  "a pyarrow server that dies in the middle of a stream is a lost connection, not an end",
  async () => {
    await withServer({ generated: { endless: { batches: -1, bytes: MiB } } }, async (client, server) => {
      await using reader = await client.doGet("endless");
      let batches = 0;
      const error = await assertRejects(async () => {
        for await (const _ of reader) if (++batches === 3) server.running.kill("SIGKILL");
      }, DipcError);
      assert(batches >= 3, `${batches} batches`);
      assert(["connection_lost", "unreachable"].includes(error.code), `${error.code}: ${error.message}`);
    });
  },
);

testNeeding(
  [...needs, needsUcx],
  "pyarrow's server hands out our ucx: URIs, and dipc get takes the UCX route",
  async () => {
    using folder = new TemporaryFolder();
    Deno.writeFileSync(folder.file("n.arrow"), tableToIPC(threeBatches(), "file"));
    await using ours = await serve([folder.file("n.arrow")]);
    await using split = await serve([folder.file("n.arrow"), "--metadata-port", "0"]);
    const locations = { one: ours.uris("n"), two: split.uris("n") };
    await using server = await startPythonServer({ locations });
    for (const name of Object.keys(locations)) {
      const { code, stdout, stderr } = await dipc(["get", server.location, name, "--json"]);
      assertEquals(code, 0, stderr);
      const line = JSON.parse(stdout);
      assertEquals([line.route, line.rows], ["ucx", 300], stdout);
    }
    await using stream = await connect(server.location, { flight: { path: "one" } });
    assertEquals([(await stream.toTable()).numRows, stream.stats.route], [300, "ucx"]);
    assertEquals(stream.stats.routeReason, "the server offers UCX, and it answered");
  },
);
