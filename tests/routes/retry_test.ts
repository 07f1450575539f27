/** A request on a kept connection that has just ended goes out once more, on a new one, and never more than once. */
import { assertEquals } from "@std/assert";
import { connect, DipcError, fromTable, serve } from "../../mod.ts";
import { encodeError } from "../../src/protocol/envelope.ts";
import { encodeFrame, ERROR_MESSAGE } from "../../src/protocol/prefix.ts";
import { parseUri } from "../../src/protocol/uri.ts";
import { openAlternative } from "../../src/routes/ucx.ts";
import { readerLimits } from "../../src/limits.ts";
import { hostPool } from "../../src/memory/host_pool.ts";
import type { Channel, PeerAddress, Transport } from "../../src/wire/transport.ts";
import { assertDipcError } from "../support/assert.ts";
import { tripsTable } from "../support/cli_data.ts";
import { LoopbackTransport } from "../support/loopback.ts";

/** A connection that is lost as soon as the request is out; before that the server may have said something. */
function lostChannel(isReused: boolean, said: Uint8Array<ArrayBuffer> | null = null): Channel {
  let failure: DipcError | null = null;
  const lost = () => failure ??= new DipcError("connection_lost", "cannot continue the stream: the server has ended");
  return {
    transports: [],
    get failure() {
      return failure;
    },
    activity: 0,
    isReused,
    isQuiet: false,
    queuedFrames: 0,
    queuedFrameBytes: 0,
    progress: () => false,
    until: (step) => step() ? Promise.resolve(true) : Promise.reject(lost()),
    takeFrame() {
      const frame = said;
      said = null;
      return frame;
    },
    receive: () => {
      throw lost();
    },
    probe: () => null,
    sendFrame: () => null,
    sendTagged() {
      lost();
      return null;
    },
    close: () => Promise.resolve(),
  };
}

/** Connects by `network`, except that a connection may be `kept`, and that one that is not may be `fresh`. */
function transportWith(network: Transport, kept: Channel, fresh?: Channel): { transport: Transport; asked: boolean[] } {
  const asked: boolean[] = [];
  const transport: Transport = {
    connect(metadata, body, options) {
      asked.push(options.mayReuse === true);
      if (options.mayReuse) return Promise.resolve(kept);
      return fresh === undefined ? network.connect(metadata, body, options) : Promise.resolve(fresh);
    },
    listen: (options) => network.listen(options),
    close: () => network.close(),
  };
  return { transport, asked };
}

Deno.test("a request whose kept connection is lost before the answer goes out once more", async () => {
  const network = new LoopbackTransport({ seed: 1 });
  await using server = await serve({ datasets: { trips: await fromTable(tripsTable(2)) }, transport: network });
  const [uri] = server.datasets[0].uris;
  assertEquals(uri.includes("keep=1"), true);

  const once = transportWith(network, lostChannel(true));
  await using reader = await connect(uri, { transport: once.transport });
  assertEquals((await reader.toTable()).numRows, 2000);
  assertEquals(once.asked, [true, false]);

  const twice = transportWith(network, lostChannel(true), lostChannel(false));
  await assertDipcError("connection_lost", "the server has ended", () => connect(uri, { transport: twice.transport }));
  assertEquals(twice.asked, [true, false]);

  // Nor does it matter whether it has carried a stream: it may have been begun early.
  const begun = transportWith(network, lostChannel(true));
  const noted: PeerAddress[] = [];
  const early = {
    take: () => Promise.resolve(lostChannel(false)),
    note: (peer: PeerAddress) => void noted.push(peer),
  };
  const metadata = parseUri(uri);
  const { input } = await openAlternative({ metadata, body: null }, {
    ...{ transport: begun.transport, early, keep: { connections: 1, milliseconds: 1000 } },
    ...{ pool: hostPool(), limits: readerLimits(), timeoutMs: 10_000 },
  });
  await input.close();
  assertEquals([begun.asked, noted], [[false], [metadata]]);

  // Not with a ticket: what that stands for may have been executed.
  const ticketed = transportWith(network, lostChannel(true));
  const ticket = new TextEncoder().encode("trips");
  await assertDipcError("connection_lost", "", () => connect(uri, { transport: ticketed.transport, ticket }));
  assertEquals(ticketed.asked, [true]);

  // Not one that was new, nor one that was answered.
  const fresh = transportWith(network, lostChannel(false));
  await assertDipcError("connection_lost", "the server has ended", () => connect(uri, { transport: fresh.transport }));
  assertEquals(fresh.asked, [true]);
  const answer = encodeFrame(ERROR_MESSAGE, 0, encodeError("permission_denied", "not you"));
  const answered = transportWith(network, lostChannel(true, answer));
  await assertDipcError("permission_denied", "not you", () => connect(uri, { transport: answered.transport }));
  assertEquals(answered.asked, [true]);
});
