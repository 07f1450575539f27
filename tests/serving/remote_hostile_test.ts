/**
 * Peers that break the rules of memory that is read by remote keys: the honest side gets an error or goes another way, reads nothing
 * outside of what was lent, and serves the next one.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import { connect, DipcError, fromTable, serve, type Server } from "../../mod.ts";
import { encodeFreed } from "../../src/protocol/address_list.ts";
import { generated, rowsOf } from "../support/generated.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { seededRandom } from "../support/random.ts";
import { printTable } from "../support/table.ts";
import { until } from "../support/time.ts";
import { HostileLender, HostileReader } from "./support/hostile_remote.ts";
import { WRONG_LISTS } from "./support/hostile_sharing.ts";

const ROWS = rowsOf(1 << 16);
const BATCHES = 4;
/** More than a client reads ahead. */
const MANY = 160;
/** Keys that are changed at random. */
const KEYS = Number(Deno.env.get("DIPC_REMOTE_KEYS") ?? 10);

/** What becomes of a stream: the number of its batches, with the right values if they may not differ, or its error. */
async function outcomeOf(uri: string, mayDiffer = false): Promise<DipcError | number> {
  try {
    await using reader = await connect(uri, { remoteKeys: true, timeoutMs: 10_000 });
    let batches = 0;
    for await (using batch of reader) {
      const { values } = batch.getChildAt(0)!.data[0];
      if (!mayDiffer) assertEquals(Number(values[1]), 1);
      batches++;
    }
    return batches;
  } catch (error) {
    assert(error instanceof DipcError, String(error));
    return error;
  }
}

testNeeding([needsUcx], "a client refuses every list that is wrong of memory that it has mapped", async () => {
  const rows: string[][] = [];
  for (const [name, list] of Object.entries(WRONG_LISTS)) {
    await using lender = await HostileLender.open({ dataset: generated(BATCHES, ROWS), list });
    const outcome = await outcomeOf(lender.uri());
    assert(outcome instanceof DipcError, `${name}: ${outcome} batches`);
    rows.push([name, outcome.code, outcome.message.slice(0, 100)]);
  }
  printTable("lists of addresses that are wrong", ["list", "code", "message"], rows);
  assertEquals(rows.filter(([, code]) => code !== "protocol"), []);
  await using honest = await HostileLender.open({ dataset: generated(BATCHES, ROWS) });
  assertEquals(await outcomeOf(honest.uri()), BATCHES);
});

testNeeding([needsUcx], "a client fetches nothing that a wrong list names, and bodies of a right one", async () => {
  /** Of these only the server knows that they are wrong, and reads there itself. */
  const unknown = ["an address before the memory", "an address after the memory", "the last 8 bytes only"];
  const key = new Uint8Array(9);
  const rows: string[][] = [];
  for (const [name, list] of Object.entries(WRONG_LISTS)) {
    if (unknown.includes(name)) continue;
    await using lender = await HostileLender.open({ dataset: generated(1, ROWS), list });
    const outcome = await outcomeOf(lender.uri(key));
    rows.push([name, outcome instanceof DipcError ? outcome.code : `${outcome} batches`]);
  }
  assertEquals(rows.filter(([, code]) => code !== "protocol"), []);
  await using honest = await HostileLender.open({ dataset: generated(BATCHES, ROWS) });
  await using reader = await connect(honest.uri(key), { remoteKeys: true });
  assertStringIncludes(reader.stats.sharingReason!, "bodies are fetched");
  assertEquals(await outcomeOf(honest.uri(key)), BATCHES);
});

testNeeding([needsUcx], "a client refuses buffers that overlap, mapped and fetched", async () => {
  const values = Float64Array.from({ length: 1000 }, (_, i) => i);
  const dataset = await fromTable(tableFromArrays({ a: values, b: values }));
  // total, count, (0, 0), (address, length), (0, 0), (address, length)
  const changes: Record<string, (words: BigUint64Array<ArrayBuffer>) => BigUint64Array<ArrayBuffer>> = {
    "as they lie": (words) => words,
    "one twice": (words) => words.with(8, words[4]),
    "one in the other": (words) => words.with(8, words[4] + 8n),
  };
  const outcomes: string[] = [];
  for (const change of Object.values(changes)) {
    const list = (words: BigUint64Array<ArrayBuffer>) => new Uint8Array(change(words).buffer);
    await using lender = await HostileLender.open({ dataset, list });
    for (const key of [lender.memory.key, new Uint8Array(9)]) {
      const outcome = await outcomeOf(lender.uri(key));
      outcomes.push(outcome instanceof DipcError ? outcome.message.replace(/^.*: /, "") : "whole");
    }
  }
  const refused = "buffers 1 and 3 overlap";
  assertEquals(outcomes, ["whole", "whole", "whole", "whole", refused, refused]);
});

testNeeding([needsUcx], "a key that was cut or changed is an error, or only not used", async () => {
  const random = seededRandom();
  await using lender = await HostileLender.open({ dataset: generated(1, ROWS) });
  const { key } = lender.memory;
  const changed = [1, 9, key.byteLength - 8].map((length) => key.slice(0, length));
  for (let i = 0; i < KEYS; i++) {
    const bytes = key.slice();
    for (let changes = 1 + random.below(3); changes > 0; changes--) {
      bytes[random.below(bytes.length)] = random.below(256);
    }
    changed.push(bytes);
  }
  for (const length of [9, 64, 300]) changed.push(Uint8Array.from({ length }, () => random.below(256)));
  const counts: Record<string, number> = {};
  for (const bytes of changed) {
    // A wrong address of the segment, which only the server knows, shifts what is read inside of it.
    const outcome = await outcomeOf(lender.uri(bytes), true);
    const name = outcome instanceof DipcError ? outcome.code : `${outcome} batches`;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  printTable("keys that were changed", ["outcome", "keys"], Object.entries(counts).map(([name, n]) => [name, `${n}`]));
  assertEquals(Object.keys(counts).filter((name) => !["protocol", "unsupported", "1 batches"].includes(name)), []);
  assert(counts.protocol >= 3, "keys that were cut are refused");
});

testNeeding([needsUcx], "without remoteKeys no key is used, and the reason is said", async () => {
  await using lender = await HostileLender.open({ dataset: generated(1, ROWS) });
  await using stranger = await connect(lender.uri());
  assertEquals(stranger.stats.sharingReason, "the server offers a remote key, and the option remoteKeys is off");
  const error = await stranger.next().catch((error) => error);
  assertEquals((error as DipcError).code, "unsupported");
  assertStringIncludes((error as DipcError).message, "remoteKeys");
  await using server = await lendingServer();
  const uri = withoutSocket(server);
  await using reader = await connect(uri);
  for await (using _ of reader);
  assertEquals(reader.stats.sharedBytes, 0);
  assertStringIncludes(reader.stats.sharingReason!, "remoteKeys is off");
});

async function lendingServer(): Promise<Server> {
  return await serve({
    datasets: { t: { source: generated(MANY, ROWS), share: true } },
    ...{ sharing: { arenaBytes: 64 << 20, remoteKeys: true }, requestTimeoutMs: 1_000, windowBatches: 2 },
  });
}

/** The URI of a dataset as it is without the way that dipc's own clients prefer. */
function withoutSocket(server: Server): string {
  return server.datasets[0].uris[0].replace(/&share=[^&]*/, "");
}

testNeeding(
  [needsUcx],
  "a client that gives back what it does not have ends its own stream and nobody else's",
  async () => {
    await using server = await lendingServer();
    const uri = withoutSocket(server);
    const violations: Record<string, (client: HostileReader, other: HostileReader) => void> = {
      "an address outside": (client) => client.say(encodeFreed([client.lent[0] + 2n ** 40n])),
      "the address of nothing": (client) => client.say(encodeFreed([0n])),
      "an address between": (client) => client.say(encodeFreed([client.lent[0] + 8n])),
      "freed twice": (client) => client.say(encodeFreed([client.lent[0], client.lent[0]])),
      "lent to another": (client, { lent }) => client.say(encodeFreed([lent[0]])),
      "half an address": (client) => client.say(new Uint8Array(4)),
      "too many": (client) => client.say(new Uint8Array(8 * 4097)),
      "nothing": (client) => client.say(new Uint8Array(0)),
      "a message of another tag": (client) => client.say(encodeFreed([client.lent[0]]), 5n),
    };
    const rows: string[][] = [];
    for (const [name, violate] of Object.entries(violations)) {
      await using client = new HostileReader(uri);
      await using other = new HostileReader(uri);
      await client.read(3);
      await other.read(3);
      const reported = new Promise<DipcError>((resolve) => {
        server.addEventListener("error", (event) => resolve(event.detail.error!), { once: true });
      });
      violate(client, other);
      const { code, message } = await reported;
      rows.push([name, code, message.slice(0, 100)]);
      assertEquals(await other.rest((lent) => encodeFreed(lent)), null, `${name}: the other one`);
      assertEquals(await outcomeOf(uri), MANY, name);
    }
    printTable("clients that break the rules", ["what they say", "code", "error"], rows);
    assertEquals(rows.filter(([, code]) => code !== "protocol"), []);
    await until(() => server.sharing!, ({ clients, arenaBytes }) => clients + arenaBytes === 0);
  },
);

testNeeding(
  [needsUcx],
  "a client that holds on is disconnected after its lease, and what it had is lent to others",
  async () => {
    await using server = await serve({
      datasets: { t: { source: generated(MANY, ROWS), share: true } },
      ...{ sharing: { arenaBytes: 64 << 20, leaseMs: 500, remoteKeys: true } },
    });
    await using client = new HostileReader(withoutSocket(server));
    const reported = new Promise<DipcError>((resolve) => {
      server.addEventListener("error", (event) => resolve(event.detail.error!), { once: true });
    });
    await client.read(MANY + 1);
    await client.left();
    assertEquals((await reported).code, "timeout");
    await until(() => server.sharing!, ({ clients, arenaBytes }) => clients + arenaBytes === 0);
    assertEquals(await outcomeOf(withoutSocket(server)), MANY);
  },
);
