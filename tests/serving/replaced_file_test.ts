/** A served file that is replaced, or written to, is served anew by every route; a server that cannot do so says that. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { tableFromArrays, tableToIPC } from "apache-arrow";
import { FlightClient } from "../../flight.ts";
import { connect, DipcError, serve, type Server } from "../../mod.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { dipc, serve as serveProcess } from "../support/processes.ts";
import { delay, until } from "../support/time.ts";

const content = (rows: number): Uint8Array =>
  tableToIPC(tableFromArrays({ [`c${rows}`]: new Int32Array(rows) }), "file");

/** Puts a file of so many rows in the place of another one. */
async function replace(path: string, rows: number): Promise<void> {
  await Deno.writeFile(`${path}.new`, content(rows));
  await Deno.rename(`${path}.new`, path);
}

/** Rows and the name of the column. */
async function fetched(server: Server, route: "ucx" | "flight"): Promise<[number, string]> {
  await using stream = route === "ucx"
    ? await connect(server.datasets[0].uris)
    : await connect(`${server.flight!.location}/a`, { route });
  const table = await stream.toTable();
  return [table.numRows, table.schema.fields[0].name];
}

testNeeding([needsUcx], "a served file that was replaced is served anew, by UCX and by Flight", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.arrow");
  await Deno.writeFile(path, content(10));
  await using server = await serve({ datasets: { a: path }, flight: {} });
  await using client = await FlightClient.connect(server.flight!.location);
  for (const [i, route] of (["ucx", "flight", "flight", "ucx"] as const).entries()) {
    const rows = 100 + i;
    await replace(path, rows);
    if (i % 2 === 1) {
      // Whoever lists flights, or asks about one, sees the new content too.
      const infos = await Array.fromAsync(client.listFlights());
      assertEquals([infos.length, infos[0].totalRecords], [1, BigInt(rows)]);
      assertStringIncludes(new TextDecoder().decode(await client.getSchema({ path: "a" })), `c${rows}`);
    } else {
      assertEquals((await client.getFlightInfo({ path: "a" })).totalRecords, BigInt(rows));
    }
    assertEquals(await fetched(server, route), [rows, `c${rows}`]);
  }
  await Deno.writeFile(path, content(500));
  for (const route of ["ucx", "flight"] as const) {
    const error = await fetched(server, route).catch((thrown) => thrown);
    assertEquals(error instanceof DipcError && error.code, "io", `${error}`);
  }
  assertEquals((await Array.fromAsync(client.listFlights())).length, 1, "the list of flights is there meanwhile");
  await delay(1200);
  for (const route of ["flight", "ucx"] as const) assertEquals(await fetched(server, route), [500, "c500"]);
});

testNeeding([needsUcx], "a server with a port for metadata says that a file has changed", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.arrow");
  await Deno.writeFile(path, content(10));
  await using server = await serve({ datasets: { a: path }, metadataPort: 0 });
  const log: string[] = [];
  server.addEventListener("error", ({ detail: { error } }) => log.push(error!.message));
  assertEquals(await fetched(server, "ucx"), [10, "c10"]);
  await replace(path, 20);
  const error = await fetched(server, "ucx").catch((thrown) => thrown);
  assertEquals(error instanceof DipcError && error.code, "io", `${error}`);
  await until(() => log.join("\n"), (text) => text.includes("start the server again"));
});

testNeeding([needsUcx], "dipc serve serves the file that was renamed over the one that it had opened", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.arrow");
  await Deno.writeFile(path, content(10));
  await using server = await serveProcess([path, "--flight-port", "0"]);
  const { flight } = server.info as { flight?: string };
  for (const [rows, route] of [[20, "ucx"], [30, "flight"]] as const) {
    await replace(path, rows);
    const { code, stdout, stderr } = await dipc(["get", flight!, "a", "--route", route, "--json"]);
    assertEquals([code, JSON.parse(stdout).rows], [0, rows], stderr);
  }
});
