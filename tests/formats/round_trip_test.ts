/** What dipc writes, dipc reads: random tables of every Arrow type in every format, and from each format in another one. */
import { assert, assertEquals } from "@std/assert";
import { tableToIPC } from "apache-arrow";
import { OUTPUT_FORMATS } from "../../src/formats/registry.ts";
import { arrowStream } from "../../src/sources/arrow_stream.ts";
import { printTable } from "../support/table.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { seed } from "../support/random.ts";
import { rawTable } from "../support/raw_values.ts";
import { roundTrip, type Tally } from "../support/round_trip.ts";
import { tripsTable } from "../support/cli_data.ts";

/** Random tables; `deno task round-trips` makes as many as are requested. */
const TABLES = 40;

Deno.test("random tables of every type are the same in each format, or refused by name", async () => {
  console.log(`DIPC_SEED=${seed}`);
  using folder = new TemporaryFolder();
  const tally: Tally = new Map();
  for (let i = 0; i < TABLES; i++) await roundTrip(seed + i, folder, tally, OUTPUT_FORMATS);
  printTable("Round trips", ["step", "tables"], [...tally].sort().map(([step, count]) => [step, `${count}`]));
  assertEquals(tally.get("arrows: equal"), TABLES);
  assert(tally.get("arrow: equal")! > 0.9 * TABLES, "most tables fit into an Arrow file");
});

Deno.test("the reader of the round trips finds the values that apache-arrow has written", async () => {
  const table = tripsTable();
  const { names, rows, columns } = await rawTable(await arrowStream(new Blob([tableToIPC(table).slice()]).stream()));
  assertEquals([names, rows], [["id", "fare", "zone"], table.numRows]);
  const [id, fare, zone] = [0, 1, 2].map((i) => [...table.getChildAt(i)!]);
  assertEquals(columns, [id.map(String), fare, zone.map((text) => text === null ? null : `"${text}"`)]);
});
