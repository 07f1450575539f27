/**
 * Clients that misbehave towards a server, over real UCX: nearly all are lists of steps.
 *
 * @module
 */
import { delay } from "../../support/time.ts";
import { randomBytes, utf8 } from "../../support/bytes.ts";
import {
  answer,
  ask,
  type Attack,
  cut,
  die,
  envelope,
  flood,
  messages,
  pause,
  play,
  randomTags,
  reach,
  request,
  rightRequest,
  STAGES,
  type Step,
} from "./client_steps.ts";

/** A case: what it does, and how; answers with what came of it. */
export interface ClientCase {
  does: string;
  run(attack: Attack): Promise<string>;
}

/** A case made of steps over one connection. */
const script = (does: string, ...steps: Step[]): ClientCase => ({ does, run: (attack) => play(steps, attack) });

const MiB = 2 ** 20;

/** Drops the connection at every stage of a stream. */
function drops(): Record<string, ClientCase> {
  const cases: Record<string, ClientCase> = {};
  for (const stage of STAGES) {
    cases[`cuts the connection: ${stage}`] = script(`force-closes at the step "${stage}"`, reach(stage), cut);
    cases[`dies: ${stage}`] = script(`is killed at the step "${stage}"`, reach(stage), die);
  }
  return cases;
}

/** Active messages under every other id, with a header. */
const otherIds: Step = ({ endpoint }) => {
  for (let id = 1; id <= 30; id++) endpoint.am(randomBytes(50), { id, header: randomBytes(20) });
};

/** Sends active messages of random bytes until the server closes the connection. */
const floodOfMessages = (count: number, bytes: number): Step => (attack) => {
  const content = randomBytes(bytes);
  return flood(count, (endpoint) => endpoint.am(content))(attack);
};

/** An envelope with entries of no bytes. */
function withEntries(attack: Attack, count: number): Uint8Array {
  const head = rightRequest(attack);
  const bytes = new Uint8Array(head.byteLength + count * 6);
  bytes.set(head);
  return bytes;
}

/** Connections that send nothing. */
async function manyConnections(attack: Attack): Promise<string> {
  const endpoints = Array.from({ length: 50 }, () => attack.worker.connect(attack.port));
  await attack.worker.idle(1000);
  const refused = endpoints.filter((endpoint) => endpoint.failure !== null).length;
  for (const endpoint of endpoints) await endpoint.close(true);
  return `${refused} of 50 refused`;
}

/** Plain TCP to the port. */
async function plainTcp(attack: Attack): Promise<string> {
  const connections: Deno.Conn[] = [];
  let ended = 0;
  for (let i = 0; i < 10; i++) {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port: attack.port });
    connections.push(connection);
    await connection.write(randomBytes(4096));
    void connection.read(new Uint8Array(4096)).then(() => ended++, () => ended++);
  }
  await delay(1000);
  const result = `${ended} of 10 answered or cut within a second`;
  for (const connection of connections) connection.close();
  return result;
}

/** All cases by name. */
export const clientCases: Record<string, ClientCase> = {
  "says nothing": script("connects and sends nothing", answer),
  "wrong tag": script("sends a request under another tag", request(rightRequest, (wanted) => wanted ^ 1n), answer),
  "flood of random tags": script(
    "20,000 messages of 1 KiB under random tags",
    randomTags(20_000, () => randomBytes(1024)),
    answer,
  ),
  "flood of large random tags": script(
    "300 messages of 1 MiB under random tags",
    randomTags(300, () => randomBytes(MiB)),
    answer,
  ),
  "flood during a stream": script(
    "asks, then sends 20,000 messages under random tags",
    ask,
    randomTags(20_000, () => randomBytes(1024)),
    answer,
  ),
  "huge ticket": script("a request of 64 MiB", request(() => envelope(new Uint8Array(64 * MiB))), answer),
  "large ticket": script(
    "a request of 100,000 bytes, just over the limit, sent at once",
    request(envelope(new Uint8Array(100_000))),
    answer,
  ),
  "lying ticket length": script(
    "an envelope that claims a ticket of 4 GiB",
    request(({ ticket }) => envelope(utf8(ticket), 1, 0xFFFFFFFF)),
    answer,
  ),
  "half an envelope": script(
    "the first 8 bytes of an envelope",
    request((attack) => rightRequest(attack).subarray(0, 8)),
    answer,
  ),
  "endless entries": script(
    "an envelope with 5,000 entries of no bytes",
    request((attack) => withEntries(attack, 5000)),
    answer,
  ),
  "empty request": script("a request of no bytes", request(new Uint8Array()), answer),
  "random request": script("a request of 1,000 random bytes", request(randomBytes(1000)), answer),
  "unknown dataset": script(
    "asks by envelope for a dataset that does not exist",
    request(envelope(utf8("no such thing"))),
    answer,
  ),
  "unknown dataset, bare": script(
    "asks by bare ticket for a dataset that does not exist",
    request(utf8("no such thing")),
    answer,
  ),
  "half a prefix": script(
    "active messages of 3, 0 and 5 bytes, which no client should send",
    messages(3, 0, 5),
    answer,
  ),
  "endless active messages": script("50,000 active messages of 1 KiB", floodOfMessages(50_000, 1024), answer),
  "large active messages": script("300 active messages of 1 MiB", floodOfMessages(300, MiB), answer),
  "other active message ids": script("active messages with ids 1 to 30 and a header", otherIds, answer),
  "asks twice": script("sends a second request while the first one runs", reach("first frame"), ask, answer),
  "takes nothing": script(
    "asks, then takes nothing for two seconds and is killed",
    reach("asked"),
    pause(2000),
    die,
  ),
  "many connections": {
    does: "50 connections at once that send nothing, cut after a second",
    run: manyConnections,
  },
  "no UCX at all": { does: "random bytes over plain TCP to the port", run: plainTcp },
  ...drops(),
};
