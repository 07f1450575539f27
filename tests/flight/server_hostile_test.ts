/** Our Flight server and clients that misbehave: a clear end for each, soon and without memory, and the server goes on. */
import { assertEquals, assertGreater } from "@std/assert";
import { FlightClient, serveFlight } from "../../flight.ts";
import { parseFlightLocation } from "../../src/flight/location.ts";
import { LOADED_MS, until } from "../support/time.ts";
import { Authority } from "../support/certificates.ts";
import { hostileClients } from "./support/hostile_clients.ts";
import { ROOT } from "../support/paths.ts";
import { isAlive, mebibytes, residentBytes } from "../support/proc.ts";
import { startDipc } from "../support/processes.ts";
import { printTable } from "../support/table.ts";

/** Longest time from the start of a case to its end; 2 s and a little are promised. */
const CASE_MS = LOADED_MS;
/** Most growth of the server's memory during a case, in bytes. */
const GROWTH_BYTES = 64 * 2 ** 20;
/** Uploads of more than this are refused. */
const UPLOAD_BYTES = 8 * 2 ** 20;

interface State {
  activeCalls: number;
  blocksOut: number;
  datasets: number;
  errors: string[];
}

/** Runs `work` and answers with the highest resident memory of the process meanwhile. */
async function watched<T>(pid: number, work: () => Promise<T>): Promise<{ result: T; peakBytes: number }> {
  let peakBytes = residentBytes(pid);
  const look = () => {
    // A process that is gone is noticed elsewhere.
    if (isAlive(pid)) peakBytes = Math.max(peakBytes, residentBytes(pid));
  };
  const timer = setInterval(look, 5);
  try {
    const result = await work();
    look();
    return { result, peakBytes };
  } finally {
    clearInterval(timer);
  }
}

Deno.test("every misbehaving Flight client comes to a clear end soon, within 64 MiB, and the server goes on", async () => {
  const settings = {
    limits: { maxUploadBytes: UPLOAD_BYTES, maxCalls: 100, requestTimeoutMs: 2000, idleTimeoutMs: 2000 },
  };
  const program = `${ROOT}/tests/flight/support/server_program.ts`;
  await using running = startDipc([JSON.stringify(settings)], { program, stdin: "piped", timeoutMs: 150_000 });
  const { location } = JSON.parse((await running.firstLine)!);
  const { port } = parseFlightLocation(location);
  const state = async (): Promise<State> => await running.ask("state") as State;
  const settled = (): Promise<State> => until(state, ({ activeCalls }) => activeCalls === 0);
  const fetchWhole = async (): Promise<void> => {
    await using client = await FlightClient.connect(location);
    await using reader = await client.doGet("numbers");
    let batches = 0;
    for await (using _ of batchesOf(reader)) batches++;
    assertEquals(batches, 4);
  };
  for (let i = 0; i < 3; i++) await fetchWhole();
  const before = await settled();

  const rows: string[][] = [];
  const failures: string[] = [];
  for (const { name, ends, run } of hostileClients) {
    const restingBytes = residentBytes(running.pid);
    const started = performance.now();
    const { result, peakBytes } = await watched(running.pid, async () => {
      const late = new Promise<string>((resolve) => setTimeout(() => resolve("nothing"), 2 * CASE_MS));
      return await Promise.race([run(port), late]);
    });
    const milliseconds = performance.now() - started;
    const growth = peakBytes - restingBytes;
    rows.push([name, result.slice(0, 90), `${(milliseconds / 1000).toFixed(2)} s`, mebibytes(growth)]);
    const complain = (what: string) => failures.push(`${name}: ${what}`);
    if (!ends.some((end) => result.startsWith(end))) complain(`expected ${ends.join(" or ")}, got ${result}`);
    if (milliseconds >= CASE_MS) complain(`it took ${milliseconds} ms`);
    if (growth >= GROWTH_BYTES) complain(`memory grew by ${mebibytes(growth)}`);
    if (running.ended) {
      const { code, stderr } = await running.outcome;
      throw new Error(`after "${name}" the server is gone (${code}): ${stderr}`);
    }
  }
  printTable("Flight clients that misbehave", ["client", "ends with", "after", "server's memory"], rows);
  const after = await settled();
  assertEquals([after.activeCalls, after.blocksOut, after.datasets], [0, before.blocksOut, before.datasets]);
  assertEquals(failures, []);
  assertGreater(rows.length, 30);
  await fetchWhole();
});

async function* batchesOf(reader: AsyncIterable<{ batch: Disposable | null }>): AsyncGenerator<Disposable> {
  for await (const { batch } of reader) if (batch !== null) yield batch;
}

Deno.test("a connection that never gets through TLS's handshake is closed in time, and holds no shutdown up", async () => {
  const { cert, key } = await (await Authority.create()).issue("server");
  await using server = await serveFlight({ tls: { cert, key }, limits: { requestTimeoutMs: 500, maxConnections: 2 } });
  const open = () => Deno.connect({ hostname: "127.0.0.1", port: server.port });
  const ended = async (connection: Deno.Conn) => {
    using _ = connection;
    for (const chunk = new Uint8Array(1000); await connection.read(chunk).catch(() => null) !== null;);
  };
  await ended(await open());
  const garbled = await open();
  await garbled.write(new TextEncoder().encode("no handshake\r\n\r\n"));
  await ended(garbled);
  const waiting = [await open(), await open()];
  // One too many, while the others still have their time.
  await ended(await open());
  await server.shutdown({ timeoutMs: 0 });
  await Promise.all(waiting.map(ended));
});
