/**
 * One simulated transfer through the whole library: `serve` and `connect` over the loopback transport, several clients
 * at once, everything decided by a seed.
 *
 * @module
 */
import { connect } from "../../../src/connect.ts";
import { DipcError } from "../../../src/errors.ts";
import { serve } from "../../../src/serve.ts";
import type { ServerEventDetail } from "../../../src/serving/options.ts";
import type { Server } from "../../../src/serving/server.ts";
import type { DissociatedStreamReader } from "../../../src/reader.ts";
import { FAULT_KINDS, type FaultCounts, LoopbackTransport } from "../../support/loopback.ts";
import { Random } from "../../support/random.ts";
import { StoredDataset, type StoredStream } from "../../support/simulated_dataset.ts";
import { SimulatedPool } from "../../support/simulated_memory.ts";
import { HARMLESS } from "./simulation.ts";

/** What a simulated visit of some clients to one server came to. */
export interface LibraryOutcome {
  readonly seed: number;
  readonly plan: string;
  /** How each client ended: `whole` or the code of its error. */
  readonly endings: readonly string[];
  readonly faults: FaultCounts;
  /** What is wrong, such as a leak; empty if nothing is. */
  readonly defects: readonly string[];
}

/** Serves two datasets to one to four clients. */
export async function simulateLibrary(seed: number, streams: readonly StoredStream[]): Promise<LibraryOutcome> {
  const random = new Random(seed ^ 0x11B4A47);
  const harmless = random.chance(0.5);
  const kinds = FAULT_KINDS.filter((kind) => HARMLESS.includes(kind) === harmless && kind !== "corruptMetadata");
  const kind = random.pick(kinds);
  const plan = {
    faults: { [kind]: harmless ? random.pick([0.05, 0.5]) : 0.02 },
    metadataPort: random.chance(0.4) ? 0 : undefined,
    eagerBytes: random.pick([0, 8192]),
    windowBytes: random.pick([1, 4096, 1 << 20]),
    windowBatches: random.pick([1, 4, 64]),
    clients: random.between(1, 4),
    pauses: random.pick([0, 0.3]),
    cancels: harmless ? 0 : random.pick([0, 0, 0.02]),
    unknownTicket: random.chance(0.1),
  };
  const transport = new LoopbackTransport({ seed, strict: true, faults: plan.faults, eagerBytes: plan.eagerBytes });
  const serverPool = new SimulatedPool(), clientPool = new SimulatedPool();
  const defects: string[] = [];
  const one = random.pick(streams), other = random.pick(streams);
  const server = await serve({
    datasets: {
      one: new StoredDataset(one, serverPool, random, 0.1),
      "other/ü": new StoredDataset(other, serverPool, random, 0),
    },
    transport,
    metadataPort: plan.metadataPort,
    windowBytes: plan.windowBytes,
    windowBatches: plan.windowBatches,
    idleTimeoutMs: 60_000,
  });
  server.addEventListener("error", (event: unknown) => {
    const { error } = (event as CustomEvent<ServerEventDetail>).detail;
    if (error?.code === "internal") defects.push(`the server met a defect: ${error.message}`);
  });
  const endings = await Promise.all(Array.from({ length: plan.clients }, async (_, number) => {
    const stream = number % 2 === 0 ? one : other;
    const { uris } = server.datasets[number % 2];
    const ticket = plan.unknownTicket && number === 0 ? "unknown" : undefined;
    try {
      await using reader = await connect(uris, { transport, pool: clientPool, ticket });
      if (ticket !== undefined) defects.push("a ticket that nobody knows was served");
      return await readAll(reader, stream, plan, random, defects, transport, harmless);
    } catch (error) {
      if (!(error instanceof DipcError)) defects.push(`client ${number} threw ${error}`);
      else if (error.code === "internal") defects.push(`client ${number} met a defect: ${error.message}`);
      else if (harmless && (ticket === undefined || error.code !== "not_found")) {
        defects.push(`client ${number} should have had all, but: ${error.code}: ${error.message}`);
      }
      return error instanceof DipcError ? error.code : "other";
    }
  }));
  await endServer(server, defects);
  for (const [name, pool] of [["server", serverPool], ["clients", clientPool]] as const) {
    if (pool.out !== 0) defects.push(`${pool.out} blocks of the ${name} were not given back`);
    if (pool.misuses !== 0) defects.push(`${pool.misuses} blocks of the ${name} were misused`);
  }
  if (transport.openChannels !== 0) defects.push(`${transport.openChannels} channels were left open`);
  await transport.close();
  return {
    seed,
    plan: JSON.stringify({ one: one.name, other: other.name, ...plan }),
    endings,
    faults: transport.faults,
    defects,
  };
}

async function readAll(
  reader: DissociatedStreamReader,
  stream: StoredStream,
  plan: { pauses: number; cancels: number },
  random: Random,
  defects: string[],
  transport: LoopbackTransport,
  harmless: boolean,
): Promise<string> {
  let count = 0;
  for await (const { header, body } of reader.messages()) {
    const expected = count === 0 ? stream.schema : stream.messages[count - 1]?.header;
    if (
      harmless && (header.bytes.byteLength !== expected?.bytes.byteLength || header.bodyLength !== expected.bodyLength)
    ) {
      defects.push(`message ${count} is another one`);
    }
    count++;
    body?.release();
    if (random.chance(plan.pauses)) await transport.pause(random.between(1, 500));
    if (random.chance(plan.cancels)) {
      await reader.cancel("enough");
      return "cancelled";
    }
  }
  if (!reader.stats.complete) defects.push("a stream ended, but is not complete");
  if (count !== stream.messages.length + 1) defects.push(`${count} of ${stream.messages.length + 1} messages came`);
  return "whole";
}

async function endServer(server: Server, defects: string[]): Promise<void> {
  await server.shutdown();
  if (server.stats.activeConnections !== 0) {
    defects.push(`${server.stats.activeConnections} connections are still active`);
  }
}
