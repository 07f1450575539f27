/**
 * Arrow's own gold files, put to pyarrow's Flight server and to ours by `dipc put`, fetched back by `dipc get` on every
 * way, and compared by pyarrow.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { startPythonServer } from "../support/flight_python.ts";
import { goldFolder, needsGold, needsUcx, testNeeding } from "../support/needs.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { type ServeInfo, startDipc } from "../support/processes.ts";
import { compareByPyarrow, type Comparison, needsPython } from "../support/python.ts";
import { documentedRows, printTable } from "../support/table.ts";

/** Cases in the folder; each as stream and as file. */
const CASES = 27;
/** Processes that run concurrently. */
const AT_ONCE = 2;
/** Longest life of each, in milliseconds. */
const TIMEOUT_MS = 120_000;

/** The ways of a file to a server and back. */
const WAYS = ["pyarrow's server, flight", "dipc's server, flight", "dipc's server, ucx"] as const;
type Way = typeof WAYS[number];
const HEADING = ["case", ...WAYS];

/** The same to pyarrow, in other bytes: uncompressed, say, or with validity bitmaps of its own. */
const REWRITTEN = "equal, bytes differ";

interface Gold {
  /** What the table says. */
  name: string;
  path: string;
  /** What the servers know it by. */
  flight: string;
}

function goldFiles(): Gold[] {
  const files: { name: string; path: string }[] = [];
  for (const group of [...Deno.readDirSync(goldFolder!)].filter((entry) => entry.isDirectory)) {
    for (const { name } of Deno.readDirSync(`${goldFolder}/${group.name}`)) {
      if (!name.endsWith(".stream") && !name.endsWith(".arrow_file")) continue;
      files.push({
        name: `${group.name.replace("-littleendian", "")} ${name.replace("generated_", "")}`,
        path: `${goldFolder}/${group.name}/${name}`,
      });
    }
  }
  files.sort((a, b) => a.name < b.name ? -1 : 1);
  return files.map((file, number) => ({ ...file, flight: `gold-${number}` }));
}

/** What one command came to: its line of `--json`, or what it failed with. */
interface Result {
  error?: { code: string; message: string };
  route?: string;
}

/** Runs commands in a few processes; the results are in the commands' order. */
async function commands(all: readonly string[][]): Promise<Result[]> {
  const size = Math.ceil(all.length / AT_ONCE);
  const parts = Array.from({ length: AT_ONCE }, (_, i) => all.slice(i * size, (i + 1) * size));
  const results = await Promise.all(parts.map(async (part) => {
    const program = `${ROOT}/tests/routes/support/commands_program.ts`;
    const { stdout, stderr } = await startDipc([JSON.stringify(part)], { program, timeoutMs: TIMEOUT_MS }).outcome;
    const lines = stdout.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
    assertEquals(lines.length, part.length, stderr);
    return lines;
  }));
  return results.flat();
}

testNeeding(
  [needsUcx, needsGold, needsPython],
  "all gold files come back whole from pyarrow's Flight server and from ours, by Flight and by UCX",
  async () => {
    const files = goldFiles();
    assertEquals(files.length, 2 * CASES);
    using folder = new TemporaryFolder();
    await using pyarrow = await startPythonServer();
    await using ours = startDipc([JSON.stringify({ datasets: {}, options: { flight: { allowPut: true } } })], {
      program: `${ROOT}/tests/support/server_program.ts`,
      stdin: "piped",
      timeoutMs: TIMEOUT_MS,
    });
    const { flight } = JSON.parse(await ours.firstLine ?? (await ours.outcome).stderr) as ServeInfo;
    const put = (location: string) => files.map(({ path, flight }) => ["put", path, location, flight, "--json"]);
    const [toPyarrow, toOurs] = await Promise.all([commands(put(pyarrow.location)), commands(put(flight!))]);

    const at: Record<Way, [location: string, route: string, puts: Result[]]> = {
      "pyarrow's server, flight": [pyarrow.location, "flight", toPyarrow],
      "dipc's server, flight": [flight!, "flight", toOurs],
      "dipc's server, ucx": [flight!, "ucx", toOurs],
    };
    const found = new Map<Way, string[]>();
    for (const [way, [location, route, puts]] of Object.entries(at) as [Way, typeof at[Way]][]) {
      const target = ({ flight }: Gold) => folder.file(`${flight}-${route}-${puts === toOurs}.arrows`);
      const there = files.filter((_, i) => puts[i].error === undefined);
      const gets = await commands(
        there.map((file) => ["get", location, file.flight, "--route", route, "-o", target(file), "--json"]),
      );
      const whole = there.filter((_, i) => gets[i].error === undefined);
      const compared = await compareByPyarrow(
        whole.map((file) => ({ name: file.name, want: file.path, got: target(file) })),
      );
      const outcome = (file: Gold, i: number): string => {
        if (puts[i].error !== undefined) return `put refused: ${puts[i].error.message}`;
        const get = gets[there.indexOf(file)];
        if (get.error !== undefined) return `get failed: ${get.error.message}`;
        if (get.route !== route) return `went by ${get.route}`;
        return textOf(compared[whole.indexOf(file)]);
      };
      found.set(way, files.map(outcome));
    }
    const rows = tableOf(files, found);
    printTable("Arrow's gold files, put to a Flight server and fetched back, compared by pyarrow", HEADING, rows);
    // pyarrow writes anew what it sends; we send the bytes that came.
    const right = (way: Way, outcome: string) =>
      outcome === "equal" || (way.startsWith("pyarrow") && outcome === REWRITTEN);
    const wrong = WAYS.flatMap((way) =>
      files.map(({ name }, i) => [way, name, found.get(way)![i]] as const).filter(([, , outcome]) =>
        !right(way, outcome)
      )
    );
    assertEquals(wrong, []);
    assertEquals(await documentedRows("docs/flight-interop.md", HEADING), rows);
  },
);

/** One row for each case: its file and its stream, which come to the same unless something is wrong. */
function tableOf(files: readonly Gold[], found: ReadonlyMap<Way, string[]>): string[][] {
  const byCase = Map.groupBy(files.keys(), (index) => files[index].name.replace(/\.\w+$/, ""));
  return [...byCase].map(([name, indices]) => [
    name,
    ...WAYS.map((way) => [...new Set(indices.map((index) => found.get(way)![index]))].join(", ")),
  ]);
}

function textOf({ equal, reason, bytes }: Comparison): string {
  if (!equal) return reason;
  return bytes === "identical" ? "equal" : bytes === "other" ? REWRITTEN : `equal, messages ${bytes}`;
}
