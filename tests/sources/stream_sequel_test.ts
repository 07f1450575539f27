/** What follows the end-of-stream marker of an Arrow stream, and a stream without one: read, reported, or refused by name. */
import { assertEquals, assertMatch } from "@std/assert";
import {
  Dictionary,
  Int32,
  RecordBatch,
  Table,
  tableFromArrays,
  tableToIPC,
  Utf8,
  vectorFromArray,
} from "apache-arrow";
import { concatBytes } from "../../src/bytes.ts";
import { arrowStream } from "../../src/sources/arrow_stream.ts";
import type { SourceOptions } from "../../src/sources/options.ts";
import type { Dataset } from "../../src/sources/dataset.ts";
import { openPath } from "../../src/sources/open_path.ts";
import { splitStream } from "../support/arrow_messages.ts";
import { assertDipcError } from "../support/assert.ts";
import { countedPool, readMessages, readTable } from "../support/datasets.ts";
import { TemporaryFolder } from "../support/paths.ts";

const END = new Uint8Array([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
const WORDS = new Dictionary(new Utf8(), new Int32(), 0);

function numbers(...values: number[]): Uint8Array<ArrayBuffer> {
  return tableToIPC(tableFromArrays({ n: Int32Array.from(values) }), "stream").slice();
}

function words(...values: string[]): Uint8Array<ArrayBuffer> {
  return tableToIPC(new Table({ word: vectorFromArray(values, WORDS) }), "stream").slice();
}

/** A stream without some of its messages: 0 is the schema. */
function without(bytes: Uint8Array, left: readonly number[]): Uint8Array<ArrayBuffer> {
  const parts = splitStream(bytes).filter((_, index) => !left.includes(index)).flatMap(({ metadata, body }) => {
    const prefix = END.slice();
    new DataView(prefix.buffer).setInt32(4, metadata.byteLength, true);
    return [prefix, metadata, body];
  });
  return concatBytes([...parts, END]);
}

/** The bytes as a file, as one that is followed, and as a stream that arrives one byte at a time. */
async function eachWay(
  bytes: Uint8Array<ArrayBuffer>,
  use: (open: (options?: SourceOptions) => Promise<Dataset>) => Promise<void>,
) {
  using folder = new TemporaryFolder();
  const path = folder.file("joined.arrows");
  await Deno.writeFile(path, bytes);
  await use((options) => openPath(path, { ...options, follow: false }));
  await use((options) => openPath(path, options));
  await use((options) => {
    let at = 0;
    const pull = (controller: ReadableStreamDefaultController<Uint8Array>): void =>
      at === bytes.byteLength ? controller.close() : controller.enqueue(bytes.slice(at, ++at));
    return arrowStream(new ReadableStream({ pull }), { ...options, name: '"joined.arrows"' });
  });
}

Deno.test("streams with the same columns that follow each other are read as one, with dictionaries of their own", async () => {
  const empty = without(numbers(0), [1]);
  const cases: [bytes: Uint8Array<ArrayBuffer>, column: string, values: unknown[]][] = [
    [concatBytes([numbers(1, 2), numbers(3)]), "n", [1, 2, 3]],
    [concatBytes([numbers(1), END, numbers(2), empty, new Uint8Array(4), numbers(3), END]), "n", [1, 2, 3]],
    [concatBytes([words("a", "b"), words("x", "y", "x")]), "word", ["a", "b", "x", "y", "x"]],
  ];
  const { pool, assertAllBack } = countedPool();
  for (const [bytes, column, values] of cases) {
    await eachWay(bytes, async (open) => {
      const warnings: string[] = [];
      const dataset = await open({ pool, onWarning: (warning) => warnings.push(warning) });
      const table = await readTable(dataset);
      assertEquals([...table.getChild(column)!], values);
      assertEquals(warnings, []);
      await dataset.close();
    });
  }
  assertAllBack();
});

Deno.test("anything else after the marker is refused by name, each time it is read", async () => {
  const other = tableToIPC(tableFromArrays({ n: Float64Array.of(1) }), "stream");
  const renamed = tableToIPC(tableFromArrays({ m: Int32Array.of(1) }), "stream");
  const file = tableToIPC(tableFromArrays({ n: Int32Array.of(1) }), "file");
  const text = new TextEncoder();
  const cases: [first: Uint8Array, rest: Uint8Array, why: RegExp][] = [
    [numbers(1), other, /what follows the end of stream 1 in .*joined.*has other columns/],
    [concatBytes([numbers(1), numbers(2)]), renamed, /end of stream 2 in .*has other columns/],
    [numbers(1), file, /is not an Arrow stream/],
    [numbers(1), text.encode("not Arrow ".repeat(9)), /is not an Arrow stream/],
    [numbers(1), text.encode("\n"), /is not an Arrow stream/],
    [numbers(1), new Uint8Array(100), /is not an Arrow stream/],
    [numbers(1), numbers(2).subarray(0, 100), /cut short/],
    [numbers(1), without(numbers(2), [0]), /end of stream 1 in .*the first message is not a schema/],
    [
      words("a"),
      without(words("b"), [1]),
      /it needs dictionary 0, which what follows the end of stream 1 .*does not define/,
    ],
  ];
  for (const [first, rest, why] of cases) {
    await eachWay(concatBytes([first, rest]), async (open) => {
      const dataset = await open();
      const error = await assertDipcError("invalid_data", why, () => readMessages(dataset));
      assertMatch(error.message, /joined\.arrows/);
      // What can be read only once says again why that failed, and not that it was read.
      await assertDipcError("invalid_data", why, () => readMessages(dataset));
      await dataset.close();
    });
  }
});

Deno.test("a stream that appends to a dictionary of the one before is refused", async () => {
  const [first, delta] = [["a"], ["a", "b"]].map((values) => vectorFromArray(values, WORDS));
  const schema = new Table({ word: first }).schema;
  const { fromBatches } = await import("../../src/sources/table.ts");
  const { arrowBytes } = await import("../support/datasets.ts");
  const grows = [first, delta].map((vector) => new RecordBatch(schema, new Table({ word: vector }).batches[0].data));
  const bytes = await arrowBytes(await fromBatches(grows, schema), "stream");
  const kinds = splitStream(bytes).length;
  assertEquals(kinds, 5, "schema, dictionary, batch, delta, batch");
  await eachWay(concatBytes([bytes, without(bytes, [1, 2])]), async (open) => {
    const dataset = await open();
    await assertDipcError("invalid_data", /it appends to dictionary 0/, () => readMessages(dataset));
    await dataset.close();
  });
});

Deno.test("a stream that ends without a marker is read, and reported once by each run", async () => {
  await eachWay(concatBytes([numbers(1), numbers(2).subarray(0, -8)]), async (open) => {
    const warnings: string[] = [];
    const dataset = await open({ onWarning: (warning) => warnings.push(warning) });
    assertEquals((await readMessages(dataset)).length, 2);
    assertEquals(warnings.length, 1);
    assertMatch(warnings[0], /joined\.arrows" ends after message 3 without an end-of-stream marker/);
    await dataset.close();
  });
});

Deno.test("a stream that stops at its marker does not wait for more", async () => {
  const open = new ReadableStream<Uint8Array>({ start: (controller) => controller.enqueue(numbers(1, 2)) });
  const dataset = await arrowStream(open, { stopAtMarker: true });
  assertEquals((await readMessages(dataset)).length, 1);
  await dataset.close();
});
