/** Arrow files as datasets: whole, damaged, cut short, changed meanwhile, mapped. */
import { assert, assertEquals, assertGreater, assertLess, assertStringIncludes } from "@std/assert";
import { Table, tableToIPC } from "apache-arrow";
import { ArrowFileWriter } from "../../src/formats/arrow_file_writer.ts";
import { MemorySink } from "../../src/formats/sink.ts";
import type { VerifiedHeader } from "../../src/ipc/header.ts";
import type { IpcMessage } from "../../src/ipc/message.ts";
import { wrapBytes } from "../../src/memory/wrap.ts";
import type { DipcErrorCode } from "../../src/errors.ts";
import { arrowFile } from "../../src/sources/arrow_file.ts";
import { openPath } from "../../src/sources/open_path.ts";
import { fromTable } from "../../src/sources/table.ts";
import { assertDipcError } from "../support/assert.ts";
import {
  arrowBytes,
  copyMessage,
  countedPool,
  isReadable,
  openDescriptors,
  readMessages,
  readTable,
  rowsOf,
  smallTable,
} from "../support/datasets.ts";
import { goldFolder, needsGold, testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { seededRandom } from "../support/random.ts";

Deno.test("a file written by apache-arrow, which has no schema message, gives its batches", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.arrow"), table = smallTable();
  await Deno.writeFile(path, tableToIPC(table, "file"));
  const { pool, assertAllBack } = countedPool();
  const dataset = await arrowFile(path, { pool });
  assertEquals([dataset.rows, dataset.batches, dataset.readOnce], [15, 3, false]);
  const messages = await readMessages(dataset);
  assertEquals(dataset.bodyBytes, messages.reduce((sum, { body }) => sum + body.byteLength, 0));
  assertEquals(rowsOf(await readTable(await openPath(path))), rowsOf(table));
  await dataset.close();
  assertAllBack();
});

Deno.test("a mapped file gives the same messages as one that is read, and bodies outlive the dataset", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.arrow");
  await Deno.writeFile(path, tableToIPC(smallTable(), "file"));
  const read = await arrowFile(path), mapped = await arrowFile(path, { map: true });
  assertEquals(await readMessages(mapped), await readMessages(read));
  const run = await mapped.open();
  const message = (await run.next())!;
  await run.close();
  await mapped.close();
  const bytes = message.body!.bytes();
  assertEquals(bytes.slice(), (await readMessages(read))[0].body);
  bytes[0] ^= 0xff; // writing must neither crash nor reach the file
  message.body!.release();
  assertEquals(bytes.byteLength, 0);
  message.body!.release();
  assertEquals(rowsOf(await readTable(read)), rowsOf(smallTable()));
  await read.close();
});

testNeeding(
  [needsGold],
  "gold files and streams hold the same messages after they were split and written anew",
  async () => {
    using folder = new TemporaryFolder();
    let count = 0;
    for (const { name } of [...Deno.readDirSync(goldFolder!)].filter((entry) => entry.isDirectory)) {
      for (const entry of Deno.readDirSync(`${goldFolder}/${name}`)) {
        if (!/\.(stream|arrow_file)$/.test(entry.name)) continue;
        const { pool, assertAllBack } = countedPool();
        const dataset = await openPath(`${goldFolder}/${name}/${entry.name}`, { pool });
        const messages = await readMessages(dataset);
        for (const format of ["stream", "file"] as const) {
          const path = folder.file("again");
          await Deno.writeFile(path, await arrowBytes(dataset, format));
          const again = await openPath(path, { pool });
          assertEquals(await readMessages(again), messages, `${entry.name} as ${format}`);
          await again.close();
        }
        if (dataset.batches !== undefined) {
          assertEquals(dataset.batches, messages.filter(({ kind }) => kind === "batch").length);
        }
        await dataset.close();
        assertAllBack();
        count++;
      }
    }
    console.log(`${count} gold files split and written anew`);
    assert(count >= 54, `expected 27 cases, each as stream and file, found ${count} files`);
  },
);

testNeeding([needsGold], "dictionaries inside dictionaries come first, whatever the footer's order", async () => {
  using folder = new TemporaryFolder();
  const stream = await openPath(`${goldFolder}/1.0.0-littleendian/generated_nested_dictionary.stream`);
  const run = await stream.open();
  const messages: IpcMessage[] = [];
  for (let message; (message = await run.next()) !== null;) messages.push(message);
  const kinds = messages.map(({ header }) => header.kind);
  const count = kinds.indexOf("batch");
  assert(count > 1 && !kinds.slice(count).includes("dictionary"), kinds.join());
  for (const reversed of [false, true]) {
    const dictionaries = messages.slice(0, count);
    if (reversed) dictionaries.reverse();
    const sink = new MemorySink();
    const writer = new ArrowFileWriter(stream.schema, sink);
    for (const { header, body } of [...dictionaries, ...messages.slice(count)]) {
      await writer.write({ header, body: wrapBytes(body!.bytes()) });
    }
    await writer.finish();
    const path = folder.file(`${reversed}.arrow`);
    await Deno.writeFile(path, sink.bytes());
    const dataset = await arrowFile(path);
    const again = await dataset.open();
    const ids: bigint[] = [];
    for (let message; (message = await again.next()) !== null; message.body!.release()) {
      if (message.header.kind === "dictionary") ids.push(message.header.dictionaryId);
    }
    // In this file dictionary 1 refers to 0, and 4 to 2 and 3.
    assertEquals(ids.toSorted(), [0n, 1n, 2n, 3n, 4n]);
    for (const [outer, inner] of [[1n, 0n], [4n, 2n], [4n, 3n]]) {
      assert(ids.indexOf(inner) < ids.indexOf(outer), `${inner} comes after ${outer}, which refers to it`);
    }
    assertEquals(rowsOf(await readTable(dataset)), rowsOf(await readTable(stream)));
    await dataset.close();
  }
  for (const { body } of messages) body!.release();
  await run.close();
  await stream.close();
});

Deno.test("a file cut short at any byte is refused", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("cut.arrow");
  const bytes = tableToIPC(new Table(smallTable().batches.slice(0, 1)), "file");
  const before = openDescriptors();
  for (let length = 0; length < bytes.byteLength; length++) {
    await Deno.writeFile(path, bytes.subarray(0, length));
    await assertDipcError("invalid_data", "", () => arrowFile(path), `cut at ${length}`);
  }
  assertEquals(openDescriptors(), before);
});

Deno.test("a file with one byte changed gives an error or data, never a crash", async () => {
  const random = seededRandom();
  using folder = new TemporaryFolder();
  const path = folder.file("changed.arrow");
  const bytes = await arrowBytes(await fromTable(smallTable()), "file");
  const { pool, assertAllBack } = countedPool();
  let refused = 0, accepted = 0;
  for (let i = 0; i < 1500; i++) {
    const changed = bytes.slice();
    changed[random.below(changed.byteLength)] ^= 1 << random.below(8);
    if (random.chance(0.3)) {
      changed.fill(0xff, changed.byteLength - 40 - random.below(300)).set(
        bytes.subarray(-10),
        bytes.byteLength - 10,
      );
    }
    await Deno.writeFile(path, changed);
    if (await isReadable(() => openPath(path, { pool, limits: { maxBodyBytes: 1 << 20 } }))) accepted++;
    else refused++;
  }
  assertAllBack();
  console.log(`${refused} refused, ${accepted} accepted`);
  assertGreater(refused, 100);
});

Deno.test("a file that is cut short while it is read fails that run with io, and only it", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.arrow"), other = folder.file("b.arrow");
  const bytes = tableToIPC(smallTable(), "file");
  await Deno.writeFile(path, bytes);
  await Deno.writeFile(other, bytes);
  const { pool, assertAllBack } = countedPool();
  const dataset = await arrowFile(path, { pool }), healthy = await arrowFile(other, { pool });
  const run = await dataset.open();
  copyMessage((await run.next())!);
  await Deno.truncate(path, Math.floor(bytes.byteLength / 2));
  await assertDipcError("io", path, async () => await run.next());
  assertEquals(await run.next(), null);
  await run.close();
  assertEquals((await readMessages(healthy)).length, 3);
  await dataset.close();
  await healthy.close();
  assertAllBack();
});

Deno.test("a file that is written to while it is read fails with io, even if its size stays", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.arrow");
  await Deno.writeFile(path, tableToIPC(smallTable(), "file"));
  // The clock of file times is coarse: the change has to fall into a later tick.
  await Deno.utime(path, 1, 1);
  const dataset = await arrowFile(path);
  const run = await dataset.open();
  copyMessage((await run.next())!);
  using file = await Deno.open(path, { write: true });
  await file.seek(100, Deno.SeekMode.Start);
  await file.write(new Uint8Array([1, 2, 3]));
  await assertDipcError("io", "", async () => await run.next());
  await assertDipcError("io", "", async () => await dataset.open());
  await run.close();
  await dataset.close();
});

Deno.test("a file that is replaced by another one goes on as the old one", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.arrow");
  await Deno.writeFile(path, tableToIPC(smallTable(), "file"));
  const dataset = await arrowFile(path);
  await Deno.writeTextFile(folder.file("new"), "something else");
  await Deno.rename(folder.file("new"), path);
  assertEquals((await readMessages(dataset)).length, 3);
  await dataset.close();
});

Deno.test("closing a dataset ends its runs with closed and its descriptor", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.arrow");
  await Deno.writeFile(path, tableToIPC(smallTable(), "file"));
  const before = openDescriptors();
  const dataset = await arrowFile(path);
  const run = await dataset.open();
  await dataset.close();
  await assertDipcError("closed", "", async () => await run.next());
  await run.close();
  await dataset.close();
  assertEquals(openDescriptors(), before);
});

Deno.test("a body above the limit is refused before memory is taken", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.arrow");
  await Deno.writeFile(path, tableToIPC(smallTable(), "file"));
  const { pool } = countedPool();
  await assertDipcError("limit_exceeded", "", () => arrowFile(path, { pool, limits: { maxBodyBytes: 16 } }));
  assertEquals(pool.stats.mappedBytes, 0);
});

Deno.test("a footer that points outside the file, or at the wrong message, is refused", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.arrow");
  const bytes = await arrowBytes(await fromTable(smallTable()), "file");
  const view = new DataView(bytes.buffer);
  const footerAt = bytes.byteLength - 10 - view.getInt32(bytes.byteLength - 10, true);
  const blocks = footerAt + 48; // root, vtable, table, no dictionaries, count
  const cases: [string, (copy: DataView) => void][] = [
    ["offset beyond the end", (copy) => copy.setBigInt64(blocks, BigInt(bytes.byteLength), true)],
    ["offset before the start", (copy) => copy.setBigInt64(blocks, 0n, true)],
    ["negative offset", (copy) => copy.setBigInt64(blocks, -8n, true)],
    ["unaligned offset", (copy) => copy.setBigInt64(blocks, copy.getBigInt64(blocks, true) + 4n, true)],
    ["offset beyond 2⁵³", (copy) => copy.setBigInt64(blocks, 2n ** 62n, true)],
    ["metadata without length", (copy) => copy.setInt32(blocks + 8, 0, true)],
    ["negative metadata", (copy) => copy.setInt32(blocks + 8, -8, true)],
    ["body beyond the end", (copy) => copy.setBigInt64(blocks + 16, BigInt(bytes.byteLength), true)],
    ["negative body", (copy) => copy.setBigInt64(blocks + 16, -1n, true)],
    ["body shorter than the message says", (copy) => copy.setBigInt64(blocks + 16, 0n, true)],
    ["metadata shorter than the message says", (copy) => copy.setInt32(blocks + 8, 16, true)],
    ["the schema as a batch", (copy) => copy.setBigInt64(blocks, 8n, true)],
    ["more blocks than there is room for", (copy) => copy.setUint32(blocks - 4, 2 ** 31, true)],
    ["root outside", (copy) => copy.setUint32(footerAt, 0xffff_fff0, true)],
    ["vtable outside", (copy) => copy.setInt32(footerAt + 16, -0x7fff_0000, true)],
    ["no schema", (copy) => copy.setUint16(footerAt + 10, 0, true)],
  ];
  assertEquals(view.getUint32(blocks - 4, true), 3, "the place of the blocks in a footer of our own");
  for (const [name, change] of cases) {
    const copy = bytes.slice();
    change(new DataView(copy.buffer));
    await Deno.writeFile(path, copy);
    await assertDipcError("invalid_data", "", () => arrowFile(path), name);
  }
});

Deno.test("a footer that leaves out its version, or declares an old one, is read by the version of the messages", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.arrow");
  const bytes = await arrowBytes(await fromTable(smallTable()), "file");
  const view = new DataView(bytes.buffer);
  const footerAt = bytes.byteLength - 10 - view.getInt32(bytes.byteLength - 10, true);
  const absent = bytes.slice(), old = bytes.slice(), future = bytes.slice(), bothOld = bytes.slice();
  new DataView(absent.buffer).setUint16(footerAt + 8, 0, true);
  new DataView(old.buffer).setInt16(footerAt + 20, 1, true);
  new DataView(future.buffer).setInt16(footerAt + 20, 5, true);
  for (const good of [absent, old]) {
    await Deno.writeFile(path, good);
    const dataset = await arrowFile(path);
    assertEquals(rowsOf(await readTable(dataset)), rowsOf(smallTable()));
    assertEquals((dataset.schema as VerifiedHeader).version, 5);
    await dataset.close();
  }
  // The first batch begins with marker, length, root and a vtable whose first slot is the version.
  const batch = Number(view.getBigInt64(footerAt + 48, true)) + 8;
  const table = batch + view.getUint32(batch, true);
  const slot = view.getUint16(table - view.getInt32(table, true) + 4, true);
  new DataView(bothOld.buffer).setInt16(table + slot, 2, true);
  new DataView(bothOld.buffer).setUint16(footerAt + 8, 0, true);
  for (const [bad, why] of [[future, "metadata version is 5"], [bothOld, "its version is V3"]] as const) {
    await Deno.writeFile(path, bad);
    const error = await assertDipcError(bad === future ? "invalid_data" : "unsupported", why, () => openPath(path));
    assertStringIncludes(error.message, path);
  }
});

Deno.test("reading a file of many batches takes the memory of a few", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("large.arrow");
  const table = new Table(Array.from({ length: 64 }, () => smallTable().batches[0]));
  const wide = await fromTable(table);
  await Deno.writeFile(path, await arrowBytes(wide, "file"));
  const { pool, assertAllBack } = countedPool();
  const dataset = await arrowFile(path, { pool });
  const run = await dataset.open();
  let batches = 0;
  for (let message; (message = await run.next()) !== null; batches++) {
    assertLess(pool.stats.blocksOut, 2);
    message.body!.release();
  }
  assertEquals(batches, 64);
  await run.close();
  await dataset.close();
  assertAllBack();
});

Deno.test("a folder, a missing file and files of other formats are refused with what was found", async () => {
  using folder = new TemporaryFolder();
  const write = async (name: string, content: string | Uint8Array): Promise<string> => {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    await Deno.writeFile(folder.file(name), bytes);
    return folder.file(name);
  };
  const cases: [string, DipcErrorCode, RegExp][] = [
    [folder.path, "invalid_argument", /is a directory/],
    [folder.file("absent"), "not_found", /there is no such file/],
    [await write("empty.arrow", ""), "invalid_data", /is empty/],
    [await write("old.feather", "FEA1\0\0\0\0"), "unsupported", /Feather V1/],
    [await write("a.csv", "a,b,c\n1,2,3\n"), "invalid_data", /CSV, JSON and text are not supported/],
    [await write("a.arrow.gz", new Uint8Array([0x1f, 0x8b, 8, 0, 0, 0, 0, 0])), "unsupported", /gzip/],
    [await write("short.arrow", "ARROW1"), "invalid_data", /cut short/],
    [await write("short.parquet", "PAR1"), "invalid_data", /cut short/],
  ];
  for (const [path, code, text] of cases) {
    await assertDipcError(code, text, () => openPath(path), path);
  }
});
