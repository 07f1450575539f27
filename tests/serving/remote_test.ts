/**
 * Bodies that are read by a remote key: whose they are, what is given back, and what stays after a stream.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Dictionary, DictionaryBuilder, Int32, Table, Utf8, vectorFromArray } from "apache-arrow";
import type { EndpointStats } from "../../src/routes/stats.ts";
import { connect, type ConnectOptions, serve, type ServeOptions, type Server } from "../../mod.ts";
import { assertDipcError } from "../support/assert.ts";
import { generated, resident, rowsOf } from "../support/generated.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { until } from "../support/time.ts";

const ROWS = rowsOf(1 << 16);
const BATCHES = 20;
const ARENA_BYTES = 3 << 20;

function startServer(sharing: ServeOptions["sharing"] = {}): Promise<Server> {
  return serve({
    datasets: {
      made: { source: generated(BATCHES, ROWS), share: true },
      held: { source: resident(BATCHES, ROWS), share: true },
      sent: resident(BATCHES, ROWS),
    },
    sharing: { arenaBytes: ARENA_BYTES, remoteKeys: true, ...sharing },
  });
}

/** The URI of a dataset as a server has it that knows nothing of dipc's sockets. */
function keyOf(server: Server, name = "made"): string {
  return server.datasets.find((each) => each.name === name)!.uris[0].replace(/&share=[^&]*/, "");
}

function read(server: Server, name?: string, options: ConnectOptions = {}) {
  return connect(keyOf(server, name), { remoteKeys: true, ...options });
}

/** Mappings of segments of System V as large as an arena. */
function mappings(): number {
  const sizes = [...Deno.readTextFileSync("/proc/self/maps").matchAll(/^(\w+)-(\w+) .*\/SYSV/gm)]
    .map(([, start, end]) => Number(BigInt(`0x${end}`) - BigInt(`0x${start}`)));
  return sizes.filter((size) => size === ARENA_BYTES).length;
}

async function allBack(server: Server): Promise<void> {
  await until(
    () => server.sharing!,
    ({ clients, leasedBytes, arenaBytes }) => clients + leasedBytes + arenaBytes === 0,
  );
}

for (const name of ["made", "held"]) {
  testNeeding(
    [needsUcx],
    `a dataset (${name}) is read by a key, and its memory is unmapped after the stream`,
    async () => {
      await using server = await startServer();
      const own = mappings();
      for (let round = 0; round < 3; round++) {
        await using reader = await read(server, name);
        const events: EndpointStats[] = [];
        reader.addEventListener("route", ({ detail }) => void events.push(detail));
        let number = 0;
        for await (using batch of reader) {
          const { values } = batch.getChildAt(0)!.data[0];
          assertEquals([values.length, values[1], values.at(-1)], [ROWS, 1n, BigInt(ROWS - 1)]);
          if (name === "made") assertEquals(values[0], BigInt(number));
          if (number++ === 0) assertEquals(mappings(), own + 1);
        }
        const { batches, bodyBytes, sharedBytes, sharingReason } = reader.stats;
        assertEquals([number, batches, sharedBytes, sharingReason], [BATCHES, BATCHES, bodyBytes, ""]);
        // It comes in a turn of its own, which a fast stream does not wait for.
        await until(() => events.length === 1);
        assertEquals(events[0].sharingReason, "");
      }
      await allBack(server);
      assertEquals(mappings(), own, "mappings after the streams");
      assertEquals(server.stats.sharedBytes, 3 * BATCHES * (1 << 16));
    },
  );
}

testNeeding(
  [needsUcx],
  "a batch that was read by a key belongs to its reader alone, also when the server has ended",
  async () => {
    const server = await startServer();
    await using reader = await read(server);
    await using other = await read(server);
    const [mine, theirs] = [(await reader.next()).value!, (await other.next()).value!];
    const values = mine.getChildAt(0)!.data[0].values as BigInt64Array;
    values.fill(7n);
    assertEquals(theirs.getChildAt(0)!.data[0].values[1], 1n);
    let batches = 1;
    for await (using batch of reader) {
      assertEquals(batch.getChildAt(0)!.data[0].values[1], 1n, "a later batch");
      batches++;
    }
    assertEquals(batches, BATCHES);
    await other[Symbol.asyncDispose]();
    await server.shutdown({ timeoutMs: 0 });
    assertEquals([values[0], values.at(-1), theirs.getChildAt(0)!.data[0].values[1]], [7n, 7n, 1n]);
  },
);

testNeeding([needsUcx], "a reader that leaves early keeps nothing", async () => {
  await using server = await startServer();
  const own = mappings();
  for (let round = 0; round < 5; round++) {
    await using reader = await read(server);
    for await (using _ of reader) if (reader.stats.batches > round) break;
  }
  await allBack(server);
  await until(mappings, (now) => now === own);
});

testNeeding([needsUcx], "dictionaries are read by a key too, and both kinds of bodies are in one stream", async () => {
  const words = Array.from({ length: 5000 }, (_, i) => `a word with a number: ${i}`);
  const codes = Int32Array.from({ length: 20_000 }, (_, i) => i % words.length);
  const table = new Table({ word: dictionaryOf(words, codes), n: vectorFromArray([...codes], new Int32()) });
  for (const [minBodyBytes, isAll] of [[0, true], [155_000, false]] as const) {
    await using server = await serve({
      datasets: { t: { source: table, share: true } },
      sharing: { remoteKeys: true, minBodyBytes },
    });
    await using reader = await read(server, "t");
    const got = await reader.toTable();
    for (let row = 0; row < codes.length; row += 777) assertEquals(got.getChild("word")!.get(row), words[codes[row]]);
    const { sharedBytes, bodyBytes } = reader.stats;
    assert(sharedBytes > 0 && (sharedBytes === bodyBytes) === isAll, `${sharedBytes} of ${bodyBytes} bytes`);
  }
});

function dictionaryOf(words: readonly string[], codes: Int32Array) {
  const builder = new DictionaryBuilder({ type: new Dictionary(new Utf8(), new Int32()) });
  for (const code of codes) builder.append(words[code]);
  return builder.finish().toVector();
}

testNeeding(
  [needsUcx],
  "a client of dipc reads in sealed memory if it can, and gets bodies without remoteKeys",
  async () => {
    await using server = await startServer();
    const [uri] = server.datasets[0].uris;
    assertMatch(uri, /&free_data=\d+&remote_handle=[^&]+&.*&share=/);
    assert(!server.datasets[2].uris[0].includes("remote_handle"), "a dataset that is not shared");
    const own = mappings();
    for (const [options, shared] of [[{ remoteKeys: true }, true], [{}, true], [{ share: false }, false]] as const) {
      await using reader = await connect(uri, options);
      for await (using _ of reader) assertEquals(mappings(), own);
      assertEquals(reader.stats.sharedBytes > 0, shared);
    }
    await using reader = await connect(keyOf(server));
    for await (using _ of reader);
    assertEquals(reader.stats.sharedBytes, 0);
    assertStringIncludes(reader.stats.sharingReason!, "remoteKeys is off");
  },
);

Deno.test("remote keys go with a shared dataset in one isolate, and are on or off", async () => {
  const shared = { t: { source: resident(1, 1), share: true } };
  const refused = (text: string, options: ServeOptions) =>
    assertDipcError("invalid_argument", text, () => serve(options));
  await refused("no dataset in host memory is shared", {
    datasets: { t: resident(1, 1) },
    sharing: { remoteKeys: true },
  });
  await refused("isolates", { datasets: shared, isolates: 2, sharing: { remoteKeys: true } });
  await refused("sharing.remoteKeys", { datasets: shared, sharing: { remoteKeys: "yes" as unknown as boolean } });
});
