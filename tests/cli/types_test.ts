/** What `dipc get` does with types that apache-arrow cannot read, and how `--limit` cuts every type; checked by pyarrow. */
import { assertEquals, assertLess, assertMatch, assertStringIncludes } from "@std/assert";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { dipc, serve } from "../support/processes.ts";
import { needsPython, runPython } from "../support/python.ts";

testNeeding(
  [needsUcx, needsPython],
  "columns that JavaScript cannot read: shown as schema, written as Arrow",
  async () => {
    using folder = new TemporaryFolder();
    const path = folder.file("all.arrows");
    await runPython("cli_types.py", ["write", path]);
    await using server = await serve([path]);
    const uri = server.uri("all");

    const shown = await dipc(["get", uri]);
    assertEquals([shown.code, shown.stderr], [0, ""]);
    assertMatch(shown.stdout, /^ {2}runs +run_end_encoded</m);
    assertMatch(shown.stdout, /^No rows are shown: .*(list_view|run_end_encoded)/m);
    assertStringIncludes(shown.stdout, "1,000 rows in 1 batch");

    for (const format of ["csv", "ndjson", "parquet"]) {
      const target = folder.file(`x.${format}`);
      const outcome = await dipc(["get", uri, "-o", target]);
      assertEquals(outcome.code, 1, format);
      assertMatch(outcome.stderr, /^error\[unsupported\]: .*"\w+".*/, format);
      assertMatch(outcome.stderr, /list_view|run_end_encoded|union|map|string_view|decimal/, format);
    }
    assertEquals([...Deno.readDirSync(folder.path)].map(({ name }) => name), ["all.arrows"]);

    for (const target of [folder.file("y.arrows"), folder.file("y.arrow")]) {
      assertEquals((await dipc(["get", uri, "-o", target])).code, 0);
      const found = await runPython("cli_types.py", ["check", path, target, "1000"]);
      assertEquals(found, { rows: 1000, wrong: [], schema: true });
    }
  },
);

for (const codec of ["none", "lz4", "zstd"]) {
  testNeeding([needsUcx, needsPython], `--limit cuts a batch of every type, compression ${codec}`, async () => {
    using folder = new TemporaryFolder();
    const path = folder.file("all.arrows");
    await runPython("cli_types.py", codec === "none" ? ["write", path] : ["write", path, codec]);
    await using server = await serve([path]);
    for (const rows of [1, 7, 8, 333, 999]) {
      const target = folder.file(`first-${rows}.${rows % 2 === 0 ? "arrow" : "arrows"}`);
      const outcome = await dipc(["get", server.uri("all"), "--limit", String(rows), "-o", target, "--json"]);
      assertEquals([outcome.code, outcome.stderr], [0, ""]);
      assertEquals(JSON.parse(outcome.stdout).limited, true);
      const found = await runPython("cli_types.py", ["check", path, target, String(rows)]);
      assertEquals(found, { rows, wrong: [], schema: true }, `${rows} rows`);
    }
    if (codec === "none") {
      // What was cut off must not be in the file.
      assertLess(Deno.statSync(folder.file("first-7.arrows")).size, Deno.statSync(path).size / 2);
    }
  });
}
