/**
 * Arrow's own gold files, served by one process and fetched by another, compared by pyarrow.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { faults, fetchAndCompare, type Served } from "../support/fetched.ts";
import { goldFolder, needsGold, testNeeding, ucxVersions } from "../support/needs.ts";
import { needsPython } from "../support/python.ts";

/** Cases in the folder; each as stream and as file. */
const CASES = 27;

function goldFiles(): Served[] {
  const files: Served[] = [];
  for (const group of [...Deno.readDirSync(goldFolder!)].filter((entry) => entry.isDirectory)) {
    for (const { name } of Deno.readDirSync(`${goldFolder}/${group.name}`)) {
      if (!name.endsWith(".stream") && !name.endsWith(".arrow_file")) continue;
      files.push({ name: name.replace("generated_", ""), path: `${goldFolder}/${group.name}/${name}` });
    }
  }
  return files.sort((a, b) => a.name < b.name ? -1 : 1);
}

for (const { label, need, env } of ucxVersions) {
  testNeeding([need, needsGold, needsPython], `all gold files arrive whole over UCX ${label}`, async () => {
    const files = goldFiles();
    assertEquals(files.length, 2 * CASES);
    const results = await fetchAndCompare(`Arrow's gold files over UCX ${label}, compared by pyarrow`, files, env);
    assertEquals(faults(results), []);
  });
}
