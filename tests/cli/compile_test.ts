/**
 * `deno compile` makes one binary of the command, as `docs/command.md` describes it.
 *
 * Deno takes its runtime for compiled programs, `denort`, from dl.deno.land. If that cannot be reached, the binary cannot
 * be made, and what is left to test is that all of the program would be in it.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { tripsBytes } from "../support/cli_data.ts";
import { needsUcx } from "../support/needs.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { Running } from "../support/processes.ts";

const LONGEST_DOWNLOAD_MS = 90_000;

/** The command of the document, as arguments. */
function documentedArguments(): string[] {
  const text = Deno.readTextFileSync(`${ROOT}/docs/command.md`);
  const line = /^deno (compile .*) cli\.ts$/m.exec(text)?.[1];
  assert(line !== undefined, "the section has no command");
  return line.split(" ").filter((word, i, words) => word !== "-o" && words[i - 1] !== "-o");
}

async function compile(
  target: string,
  program: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ code: number; text: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args, "-o", target, program],
    cwd: ROOT,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    signal: AbortSignal.timeout(LONGEST_DOWNLOAD_MS),
  }).output();
  return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

/** Why no binary can be made here, or null. */
async function whyNot(): Promise<string | null> {
  using folder = new TemporaryFolder();
  Deno.writeTextFileSync(folder.file("empty.ts"), "");
  const { code, text } = await compile(folder.file("empty"), folder.file("empty.ts"), ["compile", "--quiet"]);
  if (code === 0) return null;
  return text.split("\n").filter((line) => /denort|dns|error/i.test(line)).join("; ").slice(0, 300) || "it was ended";
}

Deno.test("the binary holds every module of the command and its packages", async () => {
  using folder = new TemporaryFolder();
  // Any file does in place of denort as long as the binary is not run.
  const { code, text } = await compile(folder.file("dipc"), "cli.ts", documentedArguments(), {
    DENORT_BIN: Deno.execPath(),
  });
  assertEquals(code, 0, text);
  // A folder of which everything is in the binary is listed as one line.
  const cli = [...Deno.readDirSync(`${ROOT}/src/cli`)].map(({ name }) => name);
  const parts = text.includes("cli/* (") ? [] : cli.map((name) => `${name} (`);
  for (
    const part of [
      ...parts,
      "decode_worker.ts (",
      "isolate_worker.ts (",
      "deno.json (",
      "apache-arrow/",
      "hyparquet/",
      "parquet-wasm/",
    ]
  ) {
    assertStringIncludes(text, part);
  }
});

const obstacle = needsUcx.present ? await whyNot() : `${needsUcx.what} is missing; ${needsUcx.how}`;
const NAME = "the compiled binary serves, fetches and explains itself";
if (obstacle !== null) console.log(`SKIPPED "${NAME}": ${obstacle}`);

Deno.test({ name: NAME, ignore: obstacle !== null }, async () => {
  using folder = new TemporaryFolder();
  const binary = folder.file("dipc");
  const { code, text } = await compile(binary, "cli.ts", documentedArguments());
  assertEquals(code, 0, text);
  const start = (args: readonly string[]): Running =>
    new Running(
      new Deno.Command(binary, { args: [...args], cwd: folder.path, stdin: "null", stdout: "piped", stderr: "piped" })
        .spawn(),
      performance.now(),
      60_000,
    );
  assertMatch((await start(["--version"]).outcome).stdout, /^dipc \d+\.\d+\.\d+ \(deno /);
  Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
  await using server = start(["serve", "trips.arrow", "--json"]);
  const uri = JSON.parse((await server.firstLine) ?? "{}").datasets[0].uris[0];
  for (const file of ["out.csv", "out.parquet", "out.arrow"]) {
    const outcome = await start(["get", uri, "-o", file, "--json"]).outcome;
    assertEquals([outcome.code, outcome.stderr], [0, ""], file);
    assertEquals(JSON.parse(outcome.stdout).rows, 3000);
  }
  await using again = start(["serve", "out.parquet", "--json"]);
  const parquet = JSON.parse((await again.firstLine) ?? "{}").datasets[0].uris[0];
  assertEquals(JSON.parse((await start(["get", parquet, "--json"]).outcome).stdout).rows, 3000);
  const bench = await start(["bench"]).outcome;
  assertEquals(bench.code, 1);
  assertStringIncludes(bench.stderr, "error[not_found]: cannot run the benchmarks: they are not part");
});
