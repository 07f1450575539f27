/** Arrow streams as datasets: from files, pipes and streams of bytes, in old and new framing, cut short at every byte. */
import { assert, assertEquals, assertGreater, assertRejects } from "@std/assert";
import { tableToIPC } from "apache-arrow";
import { DipcError } from "../../src/errors.ts";
import { arrowStream } from "../../src/sources/arrow_stream.ts";
import type { ByteReader } from "../../src/sources/byte_input.ts";
import { openPath } from "../../src/sources/open_path.ts";
import { until } from "../support/time.ts";
import { assertDipcError } from "../support/assert.ts";
import { splitStream } from "../support/arrow_messages.ts";
import {
  copyMessage,
  countedPool,
  isReadable,
  openDescriptors,
  readMessages,
  readTable,
  rowsOf,
  smallTable,
} from "../support/datasets.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { type Random, seededRandom } from "../support/random.ts";

const END = new Uint8Array([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);

function bytesOf(): Uint8Array<ArrayBuffer> {
  return tableToIPC(smallTable(), "stream").slice();
}

/** A stream of bytes in pieces of random size. */
function inPieces(bytes: Uint8Array, random: Random): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at === bytes.byteLength) return controller.close();
      const size = Math.min(bytes.byteLength - at, Math.floor(random.fraction() ** 3 * 400));
      controller.enqueue(bytes.slice(at, at + size));
      at += size;
    },
  });
}

Deno.test("a file with a stream can be read many times and gives what apache-arrow wrote", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.arrows");
  await Deno.writeFile(path, bytesOf());
  const { pool, assertAllBack } = countedPool();
  const before = openDescriptors();
  const dataset = await openPath(path, { pool });
  assertEquals(dataset.readOnce, false);
  const first = await readMessages(dataset);
  assertEquals(await readMessages(dataset), first);
  assertEquals(first.map(({ body }) => body), splitStream(bytesOf()).slice(1).map(({ body }) => body));
  assertEquals(rowsOf(await readTable(await openPath(path))), rowsOf(smallTable()));
  await dataset.close();
  assertAllBack();
  assert(openDescriptors() <= before + 1, "the descriptor of the closed dataset is still open");
});

Deno.test("bytes in pieces of any size give the same messages", async () => {
  const random = seededRandom();
  using folder = new TemporaryFolder();
  await Deno.writeFile(folder.file("a.arrows"), bytesOf());
  const file = await openPath(folder.file("a.arrows"));
  const expected = await readMessages(file);
  await file.close();
  const { pool, assertAllBack } = countedPool();
  for (let i = 0; i < 50; i++) {
    const dataset = await arrowStream(inPieces(bytesOf(), random), { pool });
    assertEquals(await readMessages(dataset), expected);
    await dataset.close();
  }
  assertAllBack();
});

Deno.test("old framing without continuation marker is read, with and without an end marker", async () => {
  const messages = splitStream(bytesOf());
  const legacy = (end: Uint8Array): Uint8Array<ArrayBuffer> => {
    const parts: Uint8Array[] = [];
    for (const { metadata, body } of messages) {
      const length = new Uint8Array(4);
      new DataView(length.buffer).setInt32(0, metadata.byteLength, true);
      parts.push(length, metadata, body);
    }
    return new Uint8Array([...parts, end].flatMap((part) => [...part]));
  };
  using folder = new TemporaryFolder();
  for (const end of [new Uint8Array(4), new Uint8Array(0), END]) {
    const path = folder.file("legacy");
    await Deno.writeFile(path, legacy(end));
    const dataset = await openPath(path);
    assertEquals(rowsOf(await readTable(dataset)), rowsOf(smallTable()));
    await dataset.close();
  }
});

Deno.test("a stream that ends with the input instead of a marker is whole", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.arrows");
  const bytes = bytesOf();
  assertEquals(bytes.slice(-8), END);
  await Deno.writeFile(path, bytes.subarray(0, -8));
  const dataset = await openPath(path);
  assertEquals((await readMessages(dataset)).length, 3);
  await dataset.close();
});

Deno.test("a stream cut short at any byte inside a message is an error, never a short result", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("cut.arrows");
  const bytes = bytesOf();
  const boundaries = new Set<number>();
  let at = 0;
  for (const { metadata, body } of splitStream(bytes)) boundaries.add(at += 8 + metadata.byteLength + body.byteLength);
  const { pool, assertAllBack } = countedPool();
  let errors = 0;
  for (let length = 0; length < bytes.byteLength; length++) {
    if (boundaries.has(length)) continue;
    const cut = bytes.slice(0, length);
    await Deno.writeFile(path, cut);
    for (const open of [() => openPath(path, { pool }), () => arrowStream(new Blob([cut]).stream(), { pool })]) {
      const error = await assertRejects(
        async () => {
          const dataset = await open();
          try {
            await readMessages(dataset);
          } finally {
            await dataset.close();
          }
        },
        DipcError,
        undefined,
        `cut at ${length}`,
      );
      assert(["invalid_data", "unsupported"].includes(error.code), `cut at ${length}: ${error.code} ${error.message}`);
      errors++;
    }
  }
  assertEquals(errors, 2 * (bytes.byteLength - boundaries.size));
  assertAllBack();
});

Deno.test("random damage gives an error or data, never a crash or much memory", async () => {
  const random = seededRandom();
  const bytes = bytesOf();
  const { pool, assertAllBack } = countedPool();
  let refused = 0;
  for (let i = 0; i < 1500; i++) {
    const damaged = bytes.slice();
    for (let n = 1 + random.fraction() * 4; n > 0; n--) {
      damaged[random.below(damaged.byteLength)] = random.below(256);
    }
    const open = () => arrowStream(new Blob([damaged]).stream(), { pool, limits: { maxBodyBytes: 1 << 20 } });
    if (!await isReadable(open)) refused++;
  }
  assertAllBack();
  assert(pool.stats.mappedBytes <= 8 << 20, `${pool.stats.mappedBytes} bytes were mapped`);
  console.log(`${refused} of 1500 refused`);
  assertGreater(refused, 100);
});

Deno.test("a stream of bytes can be read once: the second run is refused as busy", async () => {
  const dataset = await arrowStream(new Blob([bytesOf()]).stream());
  assert(dataset.readOnce, "the stream can be read again");
  assertEquals((await readMessages(dataset)).length, 3);
  await assertDipcError("busy", "", async () => await dataset.open());
  await dataset.close();
});

Deno.test("a source that never answers is left at once when the run is closed, and its memory waits for it", async () => {
  const bytes = bytesOf();
  let answer = null as ((n: number) => void) | null;
  let closed = false, at = 0;
  const stuckAt = bytes.byteLength - 100;
  const reader: ByteReader = {
    read(target) {
      const n = Math.min(target.byteLength, stuckAt - at);
      if (n === 0) return new Promise((resolve) => answer = resolve);
      target.set(bytes.subarray(at, at + n));
      at += n;
      return Promise.resolve(n);
    },
    close: () => void (closed = true),
  };
  const { pool, assertAllBack } = countedPool();
  const dataset = await arrowStream(reader, { pool, name: "a slow pipe" });
  const run = await dataset.open();
  copyMessage((await run.next())!);
  copyMessage((await run.next())!);
  const pending = Promise.resolve(run.next());
  await until(() => answer !== null);
  await run.close();
  await assertDipcError("closed", "", () => pending);
  assertEquals(closed, false);
  answer!(0);
  await until(() => closed);
  assertAllBack();
});

Deno.test("an aborted signal ends a run that waits", async () => {
  const abort = new AbortController();
  const bytes = bytesOf();
  const stream = new ReadableStream<Uint8Array>({ start: (controller) => controller.enqueue(bytes.slice(0, -150)) });
  const dataset = await arrowStream(stream);
  const run = await dataset.open({ signal: abort.signal });
  copyMessage((await run.next())!);
  copyMessage((await run.next())!);
  const pending = Promise.resolve(run.next());
  abort.abort();
  await assertDipcError("closed", "", () => pending);
  await dataset.close();
});

Deno.test("a stream that fails gives io with its cause", async () => {
  const bytes = bytesOf();
  const stream = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(bytes.slice(0, -150)),
    pull: (controller) => controller.error(new Error("the disk is on fire")),
  }, { highWaterMark: 1 });
  await assertDipcError("io", "the disk is on fire", async () => {
    const dataset = await arrowStream(stream);
    await readMessages(dataset);
  });
});

Deno.test("standard input is read as a stream", async () => {
  const program = `
    import { openPath } from ${JSON.stringify(`${ROOT}/src/sources/open_path.ts`)};
    const dataset = await openPath("-");
    const run = await dataset.open();
    let rows = 0, bodyBytes = 0;
    for (let message; (message = await run.next()) !== null;) {
      rows += message.header.rows;
      bodyBytes += message.body.byteLength;
      message.body.release();
    }
    console.log(JSON.stringify({ rows, bodyBytes, readOnce: dataset.readOnce }));
    Deno.exit(0);`;
  using folder = new TemporaryFolder();
  await Deno.writeTextFile(folder.file("stdin.ts"), program);
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-q",
      "--config",
      `${ROOT}/deno.json`,
      "--allow-ffi",
      "--allow-read",
      "--no-prompt",
      folder.file("stdin.ts"),
    ],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const output = child.output();
  const writer = child.stdin.getWriter();
  const bytes = bytesOf();
  for (let at = 0; at < bytes.byteLength; at += 97) await writer.write(bytes.subarray(at, at + 97));
  await writer.close();
  const { code, stdout, stderr } = await output;
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  const bodyBytes = splitStream(bytes).reduce((sum, { body }) => sum + body.byteLength, 0);
  assertEquals(JSON.parse(new TextDecoder().decode(stdout)), { rows: 15, bodyBytes, readOnce: true });
});

Deno.test("a named pipe is read as a stream, once", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("pipe");
  const made = await new Deno.Command("mkfifo", { args: [path] }).output();
  assert(made.success, new TextDecoder().decode(made.stderr));
  const writing = Deno.writeFile(path, bytesOf(), { create: false });
  const dataset = await openPath(path);
  assert(dataset.readOnce, "the stream can be read again");
  assertEquals(rowsOf(await readTable(dataset)), rowsOf(smallTable()));
  await writing;
  await dataset.close();
});

Deno.test("text on a pipe is not an Arrow stream, and the message says what to pipe in", async () => {
  await assertDipcError(
    "invalid_data",
    "does not start as an Arrow stream; pipe one in",
    () => arrowStream(new Blob(["hello, world\n"]).stream()),
  );
});

Deno.test("an Arrow file on a pipe is refused, because its parts are not in order", async () => {
  const bytes = tableToIPC(smallTable(), "file");
  await assertDipcError("unsupported", "path", () => arrowStream(new Blob([bytes.slice()]).stream()));
});
