/**
 * Writes random tables in every format, reads them back, and writes those again in another one: what dipc writes, dipc reads.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { DipcError } from "../../src/errors.ts";
import { AtomicFile } from "../../src/formats/atomic_file.ts";
import { OUTPUT_FORMATS, type OutputFormat } from "../../src/formats/registry.ts";
import { describeSchema } from "../../src/ipc/describe.ts";
import type { Dataset } from "../../src/sources/dataset.ts";
import { openPath } from "../../src/sources/open_path.ts";
import { writeAll } from "./datasets.ts";
import type { TemporaryFolder } from "./paths.ts";
import { randomDataset } from "./random_tables.ts";
import { Random } from "./random.ts";
import { type RawTable, rawTable } from "./raw_values.ts";

/** How often each step ended how. */
export type Tally = Map<string, number>;

/**
 * One table: in each format, and from each readable one in each other.
 *
 * @param seed Makes the table
 * @param folder For the files
 * @param tally Counts the outcomes
 * @param formats Those to write; all of them by default
 * @throws {Error} if values differ, or something is refused without naming what
 */
export async function roundTrip(
  seed: number,
  folder: TemporaryFolder,
  tally: Tally,
  formats: readonly OutputFormat[] = OUTPUT_FORMATS,
): Promise<void> {
  const source = randomDataset(new Random(seed));
  const want = await rawTable(source);
  const types = describeSchema(source.schema).map(({ name, type }) => `${name}: ${type}`).join(", ");
  try {
    for (const [index, first] of formats.entries()) {
      const path = folder.file(`first.${first.extensions[0]}`);
      if (!await write(source, first, path, tally, first.name)) continue;
      if (first.isText) {
        await checkLines(first, path, want);
        continue;
      }
      const read = await openPath(path, { follow: false });
      try {
        assertEquals(await rawTable(read), want, first.name);
        const second = formats[(seed + index) % formats.length];
        const again = folder.file(`second.${second.extensions[0]}`);
        if (!await write(read, second, again, tally, `${first.name} to ${second.name}`)) continue;
        if (second.isText) await checkLines(second, again, want);
        else {
          const copy = await openPath(again, { follow: false });
          try {
            assertEquals(await rawTable(copy), want, `${first.name} to ${second.name}`);
          } finally {
            await copy.close();
          }
        }
      } finally {
        await read.close();
      }
    }
  } catch (error) {
    throw new Error(
      `seed ${seed}, a table of ${types || "no columns"}: ${error instanceof Error ? error.message : error}`,
      {
        cause: error,
      },
    );
  }
}

/** @returns whether it was written; if not, it was refused by name */
async function write(
  dataset: Dataset,
  format: OutputFormat,
  path: string,
  tally: Tally,
  step: string,
): Promise<boolean> {
  let outcome = "equal";
  try {
    await format.load?.();
    using file = AtomicFile.create(path);
    await writeAll(dataset, await format.open(dataset.schema, file));
  } catch (error) {
    const isByName = error instanceof DipcError && error.code === "unsupported" &&
      /column|dictionary|"/.test(error.message);
    if (!isByName) throw error;
    outcome = "refused";
    for (const { name } of Deno.readDirSync(path.replace(/\/[^/]*$/, ""))) {
      if (name.endsWith(".part")) throw new Error(`${step}: ${name} was left`, { cause: error });
    }
  }
  tally.set(`${step}: ${outcome}`, (tally.get(`${step}: ${outcome}`) ?? 0) + 1);
  return outcome === "equal";
}

/** What dipc does not read has a line for each row; an object for each in NDJSON. */
async function checkLines(format: OutputFormat, path: string, { rows, names }: RawTable): Promise<void> {
  if (format.name !== "ndjson") return;
  const lines = (await Deno.readTextFile(path)).split("\n").slice(0, -1);
  assertEquals(lines.length, rows, format.name);
  for (const line of lines) assertEquals(Object.keys(JSON.parse(line)), [...new Set(names)], format.name);
}
