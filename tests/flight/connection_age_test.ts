/** A server of arrow-go that ends each connection after a second and takes one call at a time: nothing is lost or doubled. */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { FlightClient } from "../../flight.ts";
import { connect } from "../../mod.ts";
import { countConnections } from "../support/connections.ts";
import { peerTest } from "../support/peers.ts";
import { Running } from "../support/processes.ts";
import { printTable } from "../support/table.ts";

/** How long calls are made: several ages of a connection, in milliseconds. */
const CALLING_MS = 4000;
/** Rows of each ticket; ticket n has those from 100n. */
const ROWS = 100;
/** Longest life of the server, in milliseconds. */
const SERVER_MS = 60_000;

/** Starts the server. */
async function agingServer(path: string): Promise<AsyncDisposable & { location: string }> {
  const child = new Deno.Command(path, { stdin: "null", stdout: "piped", stderr: "piped" }).spawn();
  const running = new Running(child, performance.now(), SERVER_MS);
  const address = await running.firstLine;
  if (address === null) throw new Error(`it did not start: ${(await running.outcome).stderr}`);
  return { location: `grpc://${address}`, [Symbol.asyncDispose]: () => running[Symbol.asyncDispose]() };
}

/** What several callers of one client have seen. */
interface Seen {
  calls: number;
  actions: number;
  /** How often each row has come. */
  readonly rows: Map<number, number>;
  readonly errors: string[];
}

/** Lets callers fetch a ticket each, and run an action, until the time is over. */
async function callFor(client: FlightClient, callers: number): Promise<Seen> {
  const seen: Seen = { calls: 0, actions: 0, rows: new Map(), errors: [] };
  const endMs = performance.now() + CALLING_MS;
  const fetchOne = async (): Promise<void> => {
    await using reader = await client.doGet(`${seen.calls++}`);
    for (const row of (await reader.toTable()).getChild("n")!) {
      seen.rows.set(Number(row), (seen.rows.get(Number(row)) ?? 0) + 1);
    }
  };
  const act = async (): Promise<void> => {
    const body = `${seen.actions++}`;
    const results = await Array.fromAsync(client.doAction("echo", body));
    assertEquals(results.map((result) => new TextDecoder().decode(result)), [body]);
  };
  await Promise.all(Array.from({ length: callers }, async () => {
    while (performance.now() < endMs) {
      for (const call of [fetchOne, act]) await call().catch((error) => seen.errors.push(String(error)));
    }
  }));
  return seen;
}

peerTest(
  ["goPrograms"],
  "each row comes once, and no action fails, from a Go server whose connections last a second and take one call",
  async ({ goPrograms }) => {
    await using server = await agingServer(goPrograms.agingServer);
    using connections = countConnections();
    const callers = [4, 8, 16];
    const found = await Promise.all(callers.map(async (count) => {
      await using client = await FlightClient.connect(server.location);
      return await callFor(client, count);
    }));
    printTable(
      `arrow-go ${goPrograms.version}, connections of 1 s with one stream, ${connections.count} connections in all`,
      ["callers", "DoGet", "actions", "rows", "errors"],
      found.map(({ calls, actions, rows, errors }, i) =>
        [callers[i], calls, actions, rows.size, errors.length].map(String)
      ),
    );
    for (const { calls, actions, rows, errors } of found) {
      assertEquals(errors.slice(0, 3), []);
      assertEquals(rows.size, calls * ROWS);
      assert([...rows.values()].every((count) => count === 1));
      assertGreater(Math.min(calls, actions), 16);
    }
    // Each of the three clients has had several.
    assertGreater(connections.count, 2 * callers.length);
  },
);

peerTest(
  ["goPrograms"],
  "connect reads each row once from all endpoints of a Go server whose connections last a second",
  async ({ goPrograms }) => {
    await using server = await agingServer(goPrograms.agingServer);
    using connections = countConnections();
    const endpoints = 200;
    await using stream = await connect(`${server.location}/${endpoints}`);
    const rows = [...(await stream.toTable()).getChild("n")!].map(Number).sort((a, b) => a - b);
    assertEquals(rows.length, endpoints * ROWS);
    assert(rows.every((row, i) => row === i));
    assertGreater(connections.count, 1);
  },
);
