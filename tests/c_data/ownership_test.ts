/**
 * Memory that crosses the C data interface is released once, by whoever owns it, and never too early.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { Int32, type RecordBatch, Table, vectorFromArray } from "apache-arrow";
import { CStruct, exportRecordBatch, importRecordBatch } from "../../c_data.ts";
import { exportedCount } from "../../src/c_data/cells.ts";
import { collect } from "../../src/memory/collector.ts";
import { assertDipcError } from "../support/assert.ts";
import { settled } from "../support/c_data.ts";
import { guardLibrary, sanitizedEnvironment } from "../support/c_peers.ts";
import { ROOT } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";
import { seed, seededRandom } from "../support/random.ts";
import { LEAK_CHECK, runSequences } from "./support/sequences.ts";

/** `DIPC_C_DATA_SEQUENCES` sets another number of sequences. */
const sequences = Deno.env.get("DIPC_C_DATA_SEQUENCES");
const SEQUENCES = Number(sequences ?? 100);
/** Sequences with AddressSanitizer, which takes longer. */
const SANITIZED_SEQUENCES = Number(sequences ?? 25);

peerTest(
  ["compiler", "nanoarrow"],
  "random sequences release everything once, and nothing too early",
  async (peers) => {
    console.log(await runSequences(guardLibrary(peers), seededRandom(), SEQUENCES));
  },
);

peerTest(
  ["compiler", "nanoarrow"],
  "AddressSanitizer finds no fault and no leak in random sequences",
  async (peers) => {
    const env = sanitizedEnvironment(peers);
    if (env === null) {
      console.log("SKIPPED: the compiler has no AddressSanitizer");
      return;
    }
    console.log(`DIPC_SEED=${seed}`);
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", `${ROOT}/tests/c_data/support/sequences.ts`, String(SANITIZED_SEQUENCES)],
      env: { ...env, DIPC_SEED: String(seed), NO_COLOR: "1" },
      signal: AbortSignal.timeout(300_000 + 3000 * SANITIZED_SEQUENCES),
    }).output();
    const text = new TextDecoder().decode(stderr);
    const said = new TextDecoder().decode(stdout);
    console.log(said);
    assert(success && said.includes("done"), text.slice(-5000));
    // The last ones are released when the isolate is gone.
    assert(/released at the end of the process: [1-9]\d* arrays, [1-9]\d* streams/.test(text), text.slice(-5000));
    assert(!text.includes("ERROR: AddressSanitizer"), text.slice(-5000));
    // Deno itself leaves some memory behind.
    const leaks = text.slice(text.lastIndexOf(LEAK_CHECK)).split(/\n(?=(?:Direct|Indirect) leak of)/);
    assert(leaks.length > 1, text.slice(-5000));
    assertEquals(leaks.filter((leak) => /guard\.c|nanoarrow\.c/.test(leak)), []);
  },
);

const small = (): RecordBatch => new Table({ n: vectorFromArray([1, 2, 3], new Int32()) }).batches[0];

Deno.test("a web worker imports, and cannot export", async () => {
  using array = new CStruct("ArrowArray");
  using schema = new CStruct("ArrowSchema");
  exportRecordBatch(small(), array.address, schema.address);
  const worker = new Worker(new URL("./support/worker.ts", import.meta.url), { type: "module" });
  try {
    const answer = new Promise((resolve) => worker.onmessage = ({ data }) => resolve(data));
    worker.postMessage([array.address, schema.address]);
    assertEquals(await answer, [[1, 2, 3], "unsupported"]);
  } finally {
    worker.terminate();
  }
  await settled();
});

Deno.test("a program ends although a consumer has not released what it exported", async () => {
  const code = `
    import { CStruct, exportRecordBatch, exportStream } from "${ROOT}/c_data.ts";
    import { Int32, Table, vectorFromArray } from "npm:apache-arrow@21.2.0";
    const table = new Table({ n: vectorFromArray([1], new Int32()) });
    const array = new CStruct("ArrowArray"), stream = new CStruct("ArrowArrayStream");
    exportRecordBatch(table.batches[0], array.address);
    await exportStream(table, stream.address);
    console.log("exported");`;
  const { code: status, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", `--config=${ROOT}/deno.json`, code],
    signal: AbortSignal.timeout(60_000),
  }).output();
  assertEquals([status, new TextDecoder().decode(stdout)], [0, "exported\n"], new TextDecoder().decode(stderr));
});

Deno.test("a batch that was disposed or taken over is not exported, and nothing is imported twice", async () => {
  using array = new CStruct("ArrowArray");
  using schema = new CStruct("ArrowSchema");
  exportRecordBatch(small(), array.address, schema.address);
  const header = importRecordBatch(array.address, schema.address);
  assertDipcError("invalid_argument", "released or moved", () => importRecordBatch(array.address, header.schemaHeader));
  const batch = header.toRecordBatch();
  assertDipcError("closed", "taken over", () => exportRecordBatch(header, array.address));
  assertDipcError("closed", "taken over", () => header.columns);
  const slice = batch.slice(1, 3);
  batch[Symbol.dispose]();
  assertDipcError("closed", "disposed", () => exportRecordBatch(batch, array.address));
  assertDipcError("closed", "given back", () => exportRecordBatch(slice, array.address));
  assertDipcError("invalid_argument", "address is 0", () => exportRecordBatch(small(), 0n));
  assert(array.isReleased);
  await settled();
});

Deno.test("batches that are dropped are collected in time", async () => {
  const rows = 16_384;
  const source = new Table({ n: vectorFromArray(Int32Array.from({ length: rows }, (_, i) => i)) }).batches[0];
  using array = new CStruct("ArrowArray");
  using schema = new CStruct("ArrowSchema");
  exportRecordBatch(source, array.address, schema.address);
  const { schemaHeader } = importRecordBatch(array.address, schema.address);
  let most = 0;
  for (let i = 0; i < 20_000; i++) {
    exportRecordBatch(source, array.address);
    assertEquals(
      importRecordBatch(array.address, schemaHeader).toRecordBatch().getChildAt(0)!.get(i),
      source.get(i)?.n,
    );
    if (i % 100 === 0) await new Promise<void>((resolve) => setImmediate(resolve));
    most = Math.max(most, exportedCount());
  }
  console.log(`at most ${most} dropped batches of 64 KiB were not released yet`);
  assert(most < 10_000);
  for (let i = 0; i < 50 && exportedCount() > 0; i++) {
    collect("all");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await settled();
});
