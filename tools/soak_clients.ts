/**
 * Clients of every kind for `deno task soak --minutes N`: honest ones, and those that break off, cancel, are slow, are
 * suspended, are killed, or send garbage. Each makes one visit at a time, as its random numbers say.
 *
 * @module
 */
import { connect } from "../mod.ts";
import { framesOfClient, mutateFrames } from "../tests/fuzz/support/http2_frames.ts";
import { startDipc } from "../tests/support/processes.ts";
import type { Random } from "../tests/support/random.ts";

/** What the clients visit. */
export interface SoakServer {
  /** `grpc:` location; its FlightInfo names the `ucx:` locations. */
  readonly flight: string;
  readonly dataset: string;
  readonly ucxPort: number;
  readonly flightPort: number;
  /** Rows of the dataset. */
  readonly rows: number;
  /** Batches of the dataset. */
  readonly batches: number;
}

/** A kind of client: its visit throws only if the server is at fault. */
export interface SoakClient {
  readonly name: string;
  /** Whether its visits must succeed, and are timed. */
  readonly isHonest: boolean;
  visit(server: SoakServer, random: Random): Promise<void>;
}

const delay = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));
const uriOf = ({ flight, dataset }: SoakServer) => `${flight}/${dataset}`;

/** Fetches everything, and counts it. */
function honest(route: "ucx" | "flight"): SoakClient {
  return {
    name: `honest/${route}`,
    isHonest: true,
    async visit(server) {
      await using reader = await connect(uriOf(server), { route });
      let rows = 0;
      for await (const batch of reader) {
        rows += batch.numRows;
        (batch as Partial<Disposable>)[Symbol.dispose]?.();
      }
      if (rows !== server.rows) throw new Error(`${rows} rows came, expected ${server.rows}`);
      if (reader.stats.route !== route) throw new Error(`the route was ${reader.stats.route}`);
    },
  };
}

const routes = ["ucx", "flight"] as const;

/** Leaves in the middle, silently. */
const breaking: SoakClient = {
  name: "breaking",
  isHonest: false,
  async visit(server, random) {
    await using reader = await connect(uriOf(server), { route: random.pick(routes) });
    let left = random.below(server.batches);
    for await (const _ of reader) if (left-- <= 0) return;
  },
};

/** Cancels at any time, also while it connects. */
const cancelling: SoakClient = {
  name: "cancelling",
  isHonest: false,
  async visit(server, random) {
    const signal = AbortSignal.timeout(random.below(60));
    try {
      await using reader = await connect(uriOf(server), { route: random.pick(routes), signal });
      for await (const _ of reader) await delay(random.below(5));
    } catch {
      // Cancelled, as it wanted.
    }
  },
};

const slow: SoakClient = {
  name: "slow",
  isHonest: false,
  async visit(server, random) {
    await using reader = await connect(uriOf(server), { route: random.pick(routes) });
    for await (const _ of reader) await delay(random.below(100));
  },
};

function get(server: SoakServer, random: Random) {
  return startDipc(["get", uriOf(server), "--route", random.pick(routes), "-o", "-", "--format", "csv"], {
    timeoutMs: 120_000,
  });
}

/** A process that stands still for a while. */
const suspended: SoakClient = {
  name: "suspended",
  isHonest: false,
  async visit(server, random) {
    const client = get(server, random);
    await delay(200 + random.below(800));
    client.kill("SIGSTOP");
    await delay(500 + random.below(2500));
    client.kill("SIGCONT");
    await client.outcome;
  },
};

const killed: SoakClient = {
  name: "killed",
  isHonest: false,
  async visit(server, random) {
    const client = get(server, random);
    await delay(200 + random.below(1300));
    client.kill("SIGKILL");
    await client.outcome;
  },
};

/** Sends bytes to a port, and reads what comes until there is an end of it. */
async function sendGarbage(port: number, bytes: Uint8Array, patienceMs: number): Promise<void> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const timer = setTimeout(() => connection.close(), patienceMs);
  try {
    for (let at = 0; at < bytes.byteLength;) at += await connection.write(bytes.subarray(at));
    const buffer = new Uint8Array(4096);
    while (await connection.read(buffer) !== null);
  } catch {
    // The server has closed it, or this side has.
  } finally {
    clearTimeout(timer);
  }
}

function randomBytes(random: Random, most: number): Uint8Array {
  return Uint8Array.from({ length: 1 + random.below(most) }, () => random.below(256));
}

const garbageAtUcx: SoakClient = {
  name: "garbage/ucx",
  isHonest: false,
  visit: ({ ucxPort }, random) => sendGarbage(ucxPort, randomBytes(random, 2000), random.below(300)),
};

/** Random bytes, and frames of HTTP/2 in a wrong order. */
const garbageAtFlight: SoakClient = {
  name: "garbage/flight",
  isHonest: false,
  visit({ flightPort }, random) {
    let bytes = random.chance(0.3) ? randomBytes(random, 2000) : random.pick(framesOfClient());
    for (let rounds = random.below(4); rounds > 0; rounds--) bytes = mutateFrames(bytes, 0, random);
    return sendGarbage(flightPort, bytes, random.below(300));
  },
};

/** Every kind; each visits again and again, all of them concurrently. */
export const SOAK_CLIENTS: readonly SoakClient[] = [
  honest("ucx"),
  honest("flight"),
  breaking,
  cancelling,
  slow,
  suspended,
  killed,
  garbageAtUcx,
  garbageAtFlight,
];
