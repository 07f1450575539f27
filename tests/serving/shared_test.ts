/**
 * Bodies that are read in the server's memory: what arrives, what is given back, and when bodies are sent after all.
 *
 * @module
 */
import { assert, assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import type { EndpointStats } from "../../src/routes/stats.ts";
import {
  connect,
  DipcError,
  fromBatches,
  fromTable,
  HostPool,
  type OwnedRecordBatch,
  serve,
  type ServeOptions,
  type Server,
} from "../../mod.ts";
import { collect } from "../../src/memory/collector.ts";
import { patchBatch } from "../../src/ipc/batch_patch.ts";
import { HeaderReader } from "../../src/ipc/header.ts";
import { wrapBytes } from "../../src/memory/wrap.ts";
import type { Dataset } from "../../src/sources/dataset.ts";
import { int64Messages } from "../support/arrow_messages.ts";
import { assertDipcError } from "../support/assert.ts";
import { generated, resident, rowsOf } from "../support/generated.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { startDipc } from "../support/processes.ts";
import { until } from "../support/time.ts";
import { allBack, sharedDescriptors } from "./support/sharing.ts";

/** Rows of a batch of 64 KiB. */
const ROWS = rowsOf(1 << 16);
const BATCHES = 20;

/** A server of 20 batches that stream through an arena (`made`), and of the same held in memory (`held`). */
function startServer(sharing: ServeOptions["sharing"] = {}, more: Partial<ServeOptions> = {}): Promise<Server> {
  return serve({
    datasets: {
      made: { source: generated(BATCHES, ROWS), share: true },
      held: { source: resident(BATCHES, ROWS), share: true },
      sent: resident(BATCHES, ROWS),
    },
    sharing,
    ...more,
  });
}

function uriOf(server: Server, name: string): string {
  return server.datasets.find((each) => each.name === name)!.uris[0];
}

/** The column of a batch, and whether every value is what it must be. */
function column(batch: OwnedRecordBatch): BigInt64Array {
  return batch.getChildAt(0)!.data[0].values as BigInt64Array;
}

function assertValues(batch: OwnedRecordBatch, number: number): void {
  const values = column(batch);
  assertEquals([values.length, values[0]], [ROWS, BigInt(number)]);
  for (let row = 1; row < ROWS; row++) if (values[row] !== BigInt(row)) throw new Error(`row ${row}: ${values[row]}`);
}

for (const name of ["made", "held"]) {
  testNeeding(
    [needsUcx],
    `a client on the same machine reads a dataset (${name}) in place, and gives all of it back`,
    async () => {
      const before = sharedDescriptors();
      {
        await using server = await startServer({ arenaBytes: 2 << 20 });
        assert(uriOf(server, name).includes("&share=dipc-") && !uriOf(server, "sent").includes("share"));
        for (let round = 0; round < 2; round++) {
          await using reader = await connect(uriOf(server, name));
          const events: EndpointStats[] = [];
          reader.addEventListener("route", ({ detail }) => void events.push(detail));
          let number = 0;
          for await (using batch of reader) assertValues(batch, number++);
          const { batches, bodyBytes, sharedBytes, sharingReason } = reader.stats;
          assertEquals([batches, sharedBytes, sharingReason], [BATCHES, bodyBytes, ""]);
          await until(() => events.length > 0);
          assertEquals([events.length, events[0].sharingReason], [1, ""]);
          await allBack(server);
        }
        await until(() => server.stats.completed === 2);
        assertEquals(server.stats.sharedBytes, server.stats.bodyBytes);
        assertGreater(server.stats.sharedBytes, 0);
      }
      await until(sharedDescriptors, (now) => now.length <= before.length);
      assertEquals(sharedDescriptors(), before);
    },
  );
}

testNeeding([needsUcx], "streams read in place follow one another on one connection, broken off or whole", async () => {
  await using server = await startServer({ arenaBytes: 2 << 20 });
  for (
    const [name, most] of [["made", BATCHES], ["held", BATCHES], ["made", 1], ["held", 3], ["sent", 2], ["made", 40]]
  ) {
    await using reader = await connect(uriOf(server, name as string));
    let number = 0;
    for await (using batch of reader) {
      assertValues(batch, number++);
      if (number === most) break;
    }
    assertEquals(number, Math.min(most as number, BATCHES));
    assertEquals(reader.stats.sharingReason, name === "sent" ? null : "");
  }
  assertEquals([server.stats.connections, server.stats.requests], [1, 6]);
  await allBack(server);
});

testNeeding([needsUcx], "bodies are sent, and the reason is known, if memory cannot be shared", async () => {
  await using server = await startServer({ arenaBytes: 2 << 20 });
  const uri = uriOf(server, "held");
  const cases: [about: string, uri: string, options: Parameters<typeof connect>[1], reason: string | null][] = [
    ["a dataset that is not shared", uriOf(server, "sent"), {}, null],
    ["the option", uri, { share: false }, "the option share is off"],
    ["a pool of the caller", uri, { pool: new HostPool() }, "memory of the caller"],
    ["a server elsewhere", uri.replace(/share=dipc-\w+/, "share=dipc-elsewhere"), {}, "not on this machine"],
    ["a path", uri.replace(/share=dipc-\w+/, "share=%2Fnowhere%2Fsocket"), {}, "No such file or directory"],
    ["a URI of another dataset", uriOf(server, "sent") + "&" + uri.match(/share=.*/)![0], {}, "is not shared"],
  ];
  for (const [about, from, options, reason] of cases) {
    await using reader = await connect(from, options);
    const events: EndpointStats[] = [];
    reader.addEventListener("route", ({ detail }) => void events.push(detail));
    let number = 0;
    for await (using batch of reader) assertValues(batch, number++);
    const { sharedBytes, sharingReason, batches } = reader.stats;
    assertEquals([batches, sharedBytes], [BATCHES, 0], about);
    if (reason === null) {
      assertEquals([sharingReason, events.length], [null, 0], about);
    } else {
      assertStringIncludes(sharingReason!, reason, about);
      await until(() => events.length > 0);
      assertEquals(events.map((each) => each.sharingReason), [sharingReason], about);
    }
  }
});

testNeeding(
  [needsUcx],
  "small bodies are sent in the same stream, and so are those beyond what a client may hold",
  async () => {
    const sizes = [ROWS, 10, ROWS, 1];
    const tables = sizes.flatMap((rows, i) => resident(i + 1, rows).batches.slice(i));
    await using mixed = await serve({ datasets: { mixed: { source: await fromBatches(tables), share: true } } });
    await using reader = await connect(uriOf(mixed, "mixed"));
    const rows: number[] = [];
    for await (using batch of reader) rows.push(batch.numRows);
    assertEquals(rows, sizes);
    assertEquals(reader.stats.sharedBytes, 2 * 8 * ROWS);

    // A body of padding alone has nothing to list.
    const [schemaMessage, batchMessage] = int64Messages(1, 1);
    const headers = new HeaderReader();
    const schema = headers.read(schemaMessage.metadata);
    const none = Float64Array.of(0, 0);
    const parts = { rows: 0, nodes: none, offsets: none, lengths: none, bodyLength: 256 };
    const header = headers.read(patchBatch(batchMessage.metadata, parts));
    const padding: Dataset = {
      ...{ schema, readOnce: false, close() {} },
      open() {
        const messages = [{ header, body: wrapBytes(new Uint8Array(256)) }];
        return { next: () => messages.pop() ?? null, close() {} };
      },
    };
    await using padded = await serve({
      datasets: { t: { source: padding, share: true } },
      sharing: { minBodyBytes: 0 },
    });
    const batches = (await (await connect(uriOf(padded, "t"))).toTable()).batches;
    assertEquals(batches.map(({ numRows }) => numRows), [0]);

    // Room for four batches: whoever keeps all of them gets the others sent, and waits for nothing.
    await using server = await startServer({ arenaBytes: 2 << 20, clientBytes: 4 << 16 });
    await using keeper = await connect(uriOf(server, "made"));
    const table = await keeper.toTable();
    assertEquals([table.numRows, keeper.stats.sharedBytes], [BATCHES * ROWS, 4 << 16]);
    table.batches.forEach((batch, number) => assertValues(batch as OwnedRecordBatch, number));
    assertEquals(server.sharing, { clients: 1, leasedBytes: 4 << 16, arenaBytes: 4 << 16 });
    for (const batch of table.batches) (batch as OwnedRecordBatch)[Symbol.dispose]();
    await allBack(server);
  },
);

testNeeding([needsUcx], "a batch that was disposed throws, its columns are empty, and a copy lives on", async () => {
  await using server = await startServer();
  for (const name of ["made", "held"]) {
    await using reader = await connect(uriOf(server, name));
    const { value: batch } = await reader.next();
    const values = column(batch!);
    const copy = batch!.copy();
    values[1] = 99n;
    assertEquals(column(copy)[1], 1n, "the copy has memory of its own");
    batch![Symbol.dispose]();
    assertDipcError("closed", "was disposed", () => batch!.getChildAt(0));
    assertDipcError("closed", "was disposed", () => batch!.copy());
    assertEquals(values.length, 0);
    for await (using _ of reader);
    await allBack(server);
    assertValues(copy, 0);
    copy[Symbol.dispose]();
  }
});

testNeeding(
  [needsUcx],
  "a program's own write into a column reaches no other reader and no later batch of the same block",
  async () => {
    // Room for a few batches only, so that blocks are used again and again.
    const batches = 10 * BATCHES;
    await using server = await serve({
      datasets: { made: { source: generated(batches, ROWS), share: true } },
      sharing: { arenaBytes: 10 << 16 },
    });
    const readers = [await connect(uriOf(server, "made")), await connect(uriOf(server, "made"))];
    for (let number = 0; number < batches; number++) {
      const [one, other] = await Promise.all(readers.map((reader) => reader.next()));
      for (const { value } of [one, other]) assertValues(value!, number);
      column(one.value!).fill(-1n);
      assertValues(other.value!, number);
      for (const { value } of [one, other]) value![Symbol.dispose]();
    }
    for (const reader of readers) assertEquals((await reader.next()).done, true);
    assertGreater(readers[0].stats.sharedBytes + readers[1].stats.sharedBytes, 5 * (10 << 16));
    await allBack(server);
  },
);

testNeeding(
  [needsUcx],
  "batches that are dropped are given back when they are collected, those in hand stay as they are",
  async () => {
    await using server = await startServer({ arenaBytes: 4 << 20 });
    const kept: BigInt64Array[] = [];
    const reader = await connect(uriOf(server, "made"));
    const take = async (number: number): Promise<boolean> => {
      const { done, value } = await reader.next();
      if (number % 10 === 5 && !done) kept.push(column(value));
      return !done;
    };
    for (let number = 0; await take(number); number++);
    assertEquals(reader.stats.sharedBytes, reader.stats.bodyBytes);
    // Only the columns of two batches are left.
    await until(() => {
      collect("all");
      return server.sharing!;
    }, ({ leasedBytes }) => leasedBytes === 2 << 16);
    assertEquals(kept.map((values) => [values.length, values[0], values[ROWS - 1]]), [
      [ROWS, 5n, BigInt(ROWS - 1)],
      [ROWS, 15n, BigInt(ROWS - 1)],
    ]);
    kept.length = 0;
    await until(() => {
      collect("all");
      return server.sharing!;
    }, ({ clients, leasedBytes }) => clients + leasedBytes === 0);
  },
);

testNeeding([needsUcx], "batches in hand stay readable when the server dies", async () => {
  const settings = { datasets: { made: { batches: 100 * BATCHES, rows: ROWS, share: true } } };
  const program = `${ROOT}/tests/support/server_program.ts`;
  await using child = startDipc([JSON.stringify(settings)], { program, stdin: "piped" });
  const { datasets } = JSON.parse((await child.firstLine)!);
  const reader = await connect(datasets[0].uris[0]);
  const batches: OwnedRecordBatch[] = [];
  for (let i = 0; i < 5; i++) batches.push((await reader.next()).value!);
  assertGreater(reader.stats.sharedBytes, 0);
  child.kill("SIGKILL");
  await child.outcome;
  batches.forEach(assertValues);
  const error = await (async () => {
    for await (using _ of reader);
  })().catch((error) => error);
  assert(error instanceof DipcError && error.code === "connection_lost", String(error));
  batches.forEach(assertValues);
  for (const batch of batches) batch[Symbol.dispose]();
});

testNeeding(
  [needsUcx],
  "a client that holds a batch for too long is disconnected, and its block is not used before it has left",
  async () => {
    await using server = await startServer({ arenaBytes: 2 << 20, leaseMs: 500 });
    const errors: DipcError[] = [];
    server.addEventListener("error", ({ detail }) => void errors.push(detail.error!));
    const reader = await connect(uriOf(server, "made"));
    const { value: held } = await reader.next();
    await until(() => errors.some(({ code, message }) => code === "timeout" && message.includes("more than 500 ms")));
    const end = await (async () => {
      for await (using _ of reader);
    })().catch((error) => error);
    // What was under way may have been all that was left.
    assert(end === undefined || (end instanceof DipcError && end.code === "timeout"), String(end));
    await until(() => server.stats.activeConnections === 0);
    // It has the block still, so nobody else gets it.
    assertGreater(server.sharing!.leasedBytes, 0);
    await using other = await connect(uriOf(server, "made"));
    let number = 0;
    for await (using batch of other) assertValues(batch, number++);
    assertValues(held!, 0);
    held![Symbol.dispose]();
    await allBack(server);
  },
);

testNeeding([needsUcx], "what cannot be shared is refused with a reason when the server starts", async () => {
  const source = generated(1, ROWS);
  const cases: [Partial<ServeOptions>, string][] = [
    [{ metadataPort: 0 }, "does not go with metadataPort"],
    [{ flight: { ucx: "off" } }, "does not go with flight.ucx"],
    [{ sharing: { arenaBytes: 0 } }, "sharing.arenaBytes"],
    [{ sharing: { leaseMs: 0.5 } }, "sharing.leaseMs"],
    [{ sharing: { lease: 1 } as ServeOptions["sharing"] }, "sharing.lease"],
    [{ datasets: { made: { source, share: "yes" as unknown as boolean } } }, "share of the dataset"],
  ];
  for (const [options, message] of cases) {
    const datasets = { made: { source, share: true } };
    await assertDipcError("invalid_argument", message, () => serve({ datasets, ...options }));
  }
});

testNeeding([needsUcx], "a Flight server hands out the location with shared memory, and connect takes it", async () => {
  const table = await fromTable(resident(BATCHES, ROWS));
  await using server = await serve({ datasets: { held: { source: table, share: true } }, flight: {} });
  for (const [share, expected] of [[undefined, ""], [false, "the option share is off"]] as const) {
    await using reader = await connect(`${server.flight!.location}/held`, { share });
    let number = 0;
    for await (using batch of reader) assertValues(batch, number++);
    const { route, sharedBytes, bodyBytes, sharingReason } = reader.stats;
    assertEquals([route, sharingReason, sharedBytes], ["ucx", expected, expected === "" ? bodyBytes : 0]);
  }
});
