/** What the documents state and a program can check: flags, exit statuses, fields of JSON, statuses of gRPC, descriptors. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { connect, DipcError, type DipcErrorCode, type DissociatedStreamReader } from "../../mod.ts";
import { commands } from "../../src/cli/commands.ts";
import { errorOfGrpcStatus, GrpcStatus, grpcStatusOf } from "../../src/grpc/status.ts";
import { tripsBytes, writeWideFile } from "../support/cli_data.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { npmFolder, ROOT, TemporaryFolder } from "../support/paths.ts";
import { descriptorCount } from "../support/proc.ts";
import { dipc, type Running, serve, startDipc, startWithFlags } from "../support/processes.ts";

function read(file: string): string {
  return Deno.readTextFileSync(`${ROOT}/${file}`);
}

/** Rows of the table that has this heading, cell by cell. */
function tableOf(file: string, heading: string): string[][] {
  const text = read(file);
  const at = text.search(new RegExp(`^\\| ${heading} *\\|`, "m"));
  assert(at >= 0, `${file} has no table "${heading}"`);
  const lines = text.slice(at).split("\n");
  const end = lines.findIndex((line) => !line.startsWith("|"));
  return lines.slice(2, end).map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
}

/** Names in backquotes. */
function namesIn(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name);
}

/** Deno with exactly these flags. */
function start(flags: readonly string[], args: readonly string[], cwd: string): Running {
  return startWithFlags(["--no-prompt", ...flags], args, cwd);
}

testNeeding([needsUcx], "docs/permissions.md: each command runs with the flags of its row", async () => {
  using folder = new TemporaryFolder();
  Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
  Deno.writeTextFileSync(folder.file("token"), "secret");
  await using server = await serve([folder.file("trips.arrow"), "--flight-port", "0"]);
  const flight = server.info.flight!, uri = server.uri("trips");
  assertEquals((await dipc(["get", uri, "-o", folder.file("trips.parquet")])).code, 0);
  const rows = tableOf("docs/permissions.md", "what");
  const npm = await npmFolder();
  const flagsOf = (what: string, file = "trips.arrow"): string[] => {
    const row = rows.find(([cell]) => cell.includes(what));
    assert(row !== undefined, `no row has ${what}`);
    const [, flags] = row;
    const connectFlags = namesIn(rows[0][1]);
    const own = namesIn(flags).filter((name) => name.startsWith("--"));
    return [...(/^and|as `connect`/.test(flags) ? connectFlags : []), ...own].flatMap((text) => text.split(" ")).map((
      flag,
    ) =>
      flag.replace("HOST:PORT", flight.replace("grpc://", "")).replace(/FILE(,…)?/, file)
        .replace("FOLDER,$HOME/.cache/deno/npm,CLONE", `.,${npm},${ROOT}`).replace("FOLDER", ".")
        .replaceAll("$HOME", Deno.env.get("HOME")!)
    );
  };
  const cases: [string, string[], string?][] = [
    ["`dipc get URI`", ["get", uri]],
    ["`dipc get URI -o -`", ["get", uri, "-o", "-", "--format", "csv"]],
    ["`dipc schema`", ["schema", uri]],
    ["`dipc doctor`", ["doctor"]],
    ["`dipc get URI -o FOLDER/FILE`", ["get", uri, "-o", "out.csv", "--json"]],
    ["`dipc get URI -o FOLDER/FILE`", ["get", uri, "-o", "out.parquet", "--json"]],
    ["`dipc get FILE`", ["get", "trips.arrow"]],
    ["`dipc get FILE`", ["schema", "trips.arrow"]],
    ["with a `grpc:` URI", ["get", `${flight}/trips`]],
    ["with a `grpc:` URI", ["schema", `${flight}/trips`]],
    ["with a `grpc:` URI", ["ls", flight]],
    ["with a `grpc:` URI", ["action", flight, "healthcheck"]],
    ["`dipc setup`", ["setup"]],
    ["`dipc --help`", ["--help"]],
    ["`dipc --help`", ["--version"]],
  ];
  for (const [what, args, file] of cases) {
    const { code, stderr } = await start(flagsOf(what, file), args, folder.path).outcome;
    // With "-o -" the totals go there.
    const errors = args.includes("-") ? stderr.replace(/^3,000 rows in .*\n/, "") : stderr;
    assertEquals([code, errors], [0, ""], `${args} with ${flagsOf(what, file).join(" ")}`);
  }
  const parquet = [...flagsOf("Parquet, read"), "--allow-write=."];
  const read = await start(parquet, ["get", "trips.parquet", "-o", "copy.csv", "--json"], folder.path).outcome;
  assertEquals([read.code, read.stderr], [0, ""]);
  for (const [what, more] of [["`dipc serve FILE…`", []], ["`dipc serve FILE…`", ["--allow-net=127.0.0.1"]]] as const) {
    await using running = start(
      [...flagsOf(what), ...more],
      ["serve", "trips.arrow", ...(more.length > 0 ? ["--flight-port", "0"] : []), "--json"],
      folder.path,
    );
    assertStringIncludes(await running.firstLine ?? "", `"port":`);
  }
});

testNeeding([needsUcx], "docs/command.md: the fields of get --json, and which of them are null", async () => {
  using folder = new TemporaryFolder();
  Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
  await using server = await serve([folder.file("trips.arrow"), "--share"]);
  const example = [...read("docs/command.md").matchAll(/^```json\n([\s\S]*?)^```$/gm)]
    .map(([, text]) => JSON.parse(text)).find((object) => "rows" in object);
  const whole = JSON.parse((await dipc(["get", server.uri("trips"), "-o", folder.file("t.csv"), "--json"])).stdout);
  assertEquals(Object.keys(whole), Object.keys(example));
  assertEquals(Object.keys(whole.endpoints[0]), Object.keys(example.endpoints[0]));
  const nulls = (object: object): string[] =>
    Object.entries(object).filter(([, value]) => value === null).map(([name]) => name);
  assertEquals(nulls(whole), []);
  const rows = tableOf("docs/command.md", "field");
  const documented = rows.flatMap(([names]) => namesIn(names));
  const always = Object.keys(whole);
  assertEquals(always.filter((name) => !documented.includes(name)), [], "fields that the table lacks");
  const extra = [
    "memory",
    "staged",
    "stagingReason",
    "decompressedOnHost",
    "engine",
    "engineReason",
    "limited",
    "outputEngine",
    "error",
  ];
  assertEquals(documented.filter((name) => !always.includes(name)), extra);
  // A cell says "null" for just the fields that are null when nothing came.
  const failed = JSON.parse((await dipc(["get", server.uri("trips").replace("/trips", "/nothing"), "--json"])).stdout);
  const mayBeNull = rows.filter(([, meaning]) => meaning.includes("`null`")).flatMap(([names]) => namesIn(names));
  assertEquals(nulls(failed), mayBeNull);
  const empty = JSON.parse((await dipc(["get", server.uri("trips"), "--limit", "0", "--json"])).stdout);
  assertEquals(nulls(empty), ["firstBatchSeconds"]);
});

testNeeding([needsUcx], "docs/command.md: the fields of serve --json", async () => {
  using folder = new TemporaryFolder();
  Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
  await using server = await serve([folder.file("trips.arrow"), "--flight-port", "0"]);
  const { flight, ...rest } = server.info;
  const example = JSON.parse(/^```json\n([\s\S]*?)^```$/m.exec(read("docs/command.md"))![1]);
  assertEquals(Object.keys(rest), Object.keys(example));
  assertEquals(Object.keys(server.info.datasets[0]), Object.keys(example.datasets[0]));
  assert(flight !== undefined);
});

testNeeding([needsUcx], "the help of every command: the exit statuses are those that it states", async () => {
  using folder = new TemporaryFolder();
  const trips = folder.file("trips.arrow");
  Deno.writeFileSync(trips, tripsBytes("file"));
  for (const { name, help } of commands) {
    const stated = [...help.matchAll(/^ {2}(\d+) +\S/gm)].map(([, status]) => Number(status));
    assertEquals(stated, [0, 1, 2, 130, 141], name);
    assertEquals((await dipc([name, "--help"])).code, 0, name);
    assertEquals((await dipc([name, "--no-such-option"])).code, 2, name);
  }
  const nowhere = "grpc://127.0.0.1:9/x";
  const failing = [["serve", "no-such-file"], ["get", nowhere], ["schema", nowhere], ["ls", nowhere], [
    "action",
    nowhere,
  ]];
  for (const args of [...failing, ["put", trips, nowhere]]) {
    const { code, stderr } = await dipc(args);
    assertEquals(code, 1, `${args}`);
    assert(/^error\[\w+\]: cannot /.test(stderr), stderr);
  }
  using silent = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const uri = `grpc://127.0.0.1:${(silent.addr as Deno.NetAddr).port}`;
  for (const args of [["get", `${uri}/x`], ["schema", `${uri}/x`], ["ls", uri], ["action", uri], ["put", trips, uri]]) {
    await using running = startDipc(args);
    using _connection = await silent.accept(); // it listens to signals by now
    running.kill("SIGINT");
    assertEquals((await running.outcome).code, 130, `${args}`);
  }
  for (const args of [`get ${trips}`, `schema ${trips}`, "get --help", "doctor"]) {
    const { stdout } = await new Deno.Command("bash", {
      args: ["-c", `"$0" run -A -q "${ROOT}/cli.ts" ${args} | true; echo "\${PIPESTATUS[0]}"`, Deno.execPath()],
      stderr: "null",
    }).output();
    assertEquals(new TextDecoder().decode(stdout), "141\n", args);
  }
});

/** `INVALID_ARGUMENT` as `invalidArgument`. */
function statusOf(name: string): number {
  const key = name.toLowerCase().replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
  const status = (GrpcStatus as Readonly<Record<string, number>>)[key];
  assert(status !== undefined, `there is no status ${name}`);
  return status;
}

Deno.test("docs/errors.md: the statuses of gRPC become these codes, and these codes become statuses", () => {
  const [, ...tables] = read("docs/errors.md").split(/^\| status of gRPC/m);
  const rowsOf = (text: string): string[][] =>
    text.split("\n").slice(2).filter((line) => line.startsWith("|")).map((line) =>
      line.split("|").slice(1, -1).map((cell) => cell.trim())
    );
  for (const [names, codes] of rowsOf(tables[0])) {
    const statuses = names.match(/\b[A-Z_]{5,}\b/g) ?? [];
    const expected = namesIn(codes);
    for (const name of statuses) {
      const { code } = errorOfGrpcStatus(statusOf(name), "x", "x");
      assert(expected.includes(code), `${name} becomes ${code}, and not ${codes}`);
    }
  }
  const all = new Set<string>();
  for (const [names, codes] of rowsOf(tables[1])) {
    const statuses = (names.match(/\b[A-Z_]{5,}\b/g) ?? []).map(statusOf);
    for (const code of namesIn(codes)) {
      all.add(code);
      assert(
        statuses.includes(grpcStatusOf(new DipcError(code as DipcErrorCode, "x"))),
        `${code} does not become ${names}`,
      );
    }
  }
  const documented = tableOf("docs/errors.md", "code").flatMap(([code]) => namesIn(code));
  assertEquals([...all].sort(), documented.sort(), "every code has a status");
});

testNeeding([needsUcx], "docs/troubleshooting.md: a connection takes as many file descriptors as stated", async () => {
  const stated = Number(/A connection takes about (\d+) file descriptors/.exec(read("docs/troubleshooting.md"))![1]);
  using folder = new TemporaryFolder();
  writeWideFile(folder.file("wide.arrows"), 64);
  await using server = await serve([folder.file("wide.arrows")]);
  const count = 8;
  const open = async (): Promise<DissociatedStreamReader> => {
    const reader = await connect(server.uri("wide"));
    (await reader.next()).value?.[Symbol.dispose]();
    return reader;
  };
  const readers = [await open()];
  const before = descriptorCount(server.pid);
  for (let i = 0; i < count; i++) readers.push(await open());
  const each = (descriptorCount(server.pid) - before) / count;
  for (const reader of readers) await reader.cancel();
  console.log(`${each} descriptors for each connection, stated are ${stated}`);
  assert(Math.abs(each - stated) <= 3, `${each} for each connection, the document says ${stated}`);
});
