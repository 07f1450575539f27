/**
 * `kill -9` of client, engine or gateway in the middle of a stream, at seeded moments: whoever is left hears of it soon, nothing stays
 * open at the engine, and no row comes twice. `DIPC_GATEWAY_KILLS=50` for as many moments of each.
 *
 * @module
 */
import { assert, assertEquals, assertLess } from "@std/assert";
import { connect, type ConnectOptions, DipcError } from "../../mod.ts";
import { FlightClient, type Gateway, serveGateway } from "../../flight.ts";
import { type PythonServer, type PythonServerState, startPythonServer } from "../support/flight_python.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { startDipc } from "../support/processes.ts";
import { needsPython } from "../support/python.ts";
import { type Random, seededRandom } from "../support/random.ts";
import { printTable } from "../support/table.ts";
import { delay, until } from "../support/time.ts";
import { startGateway } from "./support/gateways.ts";

/** Moments of each kill. */
const KILLS = Number(Deno.env.get("DIPC_GATEWAY_KILLS") || 3);
/**
 * Longest time until who is left has heard of it, in milliseconds: far longer than a busy machine takes, shorter than anything that
 * would end a wait without hearing of it (UCX's keepalive and the client's time-out of 20 s or more).
 */
const LONGEST_MS = 10_000;
const ENGINE = { generated: { g: { batches: -1, bytes: 2 ** 18, numbered: true } } };
const WAYS: readonly ConnectOptions[] = [{ route: "flight" }, { route: "ucx", share: false }, { route: "ucx" }];
const NAMES = ["Flight", "UCX", "shared memory"];
const HEADING = ["#", "way", "moment", "batches", "heard after", "error"];

/** One moment: the way of the data, and when to kill: with a number of batches, or after a time. */
interface Moment {
  readonly number: number;
  readonly way: number;
  readonly batches: number;
  readonly delayMs: number;
}

function moments(random: Random): Moment[] {
  return Array.from({ length: KILLS }, (_, number) => ({
    ...{ number, way: number % WAYS.length, batches: random.chance(0.3) ? -1 : random.below(200) },
    delayMs: random.below(100),
  }));
}

async function stateOf({ location }: PythonServer): Promise<PythonServerState> {
  await using client = await FlightClient.connect(location);
  for await (const body of client.doAction("state")) return JSON.parse(new TextDecoder().decode(body));
  throw new Error("the engine has no state");
}

/** Reads until it fails, and checks that the batches come in order, each once. */
async function readUntil(location: string, { way, batches, delayMs }: Moment, kill: () => void) {
  const timer = batches < 0 ? setTimeout(kill, delayMs) : undefined;
  let taken = 0;
  try {
    await using stream = await connect(location, { ...WAYS[way], flight: { path: "g" } });
    for await (using batch of stream) {
      const [first] = batch.getChildAt(0)!.toArray() as BigInt64Array;
      assertEquals(first, BigInt(taken), "a batch came twice, or one is missing");
      if (taken++ === batches) kill();
    }
  } catch (error) {
    return { taken, error };
  } finally {
    clearTimeout(timer);
  }
  throw new Error("an endless stream has ended as if it were whole");
}

/** Kills at one moment what the client does not see, and says how long it took to hear of it. */
async function killed(moment: Moment, location: string, kill: () => void): Promise<string[]> {
  let killedAt = 0;
  const { taken, error } = await readUntil(location, moment, () => {
    killedAt ||= performance.now();
    kill();
  });
  assert(killedAt > 0, `the stream failed before the kill: ${error}`);
  const after = performance.now() - killedAt;
  assert(error instanceof DipcError, `${error}`);
  assert(["connection_lost", "unreachable"].includes(error.code), `${error.code}: ${error.message}`);
  assertLess(after, LONGEST_MS, error.message);
  const { number, way, batches, delayMs } = moment;
  const when = batches < 0 ? `after ${delayMs} ms` : `batch ${batches}`;
  return [String(number), NAMES[way], when, String(taken), `${Math.round(after)} ms`, error.message.slice(0, 70)];
}

/** Nothing is left of what a gateway has done. */
async function assertIdle(gateway: Gateway): Promise<void> {
  const started = performance.now();
  await until(() => gateway.engineCalls === 0);
  await until(() => (gateway.sharing?.arenaBytes ?? 0) === 0);
  assertLess(performance.now() - started, LONGEST_MS);
}

/** Every fetch that the engine has begun has ended. */
async function assertEnded(engine: PythonServer): Promise<void> {
  const started = performance.now();
  await until(() => stateOf(engine), ({ gets, ended }) => gets === ended);
  assertLess(performance.now() - started, LONGEST_MS);
}

testNeeding([needsPython, needsUcx], "a killed engine ends the streams of its clients", async () => {
  const rows: string[][] = [];
  for (const moment of moments(seededRandom(0))) {
    await using engine = await startPythonServer(ENGINE);
    await using gateway = await serveGateway({ engines: engine.location, share: true });
    rows.push(await killed(moment, gateway.location, () => engine.running.kill("SIGKILL")));
    await assertIdle(gateway);
  }
  printTable("Engine killed", HEADING, rows);
});

testNeeding(
  [needsPython, needsUcx],
  "a killed gateway ends streams, and leaves nothing open at the engine",
  async () => {
    await using engine = await startPythonServer(ENGINE);
    const rows: string[][] = [];
    for (const moment of moments(seededRandom(1))) {
      await using gateway = await startGateway([engine.location, "--share"]);
      rows.push(await killed(moment, gateway.location, () => gateway.running.kill("SIGKILL")));
      await assertEnded(engine);
    }
    printTable("Gateway killed", HEADING, rows);
  },
);

testNeeding([needsPython, needsUcx], "a killed client leaves nothing open at gateway and engine", async () => {
  await using engine = await startPythonServer(ENGINE);
  await using gateway = await serveGateway({ engines: engine.location, share: true });
  for (const { way, delayMs } of moments(seededRandom(2))) {
    const { gets } = await stateOf(engine);
    const route = way === 0 ? "flight" : "ucx";
    await using client = startDipc(["get", gateway.location, "g", "--route", route, "-o", "-"], { timeoutMs: 30_000 });
    await until(() => stateOf(engine), (state) => state.gets > gets);
    await delay(delayMs); // to the moment
    client.kill("SIGKILL");
    await assertIdle(gateway);
    await assertEnded(engine);
  }
});
