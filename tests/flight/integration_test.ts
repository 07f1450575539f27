/**
 * Arrow's Flight integration tests: every scenario with ours and Arrow's Go as client and as server, all four pairs. The
 * matrix is printed, and is the one in `docs/flight-interop.md`.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { FlightClient } from "../../flight.ts";
import { fetchDefault, runDefault } from "../../tools/flight_integration/default_client.ts";
import { SCENARIOS } from "../../tools/flight_integration/scenarios.ts";
import { runTester, startTester, type Tester } from "./support/testers.ts";
import { goldFolder, needsGold, testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { peers, peerTest } from "../support/peers.ts";
import { PEER_ADVICE } from "../../tools/peers.ts";
import { documentedRows, printTable } from "../support/table.ts";

const DOCUMENT = "docs/flight-interop.md";
/** Scenarios that run concurrently. */
const AT_ONCE = 3;
const TESTERS: readonly Tester[] = ["dipc", "arrow-go"];
/** Client, then server. */
const PAIRS: readonly [Tester, Tester][] = TESTERS.flatMap((server) =>
  TESTERS.map((client): [Tester, Tester] => [client, server])
);
const HEADING = PAIRS.map(([client, server]) => `${client} → ${server}`);
/** What arrow-go's testers do not have. */
const NOT_IN_GO = new Set(["do_exchange:echo"]);

/** An integration file of a few types, with nulls and two batches, so that the default scenario needs no other data. */
const DATA = {
  schema: {
    fields: [
      { name: "number", nullable: true, type: { name: "int", isSigned: true, bitWidth: 32 }, children: [] },
      { name: "text", nullable: true, type: { name: "utf8" }, children: [] },
      {
        name: "list",
        nullable: true,
        type: { name: "list" },
        children: [{
          name: "item",
          nullable: true,
          type: { name: "floatingpoint", precision: "DOUBLE" },
          children: [],
        }],
      },
    ],
    metadata: [{ key: "made by", value: "a test" }],
  },
  batches: [
    {
      count: 3,
      columns: [
        { name: "number", count: 3, VALIDITY: [1, 0, 1], DATA: [-1, 0, 2147483647] },
        { name: "text", count: 3, VALIDITY: [1, 1, 0], OFFSET: [0, 3, 3, 3], DATA: ["å ", "", ""] },
        {
          name: "list",
          count: 3,
          VALIDITY: [1, 0, 1],
          OFFSET: [0, 2, 2, 3],
          children: [{ name: "item", count: 3, VALIDITY: [1, 0, 1], DATA: [0.5, 0, -2] }],
        },
      ],
    },
    {
      count: 1,
      columns: [
        { name: "number", count: 1, VALIDITY: [1], DATA: [7] },
        { name: "text", count: 1, VALIDITY: [1], OFFSET: [0, 1], DATA: ["x"] },
        {
          name: "list",
          count: 1,
          VALIDITY: [1],
          OFFSET: [0, 0],
          children: [{ name: "item", count: 0, VALIDITY: [], DATA: [] }],
        },
      ],
    },
  ],
};

/** Runs some work a few at a time, and keeps the order of its results. */
async function inTurns<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = new Array(items.length);
  const queue = items.entries();
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (const [index, item] of queue) results[index] = await work(item);
  }));
  return results;
}

peerTest(["flightGo"], "every Flight integration scenario passes for every pair of client and server", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("data.json");
  await Deno.writeTextFile(path, JSON.stringify(DATA));
  const failures: string[] = [];
  const rows = await inTurns(SCENARIOS, async (scenario) => {
    const cells: string[] = [scenario === "" ? "(default: DoPut, DoGet)" : scenario];
    for (const server of TESTERS) {
      if (server === "arrow-go" && NOT_IN_GO.has(scenario)) {
        cells.push("not there", "not there");
        continue;
      }
      await using started = await startTester(server, scenario);
      for (const client of TESTERS) {
        if (client === "arrow-go" && NOT_IN_GO.has(scenario)) {
          cells.push("not there");
          continue;
        }
        const { code, stderr } = await runTester(client, scenario, started.port, scenario === "" ? path : "");
        cells.push(code === 0 ? "passes" : "FAILS");
        if (code !== 0) failures.push(`${client} → ${server}, ${scenario}: ${stderr.slice(-2000)}`);
      }
    }
    return cells;
  });
  printTable("Arrow's Flight integration scenarios, client → server", ["scenario", ...HEADING], rows);
  assertEquals(failures, []);
  assertEquals(await documentedRows(DOCUMENT, ["scenario", ...HEADING]), rows);
});

/** Files whose types apache-arrow's reader of integration JSON gets wrong: it takes 256 bits for 128. */
const NOT_READ = new Set(["decimal256"]);
/** Bodies are compressed in the Arrow files beside these, not in the JSON; the JSON says nothing else than others do. */
const GROUPS = ["1.0.0-littleendian", "4.0.0-shareddict"];

function goldJson(): { name: string; path: string }[] {
  return GROUPS.flatMap((group) =>
    [...Deno.readDirSync(`${goldFolder}/${group}`)].filter(({ name }) => name.endsWith(".json.gz")).map(({ name }) => ({
      name: name.replace(/^generated_|\.json\.gz$/g, ""),
      path: `${goldFolder}/${group}/${name}`,
    }))
  ).filter(({ name }) => !NOT_READ.has(name)).sort((a, b) => a.name < b.name ? -1 : 1);
}

/** Our client, in this process; answers what failed, or nothing. */
async function failureOf(port: number, run: (client: FlightClient) => Promise<void>): Promise<string> {
  await using client = await FlightClient.connect(`grpc+tcp://127.0.0.1:${port}`);
  return await run(client).then(() => "", String);
}

const needsGo = { what: "arrow-go's Flight programs", present: peers.flightGo !== null, how: PEER_ADVICE.flightGo };

testNeeding([needsGo, needsGold], "the default scenario passes with the JSON of every gold file", async () => {
  using folder = new TemporaryFolder();
  const failures: string[] = [];
  const rows: string[][] = [];
  await using ours = await startTester("dipc", "");
  await using go = await startTester("arrow-go", "");
  for (const { name, path } of goldJson()) {
    // Go's program does not read gzip.
    const plain = folder.file(`${name}.json`);
    await (await Deno.open(path)).readable.pipeThrough(new DecompressionStream("gzip")).pipeTo(
      (await Deno.create(plain)).writable,
    );
    const cells: string[] = [name];
    for (const [client, server] of PAIRS) {
      const { port } = server === "dipc" ? ours : go;
      let failure = "";
      if (client === "dipc") {
        failure = await failureOf(port, (client) => runDefault(client, { path: plain }));
      } else {
        const { code, stderr } = await runTester(client, "", port, plain);
        // Go's client does not look at what its DoGet comes to; ours fetches what that one has uploaded.
        failure = code !== 0
          ? stderr.slice(0, 1000)
          : await failureOf(port, (client) => fetchDefault(client, { path: plain }));
      }
      cells.push(failure === "" ? "passes" : "FAILS");
      if (failure !== "") failures.push(`${client} → ${server}, ${name}: ${failure}`);
    }
    rows.push(cells);
  }
  printTable("The default scenario with gold files, client → server", ["file", ...HEADING], rows);
  assertEquals(failures, []);
  assertEquals(await documentedRows(DOCUMENT, ["file", ...HEADING]), rows);
});
