/**
 * Every line of the documents that makes the command — alias, `deno install`, `deno compile` — carries the flags that the
 * commands of the documents need: each is run with those flags alone.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { tripsBytes } from "../support/cli_data.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { npmFolder, ROOT, TemporaryFolder } from "../support/paths.ts";
import { type Running, startWithFlags } from "../support/processes.ts";

/** Documents that make the command. */
const DOCUMENTS = ["README.md", "docs/command.md"];

interface Line {
  readonly file: string;
  readonly text: string;
  readonly flags: readonly string[];
}

async function documentedLines(): Promise<Line[]> {
  const npm = await npmFolder();
  return DOCUMENTS.flatMap((file) =>
    [...Deno.readTextFileSync(`${ROOT}/${file}`).matchAll(/^(?:alias dipc='deno run|deno install|deno compile) .*$/gm)]
      .map(([text]) => ({
        file,
        text,
        flags: text.split(/[\s']+/).filter((word) => /^--(allow-|no-prompt)/.test(word)).map((flag) =>
          // What is written for the clone's folder holds for that of the test, too.
          flag.replace("$HOME/.cache/deno/npm", npm).replace("=.,", `=.,${ROOT},`)
        ),
      }))
  );
}

function start({ flags }: Line, args: readonly string[], cwd: string): Running {
  return startWithFlags(flags, args, cwd);
}

const lines = await documentedLines();

Deno.test("the documents make the command by an alias, by deno install and by deno compile, without prompts", () => {
  const kinds = lines.map(({ text }) => /^(alias|deno \w+)/.exec(text)![1]);
  assertEquals(kinds, ["alias", "alias", "deno install", "deno compile"]);
  for (const { text, flags } of lines) assert(flags.includes("--no-prompt"), text);
});

for (const line of lines) {
  const kind = /^(alias|deno \w+)/.exec(line.text)![1];
  testNeeding([needsUcx], `${line.file}, ${kind}: every command of the documents runs with its flags`, async () => {
    using folder = new TemporaryFolder();
    Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
    Deno.mkdirSync(folder.file("uploads"));
    const run = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await start(line, args, folder.path).outcome;
      assertEquals([code, stderr], [0, ""], `${args}`);
      return stdout;
    };
    await using server = start(
      line,
      ["serve", "trips.arrow", "--flight-port", "0", "--allow-put", "uploads", "--json"],
      folder.path,
    );
    const { datasets, flight } = JSON.parse((await server.firstLine) ?? "{}");
    await run("put", "trips.arrow", flight, "copy");
    await run("ls", flight);
    await run("action", flight);
    await run("schema", datasets[0].uris[0]);
    await run("schema", flight, "copy");
    await run("get", flight, "copy");
    for (const name of ["t.csv", "t.parquet", "t.arrow"]) {
      assertEquals(JSON.parse(await run("get", datasets[0].uris[0], "-o", name, "--json")).rows, 3000);
    }
    assertMatch(await run("doctor"), /All is well/);
    if (kind === "alias") return;
    // The others promise that setup works, too; it finds UCX, so that there is nothing to fetch.
    assertMatch(await run("setup"), /^libucp \d/);
    assert(line.flags.includes("--allow-run=python3,pip3,pip"), line.text);
  });
}
