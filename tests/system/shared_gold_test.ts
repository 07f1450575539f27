/**
 * Arrow's own gold files, read in a server's memory by every way and with every version of UCX, compared by pyarrow.
 *
 * @module
 */
import { assertEquals, assertGreater, assertMatch } from "@std/assert";
import { goldFolder, needsGold, testNeeding, ucxVersions } from "../support/needs.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { startDipc } from "../support/processes.ts";
import { compareByPyarrow, needsPython } from "../support/python.ts";
import { printTable } from "../support/table.ts";

/** Cases in the folder; each as stream and as file. */
const CASES = 27;

/** How the files are served and read, what a process has in its environment for that, and the reason that a client reports. */
const WAYS: { how: string; way: string; env?: Record<string, string>; reason: RegExp }[] = [
  { how: "held", way: "mapped", reason: /^$/ },
  { how: "streamed", way: "mapped", reason: /^$/ },
  { how: "held", way: "key", reason: /^$/ },
  // Without UCX's own shared memory a key cannot be mapped.
  { how: "streamed", way: "key", env: { UCX_TLS: "tcp" }, reason: /^bodies are fetched: / },
  { how: "streamed", way: "sent", reason: /^the option share is off$/ },
];

for (const { label, need, env } of ucxVersions) {
  testNeeding(
    [need, needsGold, needsPython],
    `all gold files are whole in shared memory by every way, over UCX ${label}`,
    async () => {
      using folder = new TemporaryFolder();
      const program = `${ROOT}/tests/system/support/shared_gold_program.ts`;
      const rows: string[][] = [];
      for (const { how, way, reason, env: more } of WAYS) {
        const files = [...Deno.readDirSync(goldFolder!)].filter((entry) => entry.isDirectory).flatMap((group) =>
          [...Deno.readDirSync(`${goldFolder}/${group.name}`)]
            .filter(({ name }) => name.endsWith(".stream") || name.endsWith(".arrow_file"))
            .map(({ name }) => ({
              name,
              path: `${goldFolder}/${group.name}/${name}`,
              target: folder.file(`${how}-${way}-${name}`),
            }))
        );
        assertEquals(files.length, 2 * CASES);
        const args = [JSON.stringify(files), how, way];
        const { stdout, stderr, code } = await startDipc(args, { program, env: { ...env, ...more } }).outcome;
        assertEquals(code, 0, stderr);
        const { shared, received, reasons } = JSON.parse(stdout);
        // Only bodies that are shorter than their list of addresses are sent.
        if (way === "sent") assertEquals(shared, 0);
        else assertGreater(shared, 4 * received);
        assertEquals(reasons.length, 1);
        assertMatch(reasons[0], reason);
        const compared = await compareByPyarrow(
          files.map(({ name, path, target }) => ({ name, want: path, got: target })),
        );
        assertEquals(compared.filter(({ equal }) => !equal).map(({ name, reason }) => `${name}: ${reason}`), []);
        rows.push([how, way, reasons[0].slice(0, 40), String(compared.length), String(shared), String(received)]);
      }
      printTable(
        `gold files in shared memory, over UCX ${label}`,
        ["dataset", "way", "reason", "equal", "bytes in place", "sent"],
        rows,
      );
    },
  );
}
