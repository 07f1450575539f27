/**
 * Batches in device memory: the position of their buffers, what they wait for, the release of their memory, and batches
 * from pointers of other code.
 */
import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import {
  Dictionary,
  Field,
  FixedSizeBinary,
  Float64,
  Int32,
  Int8,
  LargeUtf8,
  List,
  Schema,
  Struct,
  Table,
  tableFromArrays,
  tableToIPC,
  Utf8,
  Utf8View,
  vectorFromArray,
} from "apache-arrow";
import {
  connect,
  type Dataset,
  DipcError,
  type DipcErrorCode,
  fromTable,
  type MessageStream,
  serve,
} from "../../mod.ts";
import {
  connectCuda,
  deviceBatch,
  type DeviceBuffer,
  type DeviceColumn,
  type DeviceColumnSource,
  type DeviceRecordBatch,
  fromDeviceBatches,
  releaseDevices,
} from "../../cuda.ts";
import { openGpu } from "../../src/device/devices.ts";
import { deviceColumns } from "../../src/device/columns.ts";
import { HeaderReader } from "../../src/ipc/header.ts";
import { encodeSchema } from "../../src/ipc/encode.ts";
import { delay, until } from "../support/time.ts";
import { assertDipcError } from "../support/assert.ts";
import { streamMessages } from "../support/ipc_messages.ts";
import { plainColumns } from "../support/ipc_values.ts";
import { cuda, needsSimulator } from "../support/cuda_sim.ts";
import { deviceSpaces, deviceTest } from "./support/device_tests.ts";
import { goldFolder, needsGold, testNeeding } from "../support/needs.ts";
import { rowsOf } from "../support/datasets.ts";

const memory = "cuda:0";

/** Every buffer of a column and of what is in it, in the order of the metadata. */
function buffersOf(column: DeviceColumn): (DeviceBuffer | null)[] {
  const { validity, typeIds, offsets, sizes, data, variadic, children } = column;
  return [validity, typeIds, offsets, sizes, data, ...variadic, ...children.flatMap(buffersOf)];
}

testNeeding([needsGold], "the buffers of every gold file's columns are those of its metadata, each once", async () => {
  let columns = 0;
  for (const group of ["1.0.0-littleendian", "4.0.0-shareddict"]) {
    for (const { name } of Deno.readDirSync(`${goldFolder}/${group}`)) {
      if (!name.endsWith(".stream")) continue;
      const [schema, ...messages] = streamMessages(await Deno.readFile(`${goldFolder}/${group}/${name}`));
      const reader = HeaderReader.continuing(schema.header);
      for (const message of messages) {
        const header = reader.read(message.header.bytes);
        const base = 1n << 40n;
        const found = deviceColumns(header, base).flatMap(buffersOf).filter((buffer) => buffer !== null);
        columns += header.plan.roots.length;
        const { buffers } = header;
        // A validity bitmap of a column without nulls is left out of the columns, and may be in the body.
        const expected: string[] = [];
        for (let i = 0; i < buffers.length; i += 2) {
          if (buffers[i + 1] > 0) expected.push(`${base + BigInt(buffers[i])} ${buffers[i + 1]}`);
        }
        const got = found.filter(({ byteLength }) => byteLength > 0).map((each) =>
          `${each.address} ${each.byteLength}`
        );
        let at = 0;
        for (const buffer of got) {
          const next = expected.indexOf(buffer, at);
          assert(next >= at, `${name}: ${buffer} is not among ${expected}, or out of order`);
          at = next + 1;
        }
      }
    }
  }
  assert(columns > 300, `only ${columns} columns`);
});

deviceTest(
  "columns lead to their values: every buffer that a column names holds what the host's column holds",
  async () => {
    const children = vectorFromArray([[1, 2], null, [], [3]], new List(new Field("item", new Int32(), true)));
    const table = (tableFromArrays as (columns: unknown) => Table)({
      number: vectorFromArray([1.5, null, 3, 4], new Float64()),
      text: vectorFromArray(["a", "bc", null, "a text that is longer than a view"], new Utf8()),
      view: vectorFromArray(["a", "bc", null, "a text that is longer than a view"], new Utf8View()),
      zone: vectorFromArray(["x", "y", "x", null], new Dictionary(new Utf8(), new Int8())),
      list: children,
    });
    await using server = await serve({ datasets: { d: table } });
    await using stream = await connectCuda(server.datasets[0].uris, { memory });
    const device = openGpu(memory);
    let seen = 0;
    for await (using batch of stream) {
      seen++;
      await batch.ready();
      const bytes = async (buffer: DeviceBuffer | null): Promise<Uint8Array<ArrayBuffer>> => {
        const target = new Uint8Array(buffer!.byteLength);
        if (target.byteLength > 0) await device.copies.download(target, buffer!.address);
        return target;
      };
      const [number, text, view, zone, list] = batch.columns;
      assertEquals(batch.columns.map(({ name }) => name), ["number", "text", "view", "zone", "list"]);
      assertEquals([number.length, number.nullCount, number.offsets, number.children], [4, 1, null, []]);
      assertEquals((await bytes(number.validity))[0] & 15, 0b1101);
      const values = new Float64Array((await bytes(number.data)).buffer);
      assertEquals([values[0], values[2], values[3]], [1.5, 3, 4]);
      const offsets = new Int32Array((await bytes(text.offsets)).buffer);
      const utf8 = new TextDecoder().decode(await bytes(text.data));
      assertEquals([...offsets.subarray(0, 3)], [0, 1, 3]);
      assertEquals(utf8, "abca text that is longer than a view");
      assertEquals([view.data!.byteLength, view.variadic.length], [64, 1]);
      assertStringIncludes(
        new TextDecoder().decode(await bytes(view.variadic[0])),
        "a text that is longer than a view",
      );
      assertEquals([zone.type, zone.dictionaryId !== null], [{ id: "int", bitWidth: 8, signed: true }, true]);
      const indices = new Int8Array((await bytes(zone.data)).buffer);
      assertEquals([...indices.subarray(0, 3)], [0, 1, 0]);
      const [dictionary] = batch.dictionary(zone.dictionaryId!);
      assertEquals([dictionary.length, dictionary.type.id], [2, "utf8"]);
      assertEquals(new TextDecoder().decode(await bytes(dictionary.data)), "xy");
      assertEquals([...new Int32Array((await bytes(list.offsets)).buffer)].slice(0, 5), [0, 2, 2, 2, 3]);
      assertEquals([...new Int32Array((await bytes(list.children[0].data)).buffer)].slice(0, 3), [1, 2, 3]);
      assertEquals([batch.column("list"), batch.column(4), batch.column("none")], [list, list, null]);
      assertEquals(batch.address % 256n, 0n);
    }
    assertEquals(seen, 1);
  },
);

/** Reads a table into device memory; the batches are the caller's. */
async function onDevice(table: Table): Promise<DeviceRecordBatch[]> {
  await using server = await serve({ datasets: { d: table } });
  await using stream = await connectCuda(server.datasets[0].uris, { memory });
  const batches: DeviceRecordBatch[] = [];
  for await (const batch of stream) batches.push(batch);
  return batches;
}

deviceTest("a batch is waited for by its event, by ready(), or by a stream of the user's own", async () => {
  cuda?.control?.setDelay(20);
  try {
    const [batch] = await onDevice(tableFromArrays({ n: Float64Array.from({ length: 1000 }, (_, i) => i) }));
    const device = openGpu(batch.space);
    const out = new BigUint64Array(1);
    device.withContext(() => device.driver.check(device.symbols.cuStreamCreate(out, 1), "making a stream"));
    const target = device.pool.acquire(8000);
    const { data } = batch.columns[0];
    // Work of the user's own, on a stream of the user's own.
    batch.waitOn(out[0]);
    device.withContext(() =>
      device.driver.check(device.symbols.cuMemcpyDtoDAsync_v2(target.address, data!.address, 8000n, out[0]), "copying")
    );
    batch.usedBy({ stream: out[0] });
    const free = () => device.pool.stats;
    const { bytesOut } = free();
    batch[Symbol.dispose]();
    assertEquals(free().bytesOut < bytesOut, true);
    const own = device.eventOf({ stream: out[0] });
    await own.done();
    const back = new Float64Array(1000);
    await device.copies.download(new Uint8Array(back.buffer), target.address);
    assertEquals([back[0], back[999]], [0, 999]);
    target.release();
    device.withContext(() => device.driver.check(device.symbols.cuStreamDestroy_v2(out[0]), "destroying a stream"));
  } finally {
    cuda?.control?.setDelay(1);
  }
});

deviceTest(
  "a disposed batch throws, its memory serves the next one, and dictionaries live as long as a batch needs them",
  async () => {
    const rows = 400;
    const zone = vectorFromArray(
      Array.from({ length: rows }, (_, i) => `zone ${i % 9}`),
      new Dictionary(new Utf8(), new Int32()),
    );
    const [all] = (tableFromArrays as (columns: unknown) => Table)({ zone }).batches;
    const [first, second] = await onDevice(new Table([all.slice(0, 200), all.slice(200)]));
    const { pool } = openGpu(first.space);
    const out = pool.stats.blocksOut;
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    assertEquals(pool.stats.blocksOut, out - 1, "the dictionary is still needed");
    assert(first.isDisposed, "the batch is not disposed");
    for (const use of [() => first.columns, () => first.address, () => first.dictionary(0n), () => first.waitOn(0n)]) {
      assertDipcError("closed", "", use);
    }
    await assertDipcError("closed", "", () => first.toHost());
    using host = await second.toHost();
    assertEquals(host.getChildAt(0)!.get(0), `zone ${200 % 9}`);
    second[Symbol.dispose]();
    assertEquals(pool.stats.blocksOut, 0);
  },
);

deviceTest("batches that are not disposed release their memory when they are collected", async () => {
  const { setFlagsFromString } = await import("node:v8");
  setFlagsFromString("--expose-gc");
  const gc = (await import("node:vm")).runInNewContext("gc") as () => void;
  let kept: DeviceRecordBatch[] | null = await onDevice(
    tableFromArrays({ n: Int32Array.from({ length: 9 }, () => 1) }),
  );
  assertEquals(kept.length, 1);
  kept = null;
  const { pool } = openGpu(memory);
  await until(() => {
    gc();
    return pool.stats.blocksOut === 0;
  });
});

deviceTest("toHost() makes a normal batch, pinned or not, and copyTo() another device batch", async () => {
  const table = tableFromArrays({ n: Int32Array.of(1, 2, 3), s: ["a", null, "c"] });
  const [batch] = await onDevice(table);
  const device = openGpu(batch.space);
  for (const pinned of [true, false]) {
    const before = device.pinned.stats.blocksOut;
    using host = await batch.toHost({ pinned });
    assertEquals(device.pinned.stats.blocksOut - before, pinned ? 1 : 0);
    assertEquals(host.toArray().map((row) => `${row}`), table.toArray().map((row) => `${row}`));
  }
  for (const space of deviceSpaces()) {
    using copy = batch.copyTo(space);
    assertEquals(copy.space, space);
    assert(copy.address !== batch.address, "the copy shares its memory");
    using host = await copy.toHost();
    assertEquals(host.toArray().map((row) => `${row}`), table.toArray().map((row) => `${row}`));
  }
  batch[Symbol.dispose]();
});

deviceTest("dictionaries that grow and change in the stream belong to the batches that came after them", async () => {
  // Each third of a stream with a dictionary of its own: what comes second replaces what came first.
  const table = (words: string[]): Table =>
    (tableFromArrays as (columns: unknown) => Table)({
      word: vectorFromArray(words, new Dictionary(new Utf8(), new Int32(), 5)),
    });
  const streams = [["x", "y"], ["p", "q"], ["p", "q", "r"]].map((words) => tableToIPC(table(words), "stream"));
  const source = {
    schema: streamMessages(streams[0])[0].header,
    readOnce: false,
    open() {
      const list = streams.flatMap((bytes) => streamMessages(bytes).slice(1));
      return { next: () => list.shift() ?? null, close() {} };
    },
    close() {},
  };
  for (const options of [{}, { memory } as const]) {
    const served = "memory" in options ? { source, memory } : source;
    await using server = await serve({ datasets: { d: served } });
    await using stream = await connectCuda(server.datasets[0].uris, { memory });
    const batches: DeviceRecordBatch[] = [];
    for await (const batch of stream) batches.push(batch);
    assertEquals(stream.stats.dictionaries, 3);
    // Late, and in any order: each batch has the values that it came with.
    for (const i of [1, 0, 2]) {
      using host = await batches[i].toHost();
      assertEquals(plainColumns(host), [[["x", "y"], ["p", "q"], ["p", "q", "r"]][i]]);
    }
    batches.forEach((batch) => batch[Symbol.dispose]());
  }
});

/** Puts bytes into device memory of the test's own. */
async function upload(view: ArrayBufferView<ArrayBuffer>) {
  const device = openGpu(memory);
  const block = device.pool.acquire(Math.max(1, view.byteLength));
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  if (bytes.byteLength > 0) await device.copies.upload(block.address, bytes);
  return { block, buffer: { address: block.address, byteLength: view.byteLength } };
}

deviceTest("batches from pointers are gathered into one body, served, and read by the host", async () => {
  const schema = new Schema([
    new Field("n", new Int32(), true),
    new Field("s", new LargeUtf8(), true),
    new Field("z", new Dictionary(new Utf8(), new Int8(), 3), true),
    new Field("p", new Struct([new Field("q", new FixedSizeBinary(3), false)]), false),
    new Field("l", new List(new Field("item", new Float64(), true)), true),
  ]);
  const parts = {
    n: await upload(Int32Array.of(7, 0, 9)),
    nulls: await upload(Uint8Array.of(0b101)),
    offsets64: await upload(BigInt64Array.of(0n, 2n, 2n, 5n)),
    text: await upload(new TextEncoder().encode("hiyou")),
    indices: await upload(Int8Array.of(1, 0, 1)),
    words: await upload(new TextEncoder().encode("nopeyes")),
    wordOffsets: await upload(Int32Array.of(0, 4, 7)),
    fixed: await upload(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9)),
    listOffsets: await upload(Int32Array.of(0, 1, 1, 3)),
    items: await upload(Float64Array.of(0.5, 1.5, 2.5)),
  };
  let disposed = 0;
  const columns: DeviceColumnSource[] = [
    { length: 3, nullCount: 1, validity: parts.nulls.buffer, data: parts.n.buffer },
    { length: 3, offsets: parts.offsets64.buffer, data: parts.text.buffer },
    { length: 3, data: parts.indices.buffer },
    { length: 3, children: [{ length: 3, data: parts.fixed.buffer }] },
    { length: 3, offsets: parts.listOffsets.buffer, children: [{ length: 3, data: parts.items.buffer }] },
  ];
  const dictionaries = new Map([[3n, { length: 2, offsets: parts.wordOffsets.buffer, data: parts.words.buffer }]]);
  const owner = { [Symbol.dispose]: () => void disposed++ };
  const first = deviceBatch({ schema, device: memory, rows: 3, columns, dictionaries, owner });
  const second = deviceBatch({ schema, device: memory, rows: 3, columns, dictionariesOf: first });
  const third = deviceBatch({ schema, device: memory, rows: 3, columns, dictionaries });
  await first.ready();
  await second.ready();
  await third.ready();
  await until(() => disposed > 0);
  assertEquals(disposed, 1, "the owner is disposed once its memory has been read");
  for (const { block } of Object.values(parts)) block.release();
  const expected = [
    { n: 7, s: "hi", z: "yes", p: { q: { 0: 1, 1: 2, 2: 3 } }, l: [0.5] },
    { n: null, s: "", z: "nope", p: { q: { 0: 4, 1: 5, 2: 6 } }, l: [] },
    { n: 9, s: "you", z: "yes", p: { q: { 0: 7, 1: 8, 2: 9 } }, l: [1.5, 2.5] },
  ];
  const batches = [first, second, third];
  await using server = await serve({ datasets: { made: fromDeviceBatches(batches) } });
  assertEquals([server.datasets[0].rows, server.datasets[0].memory], [9, memory]);
  for (let run = 0; run < 2; run++) {
    await using stream = await connect(server.datasets[0].uris);
    assertEquals(rowsOf(await stream.toTable()), [...expected, ...expected, ...expected]);
    // The dictionary is sent again only if it is a different one.
    assertEquals(stream.stats.dictionaries, 2);
  }
  // From device memory to device memory.
  await using stream = await connectCuda(server.datasets[0].uris, { memory: deviceSpaces().at(-1)! });
  assertEquals(rowsOf(await stream.toTable()), [...expected, ...expected, ...expected]);
  batches.forEach((batch) => batch[Symbol.dispose]());
});

deviceTest("device batches from an iterable are read once, and disposed when they are sent", async () => {
  const device = openGpu(memory);
  const schema = encodeSchema(new Schema([new Field("n", new Int32(), false)]));
  const made: DeviceRecordBatch[] = [];
  async function* produce(): AsyncGenerator<DeviceRecordBatch> {
    for (let i = 0; i < 20; i++) {
      const { block, buffer } = await upload(Int32Array.of(i, i + 1));
      const batch = deviceBatch({ schema, device: memory, rows: 2, columns: [{ length: 2, data: buffer }] });
      await batch.ready();
      block.release();
      made.push(batch);
      yield batch;
    }
  }
  await using server = await serve({ datasets: { live: fromDeviceBatches(produce(), { schema, memory }) } });
  await using stream = await connect(server.datasets[0].uris);
  const values = [...(await stream.toTable()).getChildAt(0)!];
  assertEquals(values, Array.from({ length: 20 }, (_, i) => [i, i + 1]).flat());
  assert(made.every(({ isDisposed }) => isDisposed), "a batch that was sent is not disposed");
  await until(() => device.pool.stats.blocksOut === 0);
  await assertDipcError("busy", "", async () => (await connect(server.datasets[0].uris)).toTable());
  assertThrows(() => fromDeviceBatches(produce()), DipcError, "need a schema");
});

deviceTest("a batch that is disposed while it is sent keeps its memory until it is out", async () => {
  const rows = 1 << 20;
  const { block, buffer } = await upload(Int32Array.from({ length: rows }, (_, i) => i));
  const schema = new Schema([new Field("n", new Int32(), false)]);
  const make = () => deviceBatch({ schema, device: memory, rows, columns: [{ length: rows, data: buffer }] });
  const batches = await Promise.all(Array.from({ length: 12 }, () => make().ready()));
  block.release();
  await using server = await serve({ datasets: { d: fromDeviceBatches(batches) }, windowBytes: 1 << 20 });
  await using stream = await connect(server.datasets[0].uris);
  const first = await stream.next();
  batches[0][Symbol.dispose]();
  batches[1][Symbol.dispose]();
  assertEquals(first.value!.getChildAt(0)!.get(rows - 1), rows - 1);
  first.value![Symbol.dispose]();
  let seen = 1;
  for await (using batch of stream) {
    assertEquals(batch.getChildAt(0)!.get(rows - 1), rows - 1);
    seen++;
  }
  assertEquals(seen, 12);
  batches.forEach((batch) => batch[Symbol.dispose]());
});

deviceTest("pointers that do not fit are refused, by name, before anything is copied", async () => {
  const device = openGpu(memory);
  const schema = new Schema([new Field("n", new Int32(), true)]);
  const { block, buffer } = await upload(Int32Array.of(1, 2, 3, 4));
  const pinned = device.pinned.acquire(64);
  const make = (columns: DeviceColumnSource[], rows = 4) => () =>
    deviceBatch({ schema, device: memory, rows, columns });
  const refusals: [() => unknown, DipcErrorCode, RegExp][] = [
    [
      make([{ length: 4, data: { address: 4096n, byteLength: 16 } }]),
      "invalid_argument",
      /value buffer of column "n".*it is unknown to the driver/,
    ],
    [
      make([{ length: 4, data: { address: pinned.address, byteLength: 16 } }]),
      "invalid_argument",
      /value buffer of column "n".*host memory/,
    ],
    [
      make([{ length: 4, data: { address: buffer.address, byteLength: 1 << 30 } }]),
      "invalid_argument",
      /value buffer of column "n"/,
    ],
    [
      make([{ length: 4, data: { address: buffer.address, byteLength: 12 } }]),
      "invalid_data",
      /value buffer of column "n" has 12 bytes, expected 16/,
    ],
    [make([{ length: 3, data: buffer }]), "invalid_data", /3 values/],
    [make([]), "invalid_argument", /0 columns, but its schema has 1/],
    [make([{ length: 4, data: buffer }, { length: 4, data: buffer }]), "invalid_argument", /2 columns/],
    [make([{ length: 4, data: buffer, children: [{ length: 1 }] }]), "invalid_argument", /1 children, expected 0/],
    [make([{ length: 4, nullCount: 2, data: buffer }]), "invalid_data", /validity buffer of column "n" has 0 bytes/],
    [make([{ length: 4, nullCount: -1, data: buffer }]), "invalid_data", /./],
    [
      () =>
        deviceBatch({ schema, device: memory, rows: 4, columns: [{ length: 4, data: buffer }], event: 1n, stream: 1n }),
      "invalid_argument",
      /both an event and a stream to wait for/,
    ],
  ];
  const before = device.pool.stats.blocksOut;
  for (const [attempt, code, text] of refusals) {
    assertDipcError(code, text, attempt);
  }
  assertEquals(device.pool.stats.blocksOut, before);
  // Memory of another GPU.
  if (deviceSpaces().length > 1) {
    const other = openGpu("cuda:1").pool.acquire(64);
    const error = assertThrows(make([{ length: 4, data: { address: other.address, byteLength: 16 } }]), DipcError);
    assertMatch(error.message, /must lie in the memory of cuda:0, but it belongs to cuda:1/);
    other.release();
  }
  block.release();
  pinned.release();
});

deviceTest("a producer's event is waited for before its buffers are read", async () => {
  const device = openGpu(memory);
  cuda!.control!.setDelay(200);
  try {
    const block = device.pool.acquire(1 << 16);
    const stream = new BigUint64Array(1);
    const event = new BigUint64Array(1);
    device.withContext(() => {
      const { cuStreamCreate, cuEventCreate, cuMemsetD8Async, cuEventRecord } = device.symbols;
      device.driver.check(cuStreamCreate(stream, 1), "making a stream");
      device.driver.check(cuEventCreate(event, 2), "making an event");
      device.driver.check(cuMemsetD8Async(block.address, 1, 1n << 16n, stream[0]), "filling");
      device.driver.check(cuEventRecord(event[0], stream[0]), "recording");
    });
    const schema = new Schema([new Field("n", new Int8(), false)]);
    const data = { address: block.address, byteLength: 1 << 16 };
    const columns = [{ length: 1 << 16, data }];
    for (const wait of [{ event: event[0] }, { stream: stream[0] }]) {
      const batch = deviceBatch({ schema, device: memory, rows: 1 << 16, columns, ...wait });
      await using server = await serve({ datasets: { d: fromDeviceBatches([batch]) } });
      await using reader = await connect(server.datasets[0].uris);
      const values = (await reader.toTable()).getChildAt(0)!.toArray() as Int8Array;
      assertEquals([values.length, values.every((value) => value === 1)], [1 << 16, true]);
      batch[Symbol.dispose]();
    }
    block.release();
    device.withContext(() => {
      device.driver.check(device.symbols.cuStreamDestroy_v2(stream[0]), "destroying a stream");
      device.driver.check(device.symbols.cuEventDestroy_v2(event[0]), "destroying an event");
    });
  } finally {
    cuda!.control!.setDelay(1);
  }
}, [needsSimulator]);

deviceTest("limits hold for dictionaries and decompressed bodies in device memory, too", async () => {
  const zone = vectorFromArray(
    Array.from({ length: 100 }, (_, i) => `zone ${i}`),
    new Dictionary(new Utf8(), new Int32()),
  );
  const table = (tableFromArrays as (columns: unknown) => Table)({ zone });
  await using server = await serve({
    datasets: { zone: table, zstd: `${goldFolder}/2.0.0-compression/generated_zstd.stream` },
  });
  const [plain, zstd] = server.datasets;
  for (
    const [uris, limits, text] of [
      [plain.uris, { maxDictionaryBytes: 100 }, /maxDictionaryBytes is 100/],
      [plain.uris, { maxRows: 10 }, /maxRows/],
      [zstd.uris, { maxDecompressedBytes: 16 }, /maxDecompressedBytes of 16/],
    ] as const
  ) {
    await assertDipcError("limit_exceeded", text, async () => {
      await using stream = await connectCuda(uris, { memory, limits });
      for await (using _batch of stream);
    });
  }
}, [needsGold]);

deviceTest("a stream into device memory is cancelled by its signal, by leaving, and by its end of use", async () => {
  const source = await fromTable(tableFromArrays({ n: [1, 2, 3] }));
  const slow: Dataset = {
    schema: source.schema,
    readOnce: false,
    open() {
      const run = source.open() as MessageStream;
      const wait = () => delay(100);
      return { next: () => wait().then(() => run.next()), close: () => run.close() };
    },
    close() {},
  };
  await using server = await serve({ datasets: { slow } });
  const { uris } = server.datasets[0];
  const stop = new AbortController();
  const stream = await connectCuda(uris, { memory, signal: stop.signal });
  stop.abort("enough");
  const error = await assertDipcError("cancelled", "", () => stream.next());
  assertEquals(error.cause, "enough");
  const other = await connectCuda(uris, { memory });
  await other.cancel();
  await other.cancel();
  await assertDipcError("cancelled", "", () => other.next());
  const busy = await connectCuda(uris, { memory });
  const reads = [busy.next(), busy.next()];
  await assertDipcError("invalid_argument", "", () => reads[1]);
  (await reads[0]).value?.[Symbol.dispose]();
  await busy.cancel();
  await assertRejects(() => connectCuda(uris, { memory, signal: AbortSignal.abort() }), DipcError);
  await source.close();
});

deviceTest("after releaseDevices() the next stream opens the GPU again", async () => {
  await using server = await serve({ datasets: { d: tableFromArrays({ n: [1, 2, 3] }) } });
  for (let i = 0; i < 2; i++) {
    const stream = await connectCuda(server.datasets[0].uris, { memory });
    assertEquals((await stream.toTable()).numRows, 3);
    await releaseDevices();
    await releaseDevices();
  }
});
