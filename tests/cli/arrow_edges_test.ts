/** Arrow data of pyarrow that is valid but unusual, and data that is not valid, through every command that reads it. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { fromTable } from "../../src/sources/table.ts";
import { tripsTable } from "../support/cli_data.ts";
import { arrowBytes } from "../support/datasets.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { dipc, type Outcome, serve, startDipc } from "../support/processes.ts";
import { needsPython, runPython } from "../support/python.ts";

const UNFINISHED = /warning: .*ends after message 3 without an end-of-stream marker/;

async function edges(): Promise<TemporaryFolder> {
  const folder = new TemporaryFolder();
  await runPython("arrow_edges.py", [folder.path]);
  return folder;
}

function totals(
  { stdout }: Outcome,
): { rows: number; complete: boolean; warnings: string[]; error?: { code: string } } {
  return JSON.parse(stdout);
}

testNeeding(
  [needsPython],
  "get reads streams that follow each other, a stream without its end, a footer without version",
  async () => {
    using folder = await edges();
    for (const [name, rows] of [["two.arrows", 5], ["no_version.arrow", 3], ["footer.arrow", 3]] as const) {
      const outcome = await dipc(["get", folder.file(name), "--json"]);
      assertEquals(
        [outcome.code, outcome.stderr, totals(outcome).rows, totals(outcome).warnings],
        [0, "", rows, []],
        name,
      );
    }
    const cut = await dipc(["get", folder.file("cut.arrows"), "--json"]);
    assertEquals([cut.code, totals(cut).rows, totals(cut).complete, totals(cut).warnings.length], [0, 6, true, 1]);
    assertMatch(cut.stderr, UNFINISHED);
    const junk = await dipc(["get", folder.file("junk.arrows"), "--json"]);
    assertEquals([junk.code, totals(junk).complete, totals(junk).error?.code], [1, false, "invalid_data"]);
    assertMatch(
      junk.stderr,
      /^error\[invalid_data\]: cannot read what follows the end of stream 1 in ".*junk\.arrows": it is not/,
    );
  },
);

testNeeding(
  [needsUcx, needsPython],
  "serve and put tell of a stream without its end, and the log has why data cannot be read, by either route",
  async () => {
    using folder = await edges();
    await using server = await serve([
      ...["two", "cut", "second_schema"].map((name) => folder.file(`${name}.arrows`)),
      ...["--flight-port", "0", "--allow-put", folder.path],
    ]);
    const flight = server.info.flight!;
    assertEquals(totals(await dipc(["get", server.uri("cut"), "--json"])).rows, 6);
    assertEquals(totals(await dipc(["get", flight, "two", "--route", "flight", "--json"])).rows, 5);
    for (const source of [[server.uri("second_schema")], [flight, "second_schema", "--route", "flight"]]) {
      const outcome = await dipc(["get", ...source, "-o", folder.file("never.csv")]);
      assertEquals(outcome.code, 1);
      assertMatch(
        outcome.stderr,
        /^error\[invalid_data\]: .*reading the dataset failed on the server \(invalid_data\)/,
      );
    }
    const put = await dipc(["put", folder.file("cut.arrows"), flight, "uploaded", "--json"]);
    assertEquals([put.code, totals(put).rows, totals(put).warnings.length], [0, 6, 1]);
    assertMatch(put.stderr, UNFINISHED);
    server.running.kill();
    const { stderr } = await server.running.outcome;
    assertMatch(stderr, /^warning: dataset cut: .*cut\.arrows" ends after message 3 without/m);
    const why = 'cannot read message 2 of ".*second_schema.arrows": a second schema message in one stream';
    for (const place of ["connection \\d+", "Flight, connection \\d+, DoGet"]) {
      assertMatch(stderr, new RegExp(`^error\\[invalid_data\\]: ${place}, dataset second_schema: ${why}`, "m"));
    }
  },
);

testNeeding(
  [needsUcx, needsPython],
  "limits of the reader are options of each command that reads, and errors name them",
  async () => {
    using folder = await edges();
    const file = folder.file("footer.arrow"), long = folder.file("long.arrow");
    await using server = await serve([file, "--flight-port", "0"]);
    await using small = await serve(["--flight-port", "0", "--allow-put", folder.path, "--max-metadata", "100"]);
    const flight = server.info.flight!;
    const refused: [option: string, ...args: string[]][] = [
      ["--max-metadata", "get", file],
      ["--max-metadata", "get", server.uri("footer")],
      ["--max-metadata", "get", flight, "footer", "--route", "flight"],
      ["--max-metadata", "schema", flight, "footer"],
      ["--max-metadata", "put", file, flight],
      ["--max-metadata", "serve", file],
      ["--max-body", "get", file],
      ["--max-rows", "get", file],
    ];
    for (const [option, ...args] of refused) {
      const value = option === "--max-rows" ? "2" : option === "--max-body" ? "8" : "100";
      const { code, stderr } = await dipc([...args, option, value]);
      assertEquals(code, 1, args.join(" "));
      assertMatch(stderr, new RegExp(`^error\\[limit_exceeded\\]: .*; the option for max\\w+ is ${option}$`, "m"));
    }
    const upload = await dipc(["put", file, small.info.flight!]);
    assertMatch(upload.stderr, /^error\[limit_exceeded\]: .*maxMetadataBytes is 100/);
    assertMatch((await dipc(["get", long, "--json"])).stderr, /the limit is 16777216 \(maxMetadataBytes\)/);
    const raised = await dipc(["get", long, "--max-metadata", "32M", "--json"]);
    assertEquals([raised.code, totals(raised).rows], [0, 2]);
  },
);

testNeeding(
  [needsPython],
  "dictionaries that change become one in an Arrow file that pyarrow and Polars read, with the footer's metadata",
  async () => {
    using folder = await edges();
    const names = ["grows", "deltas", "empty_first", "days", "days_lz4", "other_zstd"].map((name) => `${name}.arrows`);
    const sources = [...names, "footer.arrow"].map((name) => folder.file(name));
    const outputs = sources.map((source) => `${source}.out.arrow`);
    for (const [i, source] of sources.entries()) {
      const { code, stderr } = await dipc(["get", source, "-o", outputs[i]]);
      assertEquals([code, stderr], [0, ""], source);
    }
    // What dipc itself encodes, and not only passes on.
    const table = await fromTable(tripsTable());
    for (const format of ["stream", "file"] as const) {
      const path = folder.file(`encoded.${format}`);
      await Deno.writeFile(path, await arrowBytes(table, format));
      (format === "stream" ? sources : outputs).splice(-1, 0, path);
    }
    const found = await runPython("same_rows.py", sources.flatMap((source, i) => [source, outputs[i]])) as {
      readers: Record<string, boolean>;
      types: string[];
      metadata: Record<string, string>;
    }[];
    for (const [i, { readers, types }] of found.entries()) {
      assertEquals(Object.values(readers).every((isSame) => isSame), true, `${sources[i]}: ${JSON.stringify(readers)}`);
      const index = sources[i].includes("other") ? "uint16" : "int32";
      if (sources[i].endsWith(".arrows")) {
        assertEquals(types[0], `dictionary<values=string, indices=${index}, ordered=0>`, sources[i]);
      }
    }
    const metadata = { "made by": "a test", "empty": "" };
    assertEquals(found.at(-1)!.metadata, metadata);
    const schema = await dipc(["schema", outputs.at(-1)!, "--json"]);
    assertEquals(JSON.parse(schema.stdout).footerMetadata, metadata);
    assertStringIncludes((await dipc(["schema", outputs.at(-1)!])).stdout, "footer metadata\n  made by: a test\n");
  },
);

testNeeding(
  [needsUcx, needsPython],
  "what cannot be opened is named, whichever dataset of a command line it is",
  async () => {
    using folder = await edges();
    const outcome = await dipc(["serve", `a=${folder.file("footer.arrow")}`, `b=${folder.file("broken.arrow")}`]);
    assertEquals(outcome.code, 1);
    assertStringIncludes(outcome.stderr, `cannot read "${folder.file("broken.arrow")}"`);
    await using pipe = startDipc(["get", "-", "--json"], { stdin: "piped" });
    await pipe.write(await Deno.readFile(folder.file("two.arrows")));
    await pipe.closeStdin();
    const { code, stdout } = await pipe.outcome;
    assertEquals([code, JSON.parse(stdout).rows], [0, 5]);
  },
);
