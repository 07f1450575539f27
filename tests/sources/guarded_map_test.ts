/** Mapped files under a lease: writers wait a moment, and readers keep what they have. */
import { assert, assertEquals, assertLess } from "@std/assert";
import type { IpcMessage } from "../../src/ipc/message.ts";
import { arrowFile } from "../../src/sources/arrow_file.ts";
import { FileHandle } from "../../src/sources/file_handle.ts";
import { FileLease } from "../../src/sources/file_lease.ts";
import { resident } from "../../src/sources/resident.ts";
import { fromTable } from "../../src/sources/table.ts";
import { assertDipcError } from "../support/assert.ts";
import {
  arrowBytes,
  type CopiedMessage,
  copyMessage,
  countedPool,
  openDescriptors,
  readMessages,
} from "../support/datasets.ts";
import { testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { residentBytes } from "../support/proc.ts";
import { wideTable } from "../support/wide_table.ts";

/** Whether this system lets us lease a file of our own. */
function canLease(): boolean {
  using folder = new TemporaryFolder();
  Deno.writeTextFileSync(folder.file("probe"), "x");
  using file = FileHandle.open(folder.file("probe"));
  const lease = new FileLease(file);
  if (!lease.take()) return false;
  lease.giveBack();
  return true;
}

const needsLeases = {
  what: "a file system with leases for temporary files",
  present: Deno.build.os === "linux" && canLease(),
  how: "set TMPDIR to a folder of yours on a local file system",
  isOptional: true,
};

function guardTest(name: string, run: (path: string) => Promise<void>): void {
  testNeeding([needsLeases], name, async () => {
    using folder = new TemporaryFolder();
    const path = folder.file("a.arrow");
    // Bodies large enough for blocks of a pool.
    await Deno.writeFile(path, await arrowBytes(await fromTable(wideTable(2, 3 * 65_536)), "file"));
    const before = openDescriptors();
    await run(path);
    assertEquals(openDescriptors(), before);
  });
}

/** Ends a file at `size` bytes, in a process of its own, as another program would. */
async function truncateElsewhere(path: string, size: number): Promise<number> {
  const started = performance.now();
  // Not truncate(1), which opens without waiting and so fails while somebody holds a lease.
  const args = ["if=/dev/null", `of=${path}`, "bs=1", `seek=${size}`];
  const { success, stderr } = await new Deno.Command("dd", { args }).output();
  assert(success, new TextDecoder().decode(stderr));
  return performance.now() - started;
}

/** The file's messages, read without a map. */
async function contents(path: string): Promise<CopiedMessage[]> {
  const dataset = await arrowFile(path);
  try {
    return await readMessages(dataset);
  } finally {
    await dataset.close();
  }
}

guardTest("a guarded map gives the same messages as reading does, without a block of the pool", async (path) => {
  const { pool, assertAllBack } = countedPool();
  const expected = await contents(path);
  const guarded = await arrowFile(path, { map: "guarded", pool });
  for (let pass = 0; pass < 3; pass++) assertEquals(await readMessages(guarded), expected);
  assertEquals(pool.stats.mappedBytes, 0);
  assertAllBack();
  await guarded.close();
});

guardTest("a writer waits a moment; bodies keep their bytes, and the stream fails with io", async (path) => {
  const expected = await contents(path);
  const dataset = await arrowFile(path, { map: "guarded" });
  const run = await dataset.open();
  const message = (await run.next())!;
  const waited = await truncateElsewhere(path, 100);
  console.log(`the writer waited ${waited.toFixed(0)} ms`);
  assertEquals(copyMessage(message), expected[0]);
  await assertDipcError("io", "while it was being read", async () => void await run.next());
  message.body!.release();
  await run.close();
  await dataset.close();
});

guardTest(
  "opening the file for writing without writing ends the map, and the stream goes on whole",
  async (path) => {
    const expected = await contents(path);
    const { pool, assertAllBack } = countedPool();
    const dataset = await arrowFile(path, { map: "guarded", pool });
    const run = await dataset.open();
    const messages: IpcMessage[] = [(await run.next())!];
    (await Deno.open(path, { write: true })).close();
    for (let message; (message = await run.next()) !== null;) messages.push(message);
    assertEquals(messages.map(copyMessage), expected);
    assert(pool.stats.mappedBytes > 0, "the rest was not read into blocks");
    await run.close();
    // Nobody has the file open any more: the next run maps again.
    const mapped = pool.stats.mappedBytes;
    assertEquals(await readMessages(dataset), expected);
    assertEquals(pool.stats.mappedBytes, mapped);
    await dataset.close();
    assertAllBack();
  },
);

guardTest("a file that somebody has open for writing is read instead", async (path) => {
  using _ = await Deno.open(path, { write: true });
  const { pool, assertAllBack } = countedPool();
  const dataset = await arrowFile(path, { map: "guarded", pool });
  assertEquals((await readMessages(dataset)).length, 3);
  assert(pool.stats.mappedBytes > 0, "no block was used");
  await dataset.close();
  assertAllBack();
});

guardTest("no lease is held while nobody reads, also after early ends", async (path) => {
  const dataset = await arrowFile(path, { map: "guarded" });
  const run = await dataset.open();
  const first = (await run.next())!;
  await run.close();
  first.body!.release();
  const empty = await dataset.open();
  await empty.close();
  await empty.close();
  // A synchronous open in the same process would wait for itself.
  Deno.openSync(path, { write: true }).close();
  await dataset.close();
});

guardTest("bodies outlive the dataset, and a file that is cut short after it", async (path) => {
  const expected = await contents(path);
  const dataset = await arrowFile(path, { map: "guarded" });
  const run = await dataset.open();
  const message = (await run.next())!;
  await dataset.close();
  await truncateElsewhere(path, 0);
  assertEquals(copyMessage(message), expected[0]);
  message.body!.release();
  await run.close();
});

guardTest("a resident dataset made from a guarded map stays as it was", async (path) => {
  const expected = await contents(path);
  const dataset = await resident(await arrowFile(path, { map: "guarded" }));
  await truncateElsewhere(path, 0);
  assertEquals(await readMessages(dataset), expected);
  await dataset.close();
});

guardTest("a change before the lease is an error of the run that finds it, and of that run alone", async (path) => {
  const dataset = await arrowFile(path, { map: "guarded" });
  const now = new Date(Date.now() + 5_000);
  await Deno.utime(path, now, now);
  for (let i = 0; i < 2; i++) {
    await assertDipcError("io", "", async () => void await dataset.open());
  }
  Deno.openSync(path, { write: true }).close();
  await dataset.close();
});

guardTest("many bodies at once, in any order of release, survive a change", async (path) => {
  await Deno.writeFile(path, await arrowBytes(await fromTable(wideTable(3, 40 * 65_536)), "file"));
  const expected = await contents(path);
  const dataset = await arrowFile(path, { map: "guarded" });
  const run = await dataset.open();
  const messages: IpcMessage[] = [];
  for (let message; (message = await run.next()) !== null;) messages.push(message);
  for (let i = 0; i < messages.length; i += 3) messages[i].body!.release();
  await truncateElsewhere(path, 4096);
  for (let i = messages.length - 1; i >= 0; i--) {
    if (i % 3 === 0) continue;
    assertEquals(copyMessage(messages[i]), expected[i]);
    messages[i].body!.release();
  }
  await run.close();
  await dataset.close();
});

guardTest("a file larger than what may stay resident is not resident as a whole", async (path) => {
  const total = 256;
  await Deno.writeFile(path, await arrowBytes(await fromTable(wideTable(2, total * 65_536)), "file"));
  const dataset = await arrowFile(path, { map: "guarded" });
  const run = await dataset.open();
  const before = residentBytes(Deno.pid);
  let peak = 0, count = 0;
  for (let message; (message = await run.next()) !== null; count++) {
    message.body!.release();
    peak = Math.max(peak, residentBytes(Deno.pid) - before);
  }
  await run.close();
  await dataset.close();
  assertEquals(count, total);
  assertLess(peak, 128 * 2 ** 20);
});
