/**
 * A peer as the published reference code behaves, played over real UCX without dipc's own wire code: bare tickets, sent
 * synchronously; two roles on one port, told apart by `want_data` alone; active messages with the REPLY flag.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { connect } from "../../mod.ts";
import { frame, int64Messages, type RawMessage } from "../support/arrow_messages.ts";
import { needsUcx, testNeeding, ucx } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { ServeProcess, startDipc } from "../support/processes.ts";
import { assertSoon } from "../support/time.ts";
import { type RawEndpoint, type RawReceive, RawWorker } from "./support/raw_ucx.ts";

/** The reference's own values. */
const WANT_METADATA = 0xFFFFFDEADBA0BAB0n, WANT_BODY = 0x00000DEADBA0BAB0n;
/** The reference matches requests in these bits only, and tells the roles apart by the others. */
const REQUEST_MASK = 0x00000FFFFFFFFFFFn;
const SEQUENCE_MASK = 0xFFFFFFFFn;
const SERVER = `${ROOT}/tests/support/server_program.ts`;

/** Serves one stream as the reference does: a worker for each connection, both roles on one port. */
async function serveAsReference(listener: RawWorker, messages: RawMessage[], requests: string[]): Promise<void> {
  const served = new Set<RawWorker>();
  const pending = new Map<RawWorker, RawReceive>();
  const running: { poll(): number }[] = [];
  const done = await listener.until(() => {
    for (const child of listener.children) {
      if (served.has(child)) continue;
      if (!pending.has(child)) pending.set(child, child.receive(WANT_BODY & REQUEST_MASK, REQUEST_MASK, 4096));
      const request = pending.get(child)!;
      if (request.poll() === 1) continue;
      served.add(child);
      requests.push(new TextDecoder().decode(request.content));
      const [endpoint] = child.accepted;
      const wantsMetadata = request.tag === WANT_METADATA;
      messages.forEach((message, sequence) => {
        if (wantsMetadata) running.push(endpoint.am(frame(1, sequence, message.metadata), { reply: true }));
        else if (sequence > 0) running.push(endpoint.tag(BigInt(sequence), message.body));
      });
      if (wantsMetadata) running.push(endpoint.am(frame(0, messages.length), { reply: true }));
    }
    const gone = listener.children.filter((child) => child.accepted[0].failure !== null).length;
    return served.size === 2 && gone === 2 && running.every((each) => each.poll() !== 1);
  }, 10_000);
  assert(done, "the client did not ask on both connections and then close them");
}

for (const [size, rows] of [["eager", 100], ["rendezvous", 100_000]] as const) {
  testNeeding([needsUcx], `a stream from a reference-style server with two roles on one port, ${size}`, async () => {
    const listener = RawWorker.open(ucx!.path);
    try {
      const port = listener.listen(0, true);
      const requests: string[] = [];
      const serving = serveAsReference(listener, int64Messages(5, rows), requests);
      const uris = [WANT_METADATA, WANT_BODY].map((want) => `ucx://127.0.0.1:${port}?want_data=${want}`);
      let expected = 0n;
      {
        await using reader = await connect(uris, { ticket: "the ticket", timeoutMs: 5000 });
        for await (using batch of reader) {
          const values = batch.getChildAt(0)!.toArray() as BigInt64Array;
          assertEquals(values[0], expected);
          assertEquals(values.at(-1), expected + BigInt(rows - 1));
          expected += BigInt(rows);
        }
        assert(reader.stats.complete, "the stream is not whole");
      }
      assertEquals(expected, BigInt(5 * rows));
      await serving;
      assertEquals(requests, ["the ticket", "the ticket"]);
    } finally {
      await listener.close();
    }
  });
}

testNeeding([needsUcx], "a reference-style server that never answers ends in a timeout", async () => {
  const listener = RawWorker.open(ucx!.path);
  try {
    const port = listener.listen();
    const serving = listener.until(() => listener.accepted[0]?.failure != null, 10_000);
    const started = performance.now();
    const error = await connect(`ucx://127.0.0.1:${port}?want_data=${WANT_METADATA}`, { ticket: "x", timeoutMs: 800 })
      .then(() => null, (error) => error);
    assertEquals(error?.code, "timeout");
    assertSoon("timed out", started);
    assert(await serving);
  } finally {
    await listener.close();
  }
});

interface Fetched {
  frames: Uint8Array[];
  bodies: bigint[];
}

/** Fetches as the reference does: a bare ticket to each location, synchronously, then metadata and bodies as they come. */
async function fetchAsReference(uris: readonly string[], ticket: string, rows: number): Promise<Fetched> {
  const worker = RawWorker.open(ucx!.path);
  try {
    const endpoints: RawEndpoint[] = [];
    for (const uri of uris) {
      const url = new URL(uri.replace(/^ucx:/, "http:"));
      const endpoint = worker.connect(Number(url.port));
      endpoints.push(endpoint);
      const wanted = BigInt(url.searchParams.get("want_data")!);
      const request = endpoint.tag(wanted, new TextEncoder().encode(ticket), { synchronous: true });
      assert(await worker.until(() => request.poll() !== 1), "the server did not match the request");
      assertEquals(request.status, 0);
    }
    const bodies: bigint[] = [];
    const isEnd = (bytes: Uint8Array): boolean => bytes[0] === 0 && bytes.byteLength === 5;
    for (let sequence = 1;; sequence++) {
      const gone = (): boolean => endpoints.some((endpoint) => endpoint.failure !== null);
      await worker.until(() => worker.frames.length > sequence || gone());
      assert(worker.frames.length > sequence, `frame ${sequence} did not come`);
      if (isEnd(worker.frames[sequence])) return { frames: worker.frames, bodies };
      const receive = worker.receive(BigInt(sequence), SEQUENCE_MASK, rows * 8 + 1024);
      assert(await worker.until(() => receive.poll() !== 1), `body ${sequence} did not come`);
      assertEquals(receive.tag, BigInt(sequence));
      const view = new DataView(receive.content.buffer);
      bodies.push(view.getBigInt64(receive.content.byteLength - 8, true));
    }
  } finally {
    await worker.close();
  }
}

for (const apart of [false, true]) {
  const how = apart ? "metadata and bodies apart" : "one connection";
  testNeeding([needsUcx], `a reference-style client gets the whole stream from our server, ${how}`, async () => {
    const settings = {
      datasets: { small: { batches: 4, rows: 100 }, large: { batches: 4, rows: 100_000 } },
      options: apart ? { metadataPort: 0 } : {},
    };
    const running = startDipc([JSON.stringify(settings)], { program: SERVER, stdin: "piped" });
    await using server = new ServeProcess(running, JSON.parse((await running.firstLine)!));
    for (const [name, rows] of [["small", 100], ["large", 100_000]] as const) {
      const uris = server.uris(name);
      assertEquals(uris.length, apart ? 2 : 1);
      const { frames, bodies } = await fetchAsReference(uris, name, rows);
      assertEquals(frames.map((bytes) => bytes[0]), [1, 1, 1, 1, 1, 0]);
      assertEquals(frames.map((bytes) => new DataView(bytes.buffer).getUint32(1, true)), [0, 1, 2, 3, 4, 5]);
      assertEquals(bodies, Array(4).fill(BigInt(rows - 1)));
    }
    const failed = await fetchAsReference(server.uris("small"), "unknown", 100).then(() => null, (error) => error);
    assertStringIncludes(String(failed), "did not come");
  });
}
