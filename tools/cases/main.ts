/**
 * Runs cases of the field, small programs that play a user, a peer or a machine, against this checkout, and prints a table of what
 * each found. The cases are not part of the repository: name their folder.
 *
 *   deno task cases FOLDER [NAME]…
 *
 * A name may be cut short. Some need grpcio or DuckDB beside pyarrow: `DIPC_PYTHON` names a Python that has them. Some need root.
 *
 * @module
 */
import { writeWideFile } from "../../tests/support/cli_data.ts";
import { dipc } from "../../tests/support/processes.ts";
import type { Bench } from "./bench.ts";
import { makeCommand } from "./command.ts";
import { FLIGHT } from "./flight.ts";
import { FORMATS } from "./formats.ts";
import { MACHINES } from "./machines.ts";

async function main([cases, ...names]: string[]): Promise<number> {
  if (cases === undefined) {
    console.error("usage: deno task cases FOLDER [NAME]…");
    return 2;
  }
  const folder = await Deno.makeTempDir();
  try {
    await Deno.chmod(folder, 0o755);
    const stream = `${folder}/x.arrows`;
    writeWideFile(stream, 4);
    await dipc(["--version"]); // fills Deno's cache
    const command = await makeCommand(`${folder}/dipc`);
    const bench: Bench = { cases: await Deno.realPath(cases), folder, command, stream };
    let failed = 0;
    for (const [name, play] of Object.entries({ ...MACHINES, ...FLIGHT, ...FORMATS })) {
      if (names.length > 0 && !names.some((each) => name.startsWith(each))) continue;
      const { ok, seen } = await play(bench);
      if (!ok) failed++;
      console.log(`${ok ? "right" : "WRONG"}  ${name.padEnd(36)}  ${seen.trim().replace(/\s*\n\s*/g, " | ")}`);
    }
    return failed === 0 ? 0 : 1;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
