/**
 * Peers that break the rules of shared memory: the honest side gets an error or goes another way, reads nothing outside of what it was
 * given, and serves the next one.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Table, Utf8, vectorFromArray } from "apache-arrow";
import { connect, DipcError, fromTable, serve, type Server } from "../../mod.ts";
import { CStruct, exportRecordBatch, importRecordBatch } from "../../c_data.ts";
import { libc } from "../../ffi/libc.ts";
import { addSeals, createMemory, MEMORY_CONSTANTS } from "../../ffi/shared_memory.ts";
import { encodeFreed } from "../../src/protocol/address_list.ts";
import { encodeGranted } from "../../src/protocol/share_handshake.ts";
import type { SharedRegion } from "../../src/memory/shared_region.ts";
import type { Dataset } from "../../src/sources/dataset.ts";
import { ShareSession } from "../../src/serving/share_session.ts";
import { StreamMemory } from "../../src/serving/shared_memory.ts";
import { type LocalSocket, MessageReceiver } from "../../src/wire/local_socket.ts";
import { utf8 } from "../support/bytes.ts";
import { generated, rowsOf } from "../support/generated.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { printTable } from "../support/table.ts";
import { until } from "../support/time.ts";
import { facts, HostileClient, HostileServer, REGION_BYTES, WRONG_LISTS } from "./support/hostile_sharing.ts";

const ROWS = rowsOf(1 << 16);
const BATCHES = 4;
/** More than a client reads ahead. */
const MANY = 160;
/** More than a client has taken before it breaks the rules. */
const HELD_AT = 16;

testNeeding(
  [needsUcx],
  "a client refuses every list of addresses that is wrong, and reads on from others",
  async () => {
    const rows: string[][] = [];
    for (const [name, list] of Object.entries(WRONG_LISTS)) {
      await using server = await HostileServer.open({ dataset: generated(BATCHES, ROWS), list });
      const error = await (async () => {
        await using reader = await connect(server.uri);
        await reader.next();
      })().catch((error) => error);
      assert(error instanceof DipcError, `${name}: ${error}`);
      rows.push([name, error.code, error.message.slice(0, 100)]);
    }
    printTable("lists of addresses that are wrong", ["list", "code", "message"], rows);
    assertEquals(rows.filter(([, code]) => code !== "protocol"), []);

    await using honest = await HostileServer.open({ dataset: generated(BATCHES, ROWS) });
    await using reader = await connect(honest.uri);
    // This server puts all bodies at the end of its memory, one over the other.
    for await (using batch of reader) {
      const { values } = batch.getChildAt(0)!.data[0];
      assertEquals([values.buffer.byteLength, values[1]], [8 * ROWS, 1n], "what is visible ends with the body");
    }
    assertEquals(reader.stats.sharedBytes, reader.stats.bodyBytes);
  },
);

/** Memory that a client must not map, and answers that are none. */
const ANSWERS: Record<string, (socket: LocalSocket, region: SharedRegion) => void> = {
  "nothing": () => {},
  "the end": (socket) => void libc().shutdown(socket.fd, 2),
  "rubbish": (socket) => void socket.send(utf8("HTTP/1.1 400 Bad Request")),
  "no descriptor": (socket, region) => void socket.send(encodeGranted(facts(region))),
  "a larger size": (socket, region) =>
    void socket.sendDescriptor(encodeGranted({ ...facts(region), byteLength: 2 * REGION_BYTES }), region.descriptor),
  "2^53 bytes": (socket, region) =>
    void socket.sendDescriptor(encodeGranted({ ...facts(region), byteLength: 2 ** 53 - 1 }), region.descriptor),
  "no seals": (socket, region) => sendMemory(socket, region, 0),
  "no seal against shrinking": (socket, region) => sendMemory(socket, region, 4 | 16),
  "no seal against writers": (socket, region) => sendMemory(socket, region, 2 | 4),
  "a pipe": (socket, region) => void socket.sendDescriptor(encodeGranted(facts(region)), socket.fd),
  "huge pages": (socket, region) => {
    const { MFD_ALLOW_SEALING } = MEMORY_CONSTANTS;
    const fd = libc().memfd_create(utf8("dipc-test\0"), MFD_ALLOW_SEALING | 4 /* MFD_HUGETLB */);
    if (fd < 0) return sendMemory(socket, region, 0); // a kernel without them
    libc().ftruncate(fd, BigInt(2 << 20));
    addSeals(fd, 2 | 4 | 16);
    socket.sendDescriptor(encodeGranted({ ...facts(region), byteLength: 2 << 20 }), fd);
    libc().close(fd);
  },
};

function sendMemory(socket: LocalSocket, region: SharedRegion, seals: number): void {
  const fd = createMemory("dipc-test", REGION_BYTES);
  if (seals !== 0) addSeals(fd, seals);
  socket.sendDescriptor(encodeGranted(facts(region)), fd);
  libc().close(fd);
}

testNeeding(
  [needsUcx],
  "a client maps nothing that could end it: it lets the bodies be sent, and says why",
  async () => {
    const rows: string[][] = [];
    for (const [name, answer] of Object.entries(ANSWERS)) {
      await using hostile = await HostileServer.open({ dataset: generated(BATCHES, ROWS), answer });
      await using server = await serve({ datasets: { t: generated(BATCHES, ROWS) } });
      const share = hostile.uri.match(/share=.*/)![0];
      await using reader = await connect(`${server.datasets[0].uris[0]}&${share}`);
      let batches = 0;
      for await (using _ of reader) batches++;
      const { sharedBytes, sharingReason } = reader.stats;
      assertEquals([batches, sharedBytes], [BATCHES, 0], name);
      rows.push([name, sharingReason!.slice(0, 120)]);
    }
    printTable("memory that is not mapped", ["answer", "reason"], rows);
    assertEquals(rows.filter(([, reason]) => reason === ""), []);
  },
);

testNeeding(
  [needsUcx],
  "memory that changes while it is read shows other values, and nothing outside of the body",
  async () => {
    const words = ["one", "two", "three", "a longer one that is not short"];
    const text = Array.from({ length: 5000 }, (_, i) => words[i % words.length]);
    const table = new Table({ text: vectorFromArray(text, new Utf8()), n: vectorFromArray(text.map((_, i) => i)) });
    await using server = await HostileServer.open({ dataset: await fromTable(table) });
    await using reader = await connect(server.uri);
    const { value: batch } = await reader.next();
    const column = batch!.getChild("text")!;
    assertEquals(column.get(3), words[3]);
    // Native code does not look again: it gets a copy of what was checked.
    using array = new CStruct("ArrowArray");
    using schema = new CStruct("ArrowSchema");
    exportRecordBatch(batch!, array.address, schema.address);
    const pointer = Deno.UnsafePointer.create(server.region.base)!;
    const memory = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, REGION_BYTES) as ArrayBuffer);
    for (const fill of [0xFF, 0x7F, 0x80, 1]) {
      memory.fill(fill);
      // Offsets of any value now; what cannot be read throws or is empty.
      for (let row = 0; row < 5000; row += 7) {
        try {
          const value = column.get(row);
          assert(value === null || value.length <= REGION_BYTES);
        } catch (error) {
          assert(
            error instanceof RangeError || error instanceof TypeError || error instanceof DipcError,
            String(error),
          );
        }
      }
    }
    batch![Symbol.dispose]();
    const exported = importRecordBatch(array.address, schema.address).toRecordBatch();
    assertEquals([...exported.getChild("text")!], text);
    exported[Symbol.dispose]();
  },
);

/** The same dataset, each run of which stops at a batch until the gate is open. */
function gated(dataset: Dataset, batch: number, gate: () => Promise<void>): Dataset {
  return {
    ...dataset,
    async open(options) {
      const run = await dataset.open(options);
      let sent = 0;
      return {
        next: () => sent++ === batch ? gate().then(() => run.next()) : run.next(),
        close: () => run.close(),
      };
    },
  };
}

/** A client of a well-behaved kind. */
async function fetchWhole(server: Server): Promise<void> {
  await using reader = await connect(server.datasets[0].uris[0]);
  let batches = 0;
  for await (using _ of reader) batches++;
  assertEquals([batches, reader.stats.sharedBytes], [MANY, reader.stats.bodyBytes]);
}

testNeeding(
  [needsUcx],
  "a client that frees what it does not have ends its own streams and nobody else's",
  async () => {
    let gate = Promise.withResolvers<void>();
    await using server = await serve({
      datasets: { t: { source: gated(generated(MANY, ROWS), HELD_AT, () => gate.promise), share: true } },
      ...{ sharing: { arenaBytes: 64 << 20 }, requestTimeoutMs: 1_000, windowBatches: 2 },
    });
    const [uri] = server.datasets[0].uris;
    const violations: Record<string, (client: HostileClient, other: HostileClient) => Uint8Array<ArrayBuffer>> = {
      "an address outside": ({ facts }) => encodeFreed([facts!.base + 2n ** 40n]),
      "the address of nothing": () => encodeFreed([0n]),
      "an address between": ({ lent }) => encodeFreed([lent[0] + 8n]),
      "freed twice": ({ lent }) => encodeFreed([lent[0], lent[0]]),
      "lent to another": (_, { lent }) => encodeFreed([lent[0]]),
      "half an address": () => new Uint8Array(4),
      "too many": () => new Uint8Array(8 * 4097),
    };
    for (const [name, say] of Object.entries(violations)) {
      // So that the stream cannot be over before the server has read what the client says.
      gate = Promise.withResolvers();
      const { failed } = server.stats;
      await using other = new HostileClient(uri);
      {
        await using client = new HostileClient(uri);
        assertEquals([await client.hello(), await other.hello()], ["", ""], name);
        await client.read(3);
        await other.read(3);
        client.socket.send(say(client, other));
        const error = await client.rest();
        assert(error instanceof DipcError, `${name}: ${error}`);
        assertEquals(error.code, "protocol", name);
        assertStringIncludes(error.message, "free", name);
      }
      gate.resolve();
      await until(() => server.stats.failed, (now) => now === failed + 1);
      assertEquals(await other.rest(), null, `${name}: the other one`);
      await fetchWhole(server);
      assertEquals(server.stats.failed, failed + 1, `${name}: no other stream has failed`);
    }
    await until(() => server.sharing!, ({ clients, arenaBytes }) => clients + arenaBytes === 0);
  },
);

testNeeding(
  [needsUcx],
  "a client that hangs up its socket and reads on is lent nothing more",
  async () => {
    await using server = await serve({
      datasets: { t: { source: generated(MANY, ROWS), share: true } },
      ...{ sharing: { arenaBytes: 64 << 20 }, windowBatches: 2 },
    });
    await using client = new HostileClient(server.datasets[0].uris[0]);
    assertEquals(await client.hello(), "");
    await client.read(3);
    libc().shutdown(client.socket.fd, 2);
    await until(() => server.sharing!, ({ clients }) => clients === 0);
    assertEquals(await client.rest(), null, "the other bodies are sent");
    assertEquals(server.sharing, { clients: 0, leasedBytes: 0, arenaBytes: 0 });
    assert(client.lent.length < MANY / 2, `${client.lent.length} bodies were lent`);
    await fetchWhole(server);
  },
);

Deno.test("a client that never stops talking is interrupted, so that others get their turn", () => {
  let received = 0;
  const endless = {
    fd: -1,
    receive: () => received++ < 10_000 ? { bytes: new Uint8Array(4), isCut: false, descriptors: [] } : null,
  } as unknown as LocalSocket;
  const session = new ShareSession(endless, "t", new StreamMemory(1 << 20), {
    settings: { arenaBytes: 1 << 20, clientBytes: 1 << 20, leaseMs: 1_000, minBodyBytes: 0, remoteKeys: false },
    receiver: new MessageReceiver(64),
  });
  assert(session.drain(), "the connection is not over");
  assert(received > 0 && received < 1_000, `${received} messages in one turn`);
  assertEquals((session.signal.reason as DipcError).code, "protocol");
});

testNeeding(
  [needsUcx],
  "a server hands its memory to nobody without a ticket, and forgets who says nothing",
  async () => {
    await using server = await serve({
      datasets: { t: { source: generated(MANY, ROWS), share: true }, sent: generated(1, 1) },
      ...{ requestTimeoutMs: 500, maxConnections: 3 },
    });
    const [uri] = server.datasets[0].uris;
    const cases: Record<string, (client: HostileClient) => Promise<string>> = {
      "no such dataset": (client) => client.hello(client.nonce, utf8("nothing")),
      "not shared": (client) => client.hello(client.nonce, utf8("sent")),
      "rubbish": (client) => (client.socket.send(utf8("GET / HTTP/1.1")), client.answer()),
      "silence": (client) => client.answer(),
      "free before hello": (client) => (client.socket.send(encodeFreed([1n])), client.answer()),
      "a nonce in use": async (client) => {
        await using first = new HostileClient(uri);
        assertEquals(await first.hello(), "");
        return await client.hello(first.nonce);
      },
      "too many": async (client) => {
        await using second = new HostileClient(uri);
        await using third = new HostileClient(uri);
        assertEquals([await client.hello(), await second.hello(), await third.hello()], ["", "", ""]);
        await using fourth = new HostileClient(uri);
        return await fourth.hello();
      },
    };
    const rows: string[][] = [];
    for (const [name, act] of Object.entries(cases)) {
      await using client = new HostileClient(uri);
      rows.push([name, await act(client)]);
    }
    printTable("clients that get no memory", ["client", "answer"], rows);
    assertEquals(rows.map(([, answer]) => answer), [
      ...["not_found", "not_found", "protocol", "gone", "protocol", "protocol", "busy"],
    ]);
    await until(() => server.sharing!, ({ clients }) => clients === 0);
    await fetchWhole(server);
  },
);
