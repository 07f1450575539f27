/**
 * Arrow's own gold files, read in place in a server's memory with every version of UCX, compared by pyarrow.
 *
 * @module
 */
import { assertEquals, assertGreater } from "@std/assert";
import { goldFolder, needsGold, testNeeding, ucxVersions } from "../support/needs.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { startDipc } from "../support/processes.ts";
import { compareByPyarrow, needsPython } from "../support/python.ts";
import { printTable } from "../support/table.ts";

/** Cases in the folder; each as stream and as file. */
const CASES = 27;

for (const { label, need, env } of ucxVersions) {
  testNeeding(
    [need, needsGold, needsPython],
    `all gold files are whole in shared memory, over UCX ${label}`,
    async () => {
      using folder = new TemporaryFolder();
      const program = `${ROOT}/tests/system/support/shared_gold_program.ts`;
      const rows: string[][] = [];
      for (const how of ["held", "streamed"]) {
        const files = [...Deno.readDirSync(goldFolder!)].filter((entry) => entry.isDirectory).flatMap((group) =>
          [...Deno.readDirSync(`${goldFolder}/${group.name}`)]
            .filter(({ name }) => name.endsWith(".stream") || name.endsWith(".arrow_file"))
            .map(({ name }) => ({
              name,
              path: `${goldFolder}/${group.name}/${name}`,
              target: folder.file(`${how}-${name}`),
            }))
        );
        assertEquals(files.length, 2 * CASES);
        const { stdout, stderr, code } = await startDipc([JSON.stringify(files), how], { program, env }).outcome;
        assertEquals(code, 0, stderr);
        const { shared, received } = JSON.parse(stdout);
        // Only bodies that are shorter than their list of addresses are sent.
        assertGreater(shared, 4 * received);
        const compared = await compareByPyarrow(
          files.map(({ name, path, target }) => ({ name, want: path, got: target })),
        );
        assertEquals(compared.filter(({ equal }) => !equal).map(({ name, reason }) => `${name}: ${reason}`), []);
        rows.push([how, String(compared.length), String(shared), String(received)]);
      }
      printTable(
        `gold files in shared memory, over UCX ${label}`,
        ["dataset", "equal", "bytes in place", "sent"],
        rows,
      );
    },
  );
}
