/**
 * A project of its own, in an empty folder, that uses the package as somebody who has it from JSR would: by its name.
 * Here the name leads to this repository by a link.
 *
 * @module
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { denoDir } from "../support/run_library_child.ts";

const APACHE_ARROW = (JSON.parse(Deno.readTextFileSync(`${ROOT}/deno.json`)) as { imports: Record<string, string> })
  .imports["apache-arrow"];

/** A project that depends on the package, and runs in it. */
class Project implements Disposable {
  readonly #folder = new TemporaryFolder();

  constructor(files: Record<string, string>) {
    const config = {
      imports: { "@arrow-ucx/dipc": "jsr:@arrow-ucx/dipc@^0.1.0", "apache-arrow": APACHE_ARROW },
      // The second is for where JSR cannot be reached.
      links: [ROOT, `${ROOT}/tools/std/cli`],
      nodeModulesDir: "none",
    };
    Deno.writeTextFileSync(this.#folder.file("deno.json"), JSON.stringify(config));
    for (const [name, text] of Object.entries(files)) Deno.writeTextFileSync(this.#folder.file(name), text);
  }

  /** Runs deno in the project. */
  async deno(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args,
      cwd: this.#folder.path,
      env: { DENO_DIR: denoDir(), NO_COLOR: "1" },
      stdin: "null",
    }).output();
    const decoder = new TextDecoder();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]();
  }
}

const PROGRAM = `
import { connect, serve } from "@arrow-ucx/dipc";
import { tableFromArrays } from "apache-arrow";

const table = tableFromArrays({ n: Int32Array.from({ length: 1000 }, (_, i) => i) });
await using server = await serve({ datasets: { numbers: table } });
await using stream = await connect(server.datasets[0].uris[0]);
let sum = 0;
for await (using batch of stream) for (const n of batch.getChild("n")!) sum += n;
console.log(stream.stats.rows, sum);
`;

testNeeding([needsUcx], "a project in an empty folder imports the package by its name, and moves data", async () => {
  using project = new Project({ "main.ts": PROGRAM });
  const check = await project.deno("check", "main.ts");
  assertEquals(check.code, 0, check.stderr);
  const { code, stdout, stderr } = await project.deno("run", "-A", "main.ts");
  assertEquals([code, stdout.trim()], [0, "1000 499500"], stderr);
});

Deno.test("a project runs the command by the package's name", async () => {
  using project = new Project({ "deno.txt": "" });
  const { code, stdout, stderr } = await project.deno("run", "-A", "jsr:@arrow-ucx/dipc@^0.1.0/cli", "--version");
  assertEquals(code, 0, stderr);
  assertStringIncludes(stdout, "dipc 0.1.0");
});

Deno.test("importing the package opens no native library, reads no file and needs no permission", async () => {
  const program = `
import * as dipc from "@arrow-ucx/dipc";
const names = Object.keys(dipc);
console.log(names.includes("connect"), names.includes("serve"));
`;
  using project = new Project({ "main.ts": program });
  const { code, stdout, stderr } = await project.deno("run", "--no-prompt", "main.ts");
  assertEquals([code, stdout.trim()], [0, "true true"], stderr);

  const maps = `${program}
console.log(Deno.readTextFileSync("/proc/self/maps").split("\\n").filter((line) => /libuc|libcuda/.test(line)).length);`;
  using second = new Project({ "main.ts": maps });
  const loaded = await second.deno("run", "-A", "main.ts");
  assertEquals(loaded.stdout.trim(), "true true\n0", loaded.stderr);
});
