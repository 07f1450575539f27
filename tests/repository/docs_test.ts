/**
 * Every code block of the README, of `docs/` and of the examples' README runs, and so does every example in the JSDoc of the
 * public modules. Blocks marked `ignore` are listed here with the reason.
 */
import { assert, assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import { tableToIPC } from "apache-arrow";
import { serve as serveData, type Server } from "../../mod.ts";
import { commands, overview } from "../../src/cli/commands.ts";
import { PEER_ADVICE } from "../../tools/peers.ts";
import { cuda, type CudaForTests, needsCuda } from "../support/cuda_sim.ts";
import { tripsTable } from "../support/cli_data.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { npmFolder, ROOT, TemporaryFolder } from "../support/paths.ts";
import { dipc, serve } from "../support/processes.ts";
import { type SqlServer, sqlServer } from "../flight_sql/support/sql_server.ts";
import { peers } from "../support/peers.ts";
import { needsPackages, needsPython, python } from "../support/python.ts";

/** Blocks that cannot run in a test, by a piece of their text. */
const IGNORED: Readonly<Record<string, string>> = {
  "dipc setup duckdb": "downloads, as the setup of the tests does",
  "postgresql://localhost/db": "needs a database; tests/cli/duckdb_test.ts does it",
  "task demo": "fetches packages, and runs these tests",
  "task bench": "takes minutes",
  "task gpu:kit": "takes minutes",
  "this finding does not hold any more": "shows the form of a file; names no package",
  "tools/gpu_suite.sh": "takes minutes; its parts are tests of their own",
  "deno install -g": "needs the registry",
  "deno compile": "tested by tests/cli/compile_test.ts",
  "--advertise my-host": "needs a second machine",
  "pip install": "needs the registry; the packages are those of tests/python/requirements.txt",
  "dipc sql grpc://127.0.0.1:31337": "needs a server by others; tested by tests/flight_sql/command_test.ts",
  "--flight-port 8815": "needs a port of its own; tested by tests/cli/flight_serve_test.ts",
  "--trace trace.json": "needs a port of its own; tested by tests/telemetry/chrome_trace_test.ts",
  "OTEL_DENO=true": "needs a collector",
  "--metadata-port 13338": "needs a port of its own; tested by tests/cli/get_test.ts",
};

interface Block {
  readonly file: string;
  readonly language: string;
  readonly ignored: boolean;
  readonly code: string;
}

function blocksOf(file: string): Block[] {
  const text = Deno.readTextFileSync(`${ROOT}/${file}`);
  return [...text.matchAll(/^```(\w+)( ignore)?\n([\s\S]*?)^```$/gm)].map(([, language, ignored, code]) => ({
    file,
    language,
    ignored: ignored !== undefined,
    code,
  }));
}

function documents(): string[] {
  const docs = [...Deno.readDirSync(`${ROOT}/docs`)].map(({ name }) => name).filter((name) => name.endsWith(".md"));
  const inFolders = ["docs/measurements/gpu/README.md", "findings/README.md"];
  return ["README.md", "examples/README.md", ...docs.sort().map((name) => `docs/${name}`), ...inFolders];
}

/** The document whose programs need a GPU: they run on the simulated driver, or have only their types checked. */
const DEVICE_DOCUMENT = "docs/device-memory.md";

/** What the blocks find: files to serve, and a server whose URI takes the place of the one in the text. */
class Stage implements AsyncDisposable {
  readonly folder = new TemporaryFolder();
  #server: Awaited<ReturnType<typeof serve>> | null = null;
  #flight: Server | null = null;
  #sql: SqlServer | null = null;
  #npm = "";

  static async open(): Promise<Stage> {
    const stage = new Stage();
    const table = tripsTable();
    for (const name of ["flights", "trips"]) {
      Deno.writeFileSync(stage.folder.file(`${name}.arrow`), tableToIPC(table, "file"));
      Deno.writeFileSync(stage.folder.file(`${name}.arrows`), tableToIPC(table, "stream"));
    }
    stage.#server = await serve([stage.folder.file("flights.arrow"), stage.folder.file("trips.arrow")]);
    for (const name of ["flights", "trips"]) {
      const outcome = await dipc(["get", stage.#server.uri(name), "-o", stage.folder.file(`${name}.parquet`)]);
      assertEquals([outcome.code, outcome.stderr], [0, ""]);
    }
    stage.#flight = await serveData({ datasets: { flights: table, trips: table }, flight: { port: 0 } });
    stage.#npm = await npmFolder();
    // As a user's project: the package by its name, here by a link.
    Deno.writeTextFileSync(
      stage.folder.file("deno.json"),
      JSON.stringify({
        imports: { "@arrow-ucx/dipc": "jsr:@arrow-ucx/dipc@^0.1.0", "apache-arrow": "npm:apache-arrow@21.2.0" },
        links: [ROOT, `${ROOT}/tools/std/cli`],
      }),
    );
    return stage;
  }

  get uri(): string {
    return this.#server!.uri("flights");
  }

  /** Runs a program as its own process. */
  async run(
    command: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<{ code: number; text: string }> {
    const { code, stdout, stderr } = await new Deno.Command(command, {
      args: [...args],
      cwd: this.folder.path,
      env: { NO_COLOR: "1", URI: this.uri, ROOT, DENO: Deno.execPath(), NPM: this.#npm, ...env },
      stdin: "null",
      signal: AbortSignal.timeout(90_000),
    }).output();
    const decoder = new TextDecoder();
    return { code, text: decoder.decode(stdout) + decoder.decode(stderr) };
  }

  /** Checks the types of TypeScript blocks, all at once. */
  async checkTypes(blocks: readonly string[]): Promise<void> {
    const paths = blocks.map((_, i) => this.folder.file(`check-${i}.ts`));
    blocks.forEach((code, i) => Deno.writeTextFileSync(paths[i], code));
    const { code, text } = await this.run(Deno.execPath(), ["check", "--no-lock", ...paths]);
    assertEquals(code, 0, text);
  }

  /** Runs a TypeScript block with the permissions of the documentation. */
  async runTypeScript(code: string, driver?: CudaForTests): Promise<{ code: number; text: string }> {
    if (isFlightSql(code)) this.#sql ??= await sqlServer({ tables: { flights: this.folder.file("flights.arrow") } });
    const path = this.folder.file(`block-${crypto.randomUUID()}.ts`);
    Deno.writeTextFileSync(
      path,
      code.replaceAll("grpc://127.0.0.1:8815", this.#flight!.flight!.location)
        .replaceAll("grpc://127.0.0.1:31337", this.#sql?.location ?? ""),
    );
    const names = `${driver === undefined ? "" : "DIPC_LIBCUDA,"}${isAdbc(code) ? "ADBC_DRIVER_PATH," : ""}`;
    const env = `--allow-env=${names}DIPC_LIBUCP,HOME,XDG_CACHE_HOME`;
    const flags = ["--no-lock", "--no-prompt", "--allow-ffi", env, "--allow-write=."];
    const folder = isAdbc(code) ? peers.adbc!.sqlite.replace(/\/[^/]*$/, "") : "";
    if (/flight: \{|\/flight"|grpc:/.test(code)) flags.push("--allow-net=127.0.0.1");
    // Setup looks everywhere for libucp, and finds it, so that it has nothing to fetch.
    flags.push(
      code.includes("@arrow-ucx/dipc/setup")
        ? "--allow-read"
        : `--allow-read=.,${this.#npm},${ROOT}${folder && `,${folder}`}`,
    );
    const variables = { ...driver?.env, ...(folder === "" ? {} : { ADBC_DRIVER_PATH: folder }) };
    return await this.run(Deno.execPath(), ["run", ...flags, path, this.uri], variables);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    await this.#flight?.[Symbol.asyncDispose]();
    await this.#sql?.[Symbol.asyncDispose]();
    this.folder[Symbol.dispose]();
  }
}

testNeeding([needsUcx], "every TypeScript block of the documents runs in a project of its own", async () => {
  await using stage = await Stage.open();
  const blocks = documents().flatMap(blocksOf).filter(({ language }) => language === "ts");
  await stage.checkTypes(blocks.map(({ code }) => code));
  let count = 0;
  for (const block of blocks) {
    assert(!block.ignored, `${block.file} has a ts block that is not run`);
    const outcome = await runOf(stage, block.file, block.code, block.file === DEVICE_DOCUMENT);
    if (outcome === null) continue;
    assertEquals(outcome.code, 0, `${block.file}:\n${block.code}\n${outcome.text}`);
    count++;
  }
  assertGreater(count, 3);
});

/** Whether a program needs a database. */
function isAdbc(code: string): boolean {
  return code.includes("@arrow-ucx/dipc/adbc");
}

/** Whether a program needs a server of Flight SQL. */
function isFlightSql(code: string): boolean {
  return code.includes("@arrow-ucx/dipc/flight-sql");
}

/** Runs a program, on the simulated driver if it needs a GPU; `null` without what it needs, after saying so. */
async function runOf(
  stage: Stage,
  file: string,
  code: string,
  needsDevice: boolean,
): Promise<{ code: number; text: string } | null> {
  if (isAdbc(code) && peers.adbc === null) {
    console.log(`SKIPPED a program of ${file}: ${PEER_ADVICE.adbc} is missing`);
    return null;
  }
  if (isFlightSql(code) && peers.duckdb === null) {
    console.log(`SKIPPED a program of ${file}: ${PEER_ADVICE.duckdb} is missing`);
    return null;
  }
  if (!needsDevice) return await stage.runTypeScript(code);
  if (cuda !== null) return await stage.runTypeScript(givingBack(code), cuda);
  console.log(`SKIPPED a program of ${file}: ${needsCuda.what} is missing`);
  return null;
}

/** The program, giving the GPU back at its end: the simulated driver reports what a program leaves behind. */
function givingBack(code: string): string {
  return `${code.replace(/^await using/gm, "  await using").replace(/^((?:import .*\n)+)/, "$1{\n")}}\n` +
    'import { releaseDevices } from "@arrow-ucx/dipc/cuda";\nawait releaseDevices();\n';
}

testNeeding([needsUcx], "the README's example prints its rows", async () => {
  await using stage = await Stage.open();
  const [example] = blocksOf("README.md");
  assertEquals(example.code.trim().split("\n").filter((line) => line !== "").length, 5);
  const { text } = await stage.runTypeScript(example.code);
  assertStringIncludes(text, "1000 rows\n1000 rows\n1000 rows\n");
  assertStringIncludes(text, "complete: true");
});

testNeeding([needsUcx], "every shell block of the documents runs", async () => {
  let count = 0;
  for (const block of documents().flatMap(blocksOf).filter(({ language }) => language === "sh")) {
    if (block.ignored) {
      assert(
        Object.keys(IGNORED).some((text) => block.code.includes(text)),
        `${block.file} has a block that is not run, for no known reason:\n${block.code}`,
      );
      continue;
    }
    if (block.code.includes("pyarrow") && !needsPython.present) {
      console.log(`SKIPPED a block of ${block.file}: ${needsPython.what} is missing`);
      continue;
    }
    if (/duckdb:|dipc query/.test(block.code) && peers.duckdb === null) {
      console.log(`SKIPPED a block of ${block.file}: ${PEER_ADVICE.duckdb} is missing`);
      continue;
    }
    if (block.code.includes("adbc:") && peers.adbc === null) {
      console.log(`SKIPPED a block of ${block.file}: ${PEER_ADVICE.adbc} is missing`);
      continue;
    }
    await using stage = await Stage.open();
    const { code, text } = await stage.run("bash", ["-c", shellScript(block.code)]);
    assertEquals(code, 0, `${block.file}:\n${block.code}\n${text}`);
    count++;
  }
  assertGreater(count, 3);
});

/** The line with which a reader of the documents makes the command. */
function commandAlias(): string {
  return /^alias dipc='.*'$/m.exec(Deno.readTextFileSync(`${ROOT}/docs/command.md`))![0];
}

/** The function that does what an alias does, with the programs of this test. */
function shellFunction(alias: string): string {
  const command = alias.replace(/^alias dipc='(.*)'$/, "$1").replace("--no-prompt ", "")
    .replace("deno run", '"$DENO" run --config "$ROOT/deno.json" --no-prompt').replace(" cli.ts", ' "$ROOT/cli.ts"')
    // What is written for the folder of the clone holds for that of the test, and Deno's cache may be elsewhere.
    .replace("=.,", "=.,$ROOT,").replace("$HOME/.cache/deno/npm", "$NPM");
  return `dipc() { ${command} "$@"; }`;
}

/**
 * Makes a script of a block: programs are found wherever they are, permissions stay as they are written, and servers run
 * for a moment in the background, because they would never end.
 */
function shellScript(code: string): string {
  const lines = code.replace(/\\\n\s*/g, " ").split("\n").map((line) => {
    const program = line
      .replace(/^URI=.*/, ": # set already")
      .replace("ucx://127.0.0.1:…", "$URI")
      .replace("--no-prompt ", "")
      .replace(/'\$URI'/g, '"$URI"')
      .replace("adbc:adbc_driver_sqlite", `adbc:${peers.adbc?.sqlite}`)
      .replace("python3 -c", `"${python ?? "python3"}" -c`)
      .replace(/deno run/g, '"$DENO" run --config "$ROOT/deno.json" --no-prompt')
      .replace(/ (cli\.ts|examples\/\w+\.ts)/g, ' "$ROOT/$1"');
    if (/^alias dipc=/.test(program)) return shellFunction(line);
    if (/^dipc serve|examples\/serve\.ts/.test(program)) {
      return `${
        program.replace(/ +#.*$/, "")
      } > server.txt & until grep -q ucx: server.txt; do sleep 0.1; done; kill -- -$!`;
    }
    return program;
  });
  // With -m each background job is a process group of its own, so that all of it can be ended.
  return `set -euo pipefail -m
${shellFunction(commandAlias())}
${lines.join("\n")}`;
}

testNeeding(
  [needsUcx, needsPackages("pyarrow", "polars", "duckdb")],
  "every Python block of the documents runs against dipc serve",
  async () => {
    await using stage = await Stage.open();
    Deno.mkdirSync(stage.folder.file("uploads"));
    const flight = ["--flight-port", "0", "--allow-put", stage.folder.file("uploads")];
    await using server = await serve([stage.folder.file("flights.parquet"), ...flight]);
    const printed: string[] = [];
    for (const { file, code } of documents().flatMap(blocksOf).filter(({ language }) => language === "python")) {
      const program = code.replaceAll("grpc://127.0.0.1:8815", server.info.flight!);
      const outcome = await stage.run(python!, ["-c", program]);
      assertEquals(outcome.code, 0, `${file}:\n${code}\n${outcome.text}`);
      printed.push(outcome.text);
    }
    const all = printed.join("");
    for (const text of ["[b'flights'] 3000 rows", "id: int32", "3 rows", "count_star()", "749.75"]) {
      assertStringIncludes(all, text);
    }
    assertGreater(printed.length, 4);
  },
);

testNeeding([needsUcx], "every example in the JSDoc of the public modules runs", async () => {
  await using stage = await Stage.open();
  const files = new Set<string>();
  for (
    const entry of [
      "mod.ts",
      "cuda.ts",
      "flight.ts",
      "flight_sql.ts",
      "adbc.ts",
      "duckdb.ts",
      "cli.ts",
      "src/setup.ts",
      "src/wire/transport.ts",
    ]
  ) {
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["info", "--json", `${ROOT}/${entry}`],
      stderr: "null",
    }).output();
    for (const { specifier } of JSON.parse(new TextDecoder().decode(stdout)).modules) {
      if (specifier.startsWith(`file://${ROOT}/`)) files.add(specifier.slice(`file://${ROOT}/`.length));
    }
  }
  let count = 0;
  const left: string[] = [];
  for (const file of [...files].sort()) {
    const text = Deno.readTextFileSync(`${ROOT}/${file}`);
    for (const [, comment] of text.matchAll(/^ *\/\*\*\n([\s\S]*?)\*\/$/gm)) {
      const plain = comment.replace(/^ *\* ?/gm, "");
      for (const [, code] of plain.matchAll(/^```ts[^\n]*\n([\s\S]*?)^```/gm)) {
        // Those of inner modules are sketches for readers of the code, and name no package.
        if (!code.includes('from "@arrow-ucx/dipc') && !file.startsWith("src/sources/")) {
          left.push(file);
          continue;
        }
        const outcome = await runOf(stage, file, completed(code), code.includes("@arrow-ucx/dipc/cuda"));
        if (outcome === null) continue;
        assertEquals(outcome.code, 0, `${file}:\n${code}\n${outcome.text}`);
        count++;
      }
    }
  }
  console.log(
    `${count} examples ran; sketches in inner modules, not run: ${left.length} (${[...new Set(left)].join(", ")})`,
  );
  assertGreater(count, 8);
});

/** Imports what an example takes for granted, and keeps it off the network. */
function completed(code: string): string {
  const names = (from: string, list: readonly string[]): string => {
    const used = list.filter((name) => new RegExp(`\\b${name}\\(`).test(code) && !code.includes(" from "));
    return used.length === 0 ? "" : `import { ${used.join(", ")} } from "${from}";\n`;
  };
  const dipc = ["arrowFile", "arrowStream", "connect", "fromBatches", "fromTable", "openPath", "parquetFile", "serve"];
  let preamble = names("@arrow-ucx/dipc", dipc) + names("apache-arrow", ["tableFromArrays"]);
  if (code.includes("nextBatch()")) {
    preamble += 'import { tableFromArrays } from "apache-arrow";\n' +
      "const { schema, batches } = tableFromArrays({ n: [1] });\nconst nextBatch = () => Promise.resolve(batches[0]);\n";
  }
  return preamble +
    code.replace(/fetch\("https:\/\/example\.org\/([\w.]+)"\)/, 'new Response(Deno.readFileSync("$1") as BodyInit)');
}

Deno.test("the command's document shows each help as it is, and the exit statuses once", () => {
  const texts = blocksOf("docs/command.md").filter(({ language }) => language === "text").map(({ code }) => code);
  const withoutStatuses = commands.map(({ help }) => help.replace(/\nExit status\n[^]*$/, ""));
  assertEquals(texts, [overview, ...withoutStatuses]);
});

Deno.test("JSON in the command's document is JSON, with the fields that it has", () => {
  const objects = blocksOf("docs/command.md").filter(({ language }) => language === "json").map(({ code }) =>
    JSON.parse(code)
  );
  assertEquals(objects.length, 2);
  assertEquals(Object.keys(objects[0]), ["pid", "address", "port", "datasets"]);
  assert("firstBatchSeconds" in objects[1], JSON.stringify(objects[1]));
});

Deno.test("no document shows a want_data as if it could be typed: servers draw a new one at every start", () => {
  const values = [...documents(), "examples/serve.ts", "mod.ts", "src/connect.ts", "src/cli/commands.ts"].flatMap((
    file,
  ) =>
    [...Deno.readTextFileSync(`${ROOT}/${file}`).matchAll(/[^\s"'`]*want_data=\d+/g)].map(([uri]) => `${file}: ${uri}`)
  );
  assertEquals(values, [
    // What a server printed, and what a program receives from one.
    "docs/command.md: ucx://127.0.0.1:13337/trips?want_data=6293747189528801011",
    "docs/command.md: ucx://127.0.0.1:13337/trips?want_data=6293747189528801011",
    // Nobody listens there, which is what the example shows.
    "docs/errors.md: ucx://127.0.0.1:9/flights?want_data=1",
  ]);
});

Deno.test("every error code is documented, and no other", () => {
  const source = Deno.readTextFileSync(`${ROOT}/src/errors.ts`);
  const codes = [...source.slice(source.indexOf("export type DipcErrorCode")).split(";")[0].matchAll(/"(\w+)"/g)];
  const documented = [...Deno.readTextFileSync(`${ROOT}/docs/errors.md`).matchAll(/^\| `(\w+)` +\|/gm)];
  assertEquals(documented.map(([, code]) => code), codes.map(([, code]) => code));
});

Deno.test("every value that the package exports stands in a document", async () => {
  const { exports } = JSON.parse(Deno.readTextFileSync(`${ROOT}/deno.json`));
  const text = documents().map((file) => Deno.readTextFileSync(`${ROOT}/${file}`)).join("\n");
  for (const [entry, path] of Object.entries(exports)) {
    const names = Object.keys(await import(new URL(`../../${path}`, import.meta.url).href));
    const missing = names.filter((name) => !new RegExp(`\\b${name}\\b`).test(text));
    assertEquals(missing, [], `no document names what ${entry} exports`);
  }
});

Deno.test("links between the documents lead somewhere", () => {
  for (const file of [...documents(), "CONTRIBUTING.md"]) {
    const folder = `${ROOT}/${file}`.replace(/[^/]*$/, "");
    for (const [, target] of Deno.readTextFileSync(`${ROOT}/${file}`).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
      if (/^\w+:/.test(target)) continue;
      assert(exists(folder + target), `${file} links to ${target}, which is not there`);
    }
  }
});

Deno.test("no document asks for all permissions beyond the tasks", () => {
  for (const file of documents()) {
    assert(!/ -A\b|--allow-all/.test(Deno.readTextFileSync(`${ROOT}/${file}`)), `${file} has -A`);
  }
});

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
