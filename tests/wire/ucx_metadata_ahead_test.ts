/**
 * Over UCX, a metadata server that is much faster than the body server waits: its frames do not pile up in the client.
 *
 * @module
 */
import { assert, assertEquals, assertLess } from "@std/assert";
import { connect } from "../../src/connect.ts";
import { EMPTY_BODY } from "../../src/memory/empty.ts";
import { wrapBytes } from "../../src/memory/wrap.ts";
import { serve } from "../../src/serve.ts";
import type { Dataset, MessageStream } from "../../src/sources/dataset.ts";
import type { Channel, Transport } from "../../src/wire/transport.ts";
import { ucxTransport } from "../../src/wire/ucx/transport.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { storedStreams } from "../support/simulated_dataset.ts";

const BATCHES = 6000;
/** Bodies that the slow server holds back. */
const HELD_BACK = 1500;
const WINDOW = 64;

/** The metadata run gives everything at once, the body run waits before one message. */
class UnequalDataset implements Dataset {
  readonly #stored = storedStreams().find(({ name }) => name === "one batch")!;
  readonly schema = this.#stored.schema;
  readonly readOnce = false;
  runs = 0;
  release: () => void = () => {};
  readonly #released = new Promise<void>((resolve) => this.release = resolve);

  open(): MessageStream {
    let at = 0;
    this.runs++;
    const { header, body } = this.#stored.messages[0];
    return {
      next: () => {
        if (at++ === BATCHES) return null;
        const message = { header, body: body.byteLength === 0 ? EMPTY_BODY : wrapBytes(body) };
        return at === HELD_BACK ? this.#released.then(() => message) : message;
      },
      close: () => {},
    };
  }

  close(): void {}
}

testNeeding([needsUcx], "a fast metadata server waits for a slow body server", async () => {
  const dataset = new UnequalDataset();
  const fast = await ucxTransport({}), slow = await ucxTransport({}), mine = await ucxTransport({});
  let channel: Channel | null = null;
  const watched: Transport = {
    connect: async (...parts) => channel = await mine.connect(...parts),
    listen: (options) => mine.listen(options),
    close: () => mine.close(),
  };
  try {
    // Two servers, so that only one of them is slow.
    const options = { windowBatches: WINDOW, port: 0, metadataPort: 0 };
    const quick = new UnequalDataset();
    quick.release();
    await using metadata = await serve({ ...options, datasets: { d: quick }, transport: fast });
    await using bodies = await serve({ ...options, datasets: { d: dataset }, transport: slow });
    const uris = [metadata.datasets[0].uris[0], bodies.datasets[0].uris[1]];
    await using reader = await connect(uris, { transport: watched, timeoutMs: 20_000 });
    let count = 0, peak = 0;
    const watching = setInterval(() => peak = Math.max(peak, channel!.queuedFrames), 5);
    const releasing = setTimeout(dataset.release, 1500);
    try {
      for await (const { body } of reader.messages()) {
        body?.release();
        count++;
        peak = Math.max(peak, channel!.queuedFrames);
      }
    } finally {
      clearInterval(watching);
      clearTimeout(releasing);
      dataset.release();
    }
    assertEquals(count, BATCHES + 1);
    assertEquals([quick.runs, dataset.runs], [1, 1]);
    console.log(`metadata ahead: at most ${peak} frames waited`);
    assert(peak > 0, "no frame ever waited: the body server was not slow");
    assertLess(peak, 4 * WINDOW);
  } finally {
    await Promise.all([fast.close(), slow.close(), mine.close()]);
  }
});
