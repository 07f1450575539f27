/**
 * Importing the library loads no gRPC and no protobuf code: checked in the module graph, and at run time without npm.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { printTable } from "../support/table.ts";

/** One module as `deno info --json` lists it. */
interface Module {
  specifier: string;
  dependencies?: { specifier: string; code?: { specifier: string }; isDynamic?: boolean }[];
}

const GRPC = /@bufbuild\/|@connectrpc\/|grpc-js|\/src\/flight\/(gen|http2|service)\//;

async function modulesOf(program: string): Promise<Map<string, Module>> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", `${ROOT}/${program}`],
    cwd: ROOT,
    stderr: "null",
  }).output();
  const { modules } = JSON.parse(new TextDecoder().decode(stdout)) as { modules: Module[] };
  return new Map(modules.map((module) => [module.specifier, module]));
}

/** What importing a program loads; with what it may load later, where `dynamic` is set. */
async function loaded(program: string, dynamic = false): Promise<string[]> {
  const modules = await modulesOf(program);
  const seen = new Set([`file://${ROOT}/${program}`]);
  for (const specifier of seen) {
    for (const { code, isDynamic } of modules.get(specifier)?.dependencies ?? []) {
      // An import of types alone has no `code`.
      if (code !== undefined && (dynamic || !isDynamic)) seen.add(code.specifier);
    }
  }
  return [...seen];
}

Deno.test("importing the library loads neither gRPC nor protobuf code, as the module graph shows", async () => {
  for (const program of ["mod.ts", "cli.ts", "src/setup.ts"]) {
    const now = await loaded(program);
    assert(now.length > 5, `${program} loads ${now.length} modules`);
    assertEquals(now.filter((specifier) => GRPC.test(specifier)), [], program);
  }
  // The same search finds it in its places: behind a dynamic import, and in the module for Flight.
  assert((await loaded("mod.ts", true)).some((specifier) => GRPC.test(specifier)), "a lazy import was not followed");
  assert(
    (await loaded("flight.ts")).some((specifier) => GRPC.test(specifier)),
    "flight.ts does not load what is looked for",
  );
});

const PROGRAM = `
import { connect, serve } from "${ROOT}/mod.ts";
import { tableFromArrays } from "apache-arrow";
await using server = await serve({ datasets: { n: tableFromArrays({ n: Int32Array.of(1, 2, 3) }) } });
await using stream = await connect(server.datasets[0].uris);
console.log((await stream.toTable()).numRows);
const refused = await connect("grpc://127.0.0.1:1", { flight: { path: "n" } }).catch((error) => error);
console.log(refused instanceof Error);
`;

testNeeding([needsUcx], "a stream over UCX needs no gRPC package to be there", async () => {
  using folder = new TemporaryFolder();
  const config = JSON.parse(await Deno.readTextFile(`${ROOT}/deno.json`));
  const imports: Record<string, string> = {};
  for (const [name, target] of Object.entries(config.imports as Record<string, string>)) {
    imports[name] = /@bufbuild|@connectrpc/.test(name) ? `${ROOT}/no-such-folder/` : target;
  }
  const links = (config.links as string[]).map((link) => `${ROOT}/${link}`);
  await Deno.writeTextFile(folder.file("deno.json"), JSON.stringify({ imports, links, nodeModulesDir: "none" }));
  await Deno.writeTextFile(folder.file("main.ts"), PROGRAM);
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "-q", "--no-check", "--no-lock", "main.ts"],
    cwd: folder.path,
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  assertEquals([code, decoder.decode(stdout)], [0, "3\ntrue\n"], decoder.decode(stderr));
});

Deno.test("what importing costs is printed, for the library alone and with Flight", async () => {
  using folder = new TemporaryFolder();
  const programs = { "nothing": "", "mod.ts": `import "${ROOT}/mod.ts";`, "flight.ts": `import "${ROOT}/flight.ts";` };
  const rows: string[][] = [];
  for (const [name, text] of Object.entries(programs)) {
    const path = folder.file(`${name.replace(".ts", "")}_probe.ts`);
    await Deno.writeTextFile(path, text);
    const times: number[] = [];
    for (let run = 0; run < 6; run++) {
      const start = performance.now();
      const { success } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-q", "--no-check", "--config", `${ROOT}/deno.json`, path],
        stderr: "null",
      }).output();
      assert(success, name);
      // The first run fills the cache of compiled code.
      if (run > 0) times.push(performance.now() - start);
    }
    rows.push([name, times.sort((a, b) => a - b)[times.length >> 1].toFixed(0)]);
  }
  printTable(
    "Start-up of a program that imports and ends, median of 5 (reported, not asserted)",
    ["imports", "ms"],
    rows,
  );
});
