/** The parts of the command that need no server: parsing, names, numbers, messages. */
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { duration, integerOption, parseCommand, UsageError } from "../../src/cli/args.ts";
import { schemaText } from "../../src/cli/schema_text.ts";
import { commands } from "../../src/cli/commands.ts";
import { asFailure, failureLine } from "../../src/cli/failure.ts";
import { formatOf } from "../../src/cli/format.ts";
import { nearest } from "../../src/cli/nearest.ts";
import { countOf, formatBytes, formatRate, formatSeconds } from "../../src/cli/numbers.ts";
import { progressText } from "../../src/cli/progress.ts";
import { namedPath, namedPaths } from "../../src/cli/serve.ts";
import { DipcError } from "../../src/errors.ts";
import { OUTPUT_FORMATS } from "../../src/formats/registry.ts";
import { printable } from "../../src/text.ts";

const get = commands.find(({ name }) => name === "get")!;

Deno.test("cli parser: flags, values, short names and positional arguments in any order", () => {
  const parsed = parseCommand(get, ["ucx://h:1/t", "-o", "-", "--json", "--limit=10", "ticket"]);
  assertEquals(parsed.positional, ["ucx://h:1/t", "ticket"]);
  assertEquals(parsed.values.get("output"), "-");
  assertEquals(parsed.values.get("limit"), "10");
  assert(parsed.flags.has("json"), "--json was not seen");
  assert(!parsed.flags.has("help"), "--help was not given");
});

Deno.test("cli parser: what follows -- is positional, and numbers stay text", () => {
  assertEquals(parseCommand(get, ["--", "--json", "007"]).positional, ["--json", "007"]);
  assertEquals(parseCommand(get, ["1e3"]).positional, ["1e3"]);
});

for (
  const [args, message] of [
    [["--jsno"], "cannot run dipc get: it has no option --jsno; did you mean --json?"],
    [["--time=3s"], "no option --time; did you mean --timeout?"],
    [["--quux"], '"dipc get --help" lists the options'],
    [["-x"], "no option -x"],
    [["--limit"], "cannot use option --limit: it needs a value"],
    [["--limit="], "cannot use option --limit: it needs a value"],
    [["-o", "a.csv", "-o", "b.csv"], "cannot use option -o (--output): it is given 2 times"],
  ] as const
) {
  Deno.test(`cli parser: ${args.join(" ")} is a usage error that says what to do`, () => {
    assertStringIncludes(assertThrows(() => parseCommand(get, args), UsageError).message, message);
  });
}

Deno.test("cli durations: units and bare seconds; nonsense, zero and too long are refused", () => {
  assertEquals(duration("--timeout", "500ms"), 500);
  assertEquals(duration("--timeout", "30s"), 30_000);
  assertEquals(duration("--timeout", "1.5m"), 90_000);
  assertEquals(duration("--timeout", "2h"), 7_200_000);
  assertEquals(duration("--timeout", "3"), 3_000);
  for (const text of ["", "0", "0.0001s", "-1s", "1 s", "5d", "abc", "1e3s", "999999999h"]) {
    assertThrows(() => duration("--timeout", text), UsageError, `it is ${JSON.stringify(text)}; give a length of time`);
  }
});

Deno.test("cli integers: the range is enforced and shown", () => {
  assertEquals(integerOption("--port", "0", 0, 65535), 0);
  assertEquals(integerOption("--port", "65535", 0, 65535), 65535);
  for (const text of ["65536", "-1", "1.5", "0x10", "", "1e3", "٣"]) {
    assertThrows(() => integerOption("--port", text, 0, 65535), UsageError, "from 0 to 65535");
  }
});

Deno.test("cli hints: near words are found, far ones are not", () => {
  const names = commands.map(({ name }) => name);
  assertEquals(nearest("sevre", names), "serve");
  assertEquals(nearest("gte", names), "get");
  assertEquals(nearest("shema", names), "schema");
  assertEquals(nearest("doc", names), "doctor");
  assertEquals(nearest("xyzzy", names), undefined);
  assertEquals(nearest("", names), undefined);
});

Deno.test("cli serve: a dataset's name is given, or the file's name without its extension", () => {
  assertEquals(namedPath("trips.arrow"), { name: "trips", path: "trips.arrow" });
  assertEquals(namedPath("/data/2024.q1.parquet"), { name: "2024.q1", path: "/data/2024.q1.parquet" });
  assertEquals(namedPath("t=/data/x.arrow"), { name: "t", path: "/data/x.arrow" });
  assertEquals(namedPath("./a=b.arrow"), { name: "a=b", path: "./a=b.arrow" });
  assertEquals(namedPath("a=b=c.arrow"), { name: "a", path: "b=c.arrow" });
  assertEquals(namedPath("noextension"), { name: "noextension", path: "noextension" });
  assertEquals(namedPath(".hidden"), { name: ".hidden", path: ".hidden" });
  assertEquals(namedPath("-"), { name: "stdin", path: "-" });
  assertEquals(namedPath("live=-"), { name: "live", path: "-" });
  assertThrows(() => namedPath("=x.arrow"), UsageError, "no name");
  assertThrows(() => namedPath("x="), UsageError, "names no file");
});

Deno.test("cli serve: no file, a name given twice and standard input given twice are usage errors", () => {
  assertThrows(() => namedPaths([]), UsageError, "needs a file");
  assertThrows(
    () => namedPaths(["a/x.arrow", "b/x.parquet"]),
    UsageError,
    'a/x.arrow and b/x.parquet: both have the name "x"',
  );
  assertThrows(() => namedPaths(["a=-", "b=-"]), UsageError, 'standard input ("-") twice');
  assertEquals(namedPaths(["x=a", "y=a"]).length, 2);
});

Deno.test("cli formats: told by the extension, or by --format", () => {
  const expected = { "a.arrows": "arrows", "a.arrow": "arrow", "a.parquet": "parquet", "a.csv": "csv" };
  for (const [path, format] of Object.entries(expected)) assertEquals(formatOf(path, undefined).name, format);
  assertEquals(formatOf("dir.csv/A.NDJSON", undefined).name, "ndjson");
  assertEquals(formatOf("a.jsonl", undefined).name, "ndjson");
  assertEquals(formatOf("a.feather", undefined).name, "arrow");
  assertEquals(formatOf("-", undefined).name, "arrows");
  assertEquals(formatOf("a.csv", "parquet").name, "parquet");
  for (const format of OUTPUT_FORMATS) {
    assertEquals(formatOf("-", format.name), format);
    for (const extension of format.extensions) assertEquals(formatOf(`a.${extension}`, undefined), format);
  }
  assertThrows(() => formatOf("a.txt", undefined), UsageError, "--format");
  assertThrows(() => formatOf("data.csv/noextension", undefined), UsageError, "--format");
  assertThrows(() => formatOf("a.constructor", undefined), UsageError, "--format");
  assertThrows(() => formatOf("a.csv", "parqet"), UsageError, "did you mean parquet?");
});

Deno.test("cli formats: the command's document has a row for each, with its extensions", async () => {
  const text = await Deno.readTextFile(new URL("../../docs/command.md", import.meta.url));
  for (const { name, extensions } of OUTPUT_FORMATS) {
    const row = text.split("\n").find((line) => line.startsWith(`| \`${name}\` `));
    assertEquals(row?.split("|")[2].trim(), extensions.map((extension) => `.${extension}`).join(" "), name);
  }
});

Deno.test("cli numbers: bytes, rates, times and counts read well", () => {
  assertEquals([0, 1, 999, 1000, 1234, 999_499, 999_500, 13_500_000, 1.07e9, 8.5e12].map(formatBytes), [
    "0 B",
    "1 B",
    "999 B",
    "1.00 kB",
    "1.23 kB",
    "999 kB",
    "1.00 MB",
    "13.5 MB",
    "1.07 GB",
    "8.50 TB",
  ]);
  assertEquals(formatRate(4.2e9), "4.20 GB/s");
  assertEquals([0, 1e-7, 5e-6, 9.99e-4, 0.0123, 0.9999, 4.561, 59.999, 125, 3600, 7320].map(formatSeconds), [
    "0 s",
    "1 µs",
    "5 µs",
    "999 µs",
    "12.3 ms",
    "1.00 s",
    "4.56 s",
    "1 min 00 s",
    "2 min 05 s",
    "1 h 00 min",
    "2 h 02 min",
  ]);
  assertEquals(countOf(1, "row"), "1 row");
  assertEquals(countOf(3_000_000, "row"), "3,000,000 rows");
  assertEquals(countOf(2, "batch", "batches"), "2 batches");
  assertEquals(progressText({ rows: 65536, bodyBytes: 1e6 }, 2e6, 0.5), "65,536 rows, 1.00 MB, 2.00 MB/s, 500 ms");
});

Deno.test("cli output: control characters of a peer never reach the terminal", () => {
  assertEquals(printable("a\x1b[31mb\x07c\n\td\u202ee"), "a\\u001b[31mb\\u0007c d\\u202ee");
  assertEquals(printable("naïve 🎉 日本"), "naïve 🎉 日本");
  const line = failureLine({ code: "protocol", message: "one\x1b]0;x\x07\ntwo" });
  assertEquals(line, "error[protocol]: one\\u001b]0;x\\u0007\n  two\n");
});

Deno.test("cli failures: every kind of error gets a code of the list and an exit status", () => {
  assertEquals(asFailure(new UsageError("x")).status, 2);
  assertEquals(asFailure(new DipcError("invalid_uri", "x")).status, 2);
  assertEquals(asFailure(new DipcError("timeout", "x")), { code: "timeout", message: "x", status: 1 });
  const denied = new Deno.errors.NotCapable('Requires read access to "/x", run again with the --allow-read flag');
  assertEquals(asFailure(denied).code, "permission_denied");
  assertMatch(asFailure(denied).message, /--allow-read=\/x$/);
  const ffi = new Deno.errors.NotCapable("Requires ffi access, run again with the --allow-ffi flag");
  assertMatch(asFailure(ffi).message, /--allow-ffi$/);
  const inside = asFailure(new DipcError("io", `cannot do it: ${denied.message}; it needs that`));
  assertEquals(inside.code, "permission_denied");
  assertMatch(
    inside.message,
    /^cannot do it: Deno denied read access to "\/x", run again with --allow-read=\/x; it needs that$/,
  );
  assertEquals(asFailure(new Deno.errors.NotFound("x")).code, "not_found");
  assertEquals(asFailure(new Deno.errors.PermissionDenied("x")).code, "permission_denied");
  assertEquals(asFailure(new TypeError("x")).code, "internal");
  assertEquals(asFailure("x").code, "internal");
});

Deno.test("cli help: every command explains each of its options, examples and exit statuses", () => {
  for (const command of commands) {
    for (const option of [...command.flags, ...command.values]) assertStringIncludes(command.help, `--${option}`);
    assertStringIncludes(command.help, "Example");
    assertStringIncludes(command.help, "130  ended by Ctrl-C");
    const longest = Math.max(...command.help.split("\n").map((line) => line.length));
    assert(longest <= 120, `help of ${command.name} has a line of ${longest} characters`);
  }
});

Deno.test("the schema of very many columns, and very much metadata, is shown", () => {
  const many = 200_000;
  const metadata = Object.fromEntries(Array.from({ length: many }, (_, i) => [`key ${i}`, "x"]));
  const field = { type: "int8", nullable: true, metadata: {}, children: [], dictionary: false };
  const fields = Array.from({ length: many }, (_, i) => ({ ...field, name: `c${i}` }));
  fields[0].metadata = metadata;
  const lines = schemaText({ fields, metadata, endianness: "little" }).split("\n");
  assertEquals(lines.length, 1 + many + many + 1 + many + 1);
  assertEquals([lines[1], lines.at(-2)], ["  c0       int8", `  key ${many - 1}: x`]);
});
