/** A file that is replaced or written to while it is open: the next run has its new content, once that is whole. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import { type Dataset, fromTable, openPath } from "../../mod.ts";
import { DipcError } from "../../src/errors.ts";
import { AtomicFile } from "../../src/formats/atomic_file.ts";
import { describeSchema } from "../../src/ipc/describe.ts";
import { ParquetWriter } from "../../src/formats/parquet_writer.ts";
import { arrowBytes, writeAll } from "../support/datasets.ts";
import { assertDipcError } from "../support/assert.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { descriptors } from "../support/proc.ts";
import { delay } from "../support/time.ts";

/** Longer than a file must be quiet before it counts as whole, in milliseconds. */
const SETTLED_MS = 1_200;

type Format = "file" | "stream" | "parquet";

/** A file of so many rows, whose column has this name. */
async function bytesOf(format: Format, rows: number, column = "n"): Promise<Uint8Array> {
  const dataset = await fromTable(tableFromArrays({ [column]: Int32Array.from({ length: rows }, (_, i) => i) }));
  if (format !== "parquet") return await arrowBytes(dataset, format);
  using folder = new TemporaryFolder();
  const path = folder.file("a.parquet");
  await writeAll(dataset, await ParquetWriter.create(dataset.schema, AtomicFile.create(path)));
  return await Deno.readFile(path);
}

async function rowsOf(dataset: Dataset): Promise<{ rows: number; columns: string[] }> {
  const run = await dataset.open();
  let rows = 0;
  for (let message; (message = await run.next()) !== null; message.body?.release()) {
    if (message.header.kind === "batch") rows += message.header.rows;
  }
  const { schema = dataset.schema } = run;
  await run.close();
  return { rows, columns: describeSchema(schema).map(({ name }) => name) };
}

for (const format of ["file", "stream", "parquet"] as const) {
  Deno.test(`${format}: a file that was renamed over it is read by the next run, and a running one goes on`, async () => {
    using folder = new TemporaryFolder();
    const path = folder.file("a");
    await Deno.writeFile(path, await bytesOf(format, 10));
    const before = descriptors("self").filter((name) => name.includes(folder.path));
    const dataset = await openPath(path);
    const running = await dataset.open();
    await Deno.writeFile(folder.file("new"), await bytesOf(format, 20, "other"));
    await Deno.rename(folder.file("new"), path);
    assertEquals(await rowsOf(dataset), { rows: 20, columns: ["other"] });
    const first = await running.next();
    assertEquals(first!.header.kind === "batch" && first!.header.rows, 10);
    first!.body?.release();
    assertEquals(await running.next(), null);
    await running.close();

    await Deno.writeFile(folder.file("new"), await bytesOf(format, 30));
    await Deno.rename(folder.file("new"), path);
    await dataset.refresh!();
    if (format !== "stream") assertEquals(dataset.rows, 30);
    assertEquals(describeSchema(dataset.schema).map(({ name }) => name), ["n"]);
    await Deno.remove(path);
    assertEquals((await rowsOf(dataset)).rows, 30, "what was removed can still be read");
    await dataset.close();
    await assertDipcError("closed", "", async () => void await dataset.open());
    assertEquals(descriptors("self").filter((name) => name.includes(folder.path)), before, "nothing stays open");
  });

  Deno.test(`${format}: a file that was written to is read again once it is whole`, async () => {
    using folder = new TemporaryFolder();
    const path = folder.file("a");
    await Deno.writeFile(path, await bytesOf(format, 10));
    const dataset = await openPath(path);
    const content = await bytesOf(format, 1000);
    {
      using writer = await Deno.open(path, { write: true, truncate: true });
      await writer.write(content.subarray(0, 300));
      await assertDipcError("io", "still writing", async () => void await dataset.open());
    }
    await assertDipcError("io", "less than 1 s ago", async () => void await dataset.open());
    await delay(SETTLED_MS);
    // What lacks its end is not whole, however quiet it is.
    const error = await rowsOf(dataset).catch((thrown) => thrown);
    assert(error instanceof DipcError, `${error}`);
    assertStringIncludes(error.message, format === "stream" ? "cut short" : "cannot be opened again");
    await Deno.writeFile(path, content);
    await delay(SETTLED_MS);
    assertEquals((await rowsOf(dataset)).rows, 1000);
    await dataset.close();
  });
}

Deno.test("runs of one content that are read apart are refused once the file has changed", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a");
  await Deno.writeFile(path, await bytesOf("file", 10));
  const dataset = await openPath(path);
  await (await dataset.open({ isPart: true })).close();
  await Deno.writeFile(folder.file("new"), await bytesOf("file", 20));
  await Deno.rename(folder.file("new"), path);
  const found = () => dataset.open({ isPart: true });
  await assertDipcError("io", "start the server again", async () => void await found());
  // Also once others have read the new content.
  assertEquals((await rowsOf(dataset)).rows, 20);
  await assertDipcError("io", "start the server again", async () => void await found());
  await dataset.close();
});

Deno.test("without follow, a file is the one that was opened", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a");
  await Deno.writeFile(path, await bytesOf("file", 10));
  const dataset = await openPath(path, { follow: false });
  await Deno.writeFile(folder.file("new"), await bytesOf("file", 20));
  await Deno.rename(folder.file("new"), path);
  assertEquals((await rowsOf(dataset)).rows, 10);
  await dataset.close();
});
