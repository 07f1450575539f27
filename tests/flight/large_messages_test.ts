/** Batches of more than 2 GiB, which no other client or server of Flight takes: they are cut, or refused before they are sent. */
import { assert, assertEquals, assertGreater, assertInstanceOf, assertStringIncludes } from "@std/assert";
import { Binary, Table, vectorFromArray } from "apache-arrow";
import { FlightClient, serveFlight } from "../../flight.ts";
import { DipcError, fromTable, serve } from "../../mod.ts";
import { cutTo } from "../../src/flight/cut_dataset.ts";
import { assertDipcError } from "../support/assert.ts";
import { pythonClient } from "../support/flight_python.ts";
import { testNeeding } from "../support/needs.ts";
import { needsPython } from "../support/python.ts";
import { zeros, zerosDataset } from "../support/zeros.ts";

/** Rows of 8 bytes that make 2.4 GB. */
const TOO_MANY = 300_000_000;

testNeeding([needsPython], "pyarrow gets every row of a batch of 2.4 GB", async () => {
  await using server = await serve({ datasets: { x: await zerosDataset(TOO_MANY) }, flight: { ucx: "off" } });
  const { location } = server.flight!;
  const [{ value, error, message }] = await pythonClient({ location, steps: [["get", ["x"]]], timeout: 110 });
  assertEquals([value?.rows, value?.bytes], [TOO_MANY, 8 * TOO_MANY], `${error}: ${message}`);
});

/** Rows of so many bytes each, in one batch. */
function binaries(rows: number, bytes: number): Table {
  const values = Array.from({ length: rows }, (_, i) => new Uint8Array(bytes).fill(i));
  return new Table({ b: vectorFromArray(values, new Binary()) });
}

Deno.test("a batch that nobody takes is cut into small parts, or into large ones if it has no smaller ones", async () => {
  const table = binaries(20, 40_000);
  for (const [maxBytes, partBytes, most] of [[500_000, 100_000, 100_000], [500_000, 50_000, 500_000]]) {
    const dataset = cutTo(await fromTable(table), { maxBytes, partBytes });
    const sizes: number[] = [];
    let rows = 0;
    const run = await dataset.open();
    for (let message; (message = await run.next()) !== null;) {
      sizes.push(message.header.bytes.byteLength + message.body!.byteLength);
      rows += message.header.kind === "batch" ? message.header.rows : 0;
      message.body!.release();
    }
    await run.close();
    await dataset.close();
    assertEquals(rows, 20);
    assertGreater(sizes.length, 1);
    assert(sizes.every((size) => size <= most), `${sizes}, at most ${most}`);
  }
  const whole = cutTo(await fromTable(table), { maxBytes: 1_000_000, partBytes: 50_000 });
  const run = await whole.open();
  const message = await run.next();
  assertEquals(message!.header.kind === "batch" && message!.header.rows, 20, "what fits stays as it is");
  message!.body!.release();
  assertEquals(await run.next(), null);
  await run.close();
  await whole.close();
});

Deno.test("a message of more than 2 GiB that must not be cut is refused with the reason, in every direction", async () => {
  let puts = 0;
  await using server = await serve({
    datasets: { x: await zerosDataset(1000, TOO_MANY) },
    flight: {
      ucx: "off",
      maxBatchBytes: false,
      handlers: {
        async doPut(upload) {
          puts++;
          for await (const { message } of upload) message?.body?.release();
        },
        async doExchange(exchange) {
          const { schema, batch } = await zeros(TOO_MANY);
          await exchange.begin(schema);
          await exchange.write(batch);
        },
      },
    },
  });
  await using client = await FlightClient.connect(server.flight!.location, { maxBatchBytes: false });

  await using reader = await client.doGet("x");
  const rows: number[] = [];
  const error = await (async () => {
    for await (const { batch } of reader) rows.push(batch!.numRows);
  })().catch((thrown) => thrown);
  assertEquals(rows, [1000], "what is small enough arrives");
  assertInstanceOf(error, DipcError);
  assertEquals(error.code, "limit_exceeded");
  assertStringIncludes(error.message, "other programs take 2147483647 at most; use smaller batches");

  await using exchange = await client.doExchange({ path: "e" });
  await exchange.doneWriting();
  await assertDipcError("limit_exceeded", "2147483647 at most", async () => {
    for await (const _ of exchange.reader);
  });

  const dataset = await zerosDataset(1000, TOO_MANY);
  await assertDipcError("limit_exceeded", "cannot be cut", () => client.put({ path: "p" }, dataset));
  assertEquals(puts, 0, "nothing was sent, not even the first batch");

  await using writer = await client.doPut({ path: "p" }, dataset);
  const { batch } = await zeros(TOO_MANY);
  await assertDipcError("limit_exceeded", "2147483647 at most", () => writer.write(batch));
});

Deno.test("put cuts a batch of more than 2 GiB by default", async () => {
  const seen: number[] = [];
  await using server = await serveFlight({
    handlers: {
      async doPut(upload) {
        for await (const { message } of upload) {
          seen.push(message!.header.kind === "batch" ? message!.header.rows : 0);
          message!.body?.release();
        }
      },
    },
  });
  await using client = await FlightClient.connect(server.location);
  await client.put({ path: "x" }, await zerosDataset(TOO_MANY));
  assertEquals(seen.reduce((sum, count) => sum + count, 0), TOO_MANY);
  assertGreater(seen.length, 30);
});
