/**
 * Clients that misbehave towards a server, over real UCX.
 *
 * @module
 */
import { randomBytes, utf8 } from "../../support/bytes.ts";
import type { RawEndpoint, RawWorker } from "./raw_ucx.ts";

/** What a case may use. */
export interface Attack {
  worker: RawWorker;
  port: number;
  /** Tag under which the server awaits requests. */
  wanted: bigint;
  /** Name of a dataset with ten batches of 480,000 bytes. */
  ticket: string;
}

/** A case: what it does, and how; answers with what came of it. */
export interface ClientCase {
  does: string;
  run(attack: Attack): Promise<string>;
}

const SEQUENCE_MASK = 0xFFFFFFFFn;
/** Bytes of a body of the dataset. */
const BODY_BYTES = 480_000;

/** The envelope of a request, written by hand. */
export function envelope(ticket: Uint8Array, flags = 1, ticketLength = ticket.byteLength): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(11 + ticket.byteLength);
  bytes.set([0x44, 0x49, 0x50, 0x43, 0x01]);
  const view = new DataView(bytes.buffer);
  view.setUint16(5, flags, true);
  view.setUint32(7, ticketLength, true);
  bytes.set(ticket, 11);
  return bytes;
}

function randomTag(): bigint {
  return crypto.getRandomValues(new BigUint64Array(1))[0];
}

async function connected(attack: Attack): Promise<RawEndpoint> {
  const endpoint = attack.worker.connect(attack.port);
  // An endpoint is connected for certain once something has come through it, and a flush ends only then.
  await endpoint.flush();
  return endpoint;
}

/** Waits for the server's answer: an error message, a closed connection, or nothing. */
async function answer(attack: Attack, endpoint: RawEndpoint, timeoutMs = 8000): Promise<string> {
  const started = performance.now();
  const { worker } = attack;
  const over = (): boolean => endpoint.failure !== null || worker.frames.some((each) => each[0] === 255);
  const answered = await worker.until(over, timeoutMs);
  const after = `after ${Math.round(performance.now() - started)} ms`;
  const error = worker.frames.find((each) => each[0] === 255);
  if (error !== undefined) {
    return `error message ${JSON.parse(new TextDecoder().decode(error.subarray(5))).code} ${after}`;
  }
  return answered ? `connection closed (${endpoint.failure}) ${after}` : `no answer ${after}`;
}

/** Sends messages one after the other until the server closes the connection. */
async function flood(
  attack: Attack,
  endpoint: RawEndpoint,
  count: number,
  send: (number: number) => { poll(): number },
): Promise<string> {
  let sent = 0;
  const running: { poll(): number }[] = [];
  while (sent < count && endpoint.failure === null) {
    running.push(send(sent++));
    attack.worker.progress();
    if (running.length >= 64) {
      await attack.worker.until(() => running[0].poll() !== 1 || endpoint.failure !== null, 10_000);
      if (running.shift()!.poll() === 1) break;
    }
  }
  return `${sent} of ${count} sent; ${await answer(attack, endpoint)}`;
}

/** Takes a stream up to a step; the connection is there to be dropped. */
const steps = ["connected", "asked", "schema", "first frame", "first body", "half", "all bodies", "end"] as const;
type Step = typeof steps[number];

async function goTo(attack: Attack, step: Step): Promise<RawEndpoint> {
  const { worker } = attack;
  const endpoint = await connected(attack);
  if (step === "connected") return endpoint;
  const request = endpoint.tag(attack.wanted, envelope(utf8(attack.ticket)));
  await worker.until(() => request.poll() !== 1);
  if (step === "asked") return endpoint;
  const frames = async (count: number): Promise<void> => {
    if (!await worker.until(() => worker.frames.length >= count)) throw new Error(`no frame ${count} came`);
  };
  const bodies = async (from: number, to: number): Promise<void> => {
    for (let sequence = from; sequence <= to; sequence++) {
      const receive = worker.receive(BigInt(sequence), SEQUENCE_MASK, BODY_BYTES);
      if (!await worker.until(() => receive.poll() !== 1)) throw new Error(`no body ${sequence} came`);
    }
  };
  await frames(step === "schema" ? 1 : 2);
  if (step === "first body") await bodies(1, 1);
  if (step === "half") await bodies(1, 5);
  if (step === "all bodies" || step === "end") await bodies(1, 10);
  if (step === "end") await frames(12);
  return endpoint;
}

function drops(): Record<string, ClientCase> {
  const cases: Record<string, ClientCase> = {};
  for (const step of steps) {
    cases[`cuts the connection: ${step}`] = {
      does: `force-closes at the step "${step}"`,
      async run(attack) {
        await (await goTo(attack, step)).close(true);
        return "cut";
      },
    };
    cases[`dies: ${step}`] = {
      does: `is killed at the step "${step}"`,
      async run(attack) {
        await goTo(attack, step);
        Deno.kill(Deno.pid, "SIGKILL");
        return await new Promise(() => {});
      },
    };
  }
  return cases;
}

/** All cases by name. */
export const clientCases: Record<string, ClientCase> = {
  "says nothing": {
    does: "connects and sends nothing",
    async run(attack) {
      return await answer(attack, await connected(attack));
    },
  },
  "wrong tag": {
    does: "sends a request under another tag",
    async run(attack) {
      const endpoint = await connected(attack);
      endpoint.tag(attack.wanted ^ 1n, envelope(utf8(attack.ticket)));
      return await answer(attack, endpoint);
    },
  },
  "flood of random tags": {
    does: "20,000 messages of 1 KiB under random tags",
    async run(attack) {
      const endpoint = await connected(attack);
      const content = randomBytes(1024);
      return await flood(attack, endpoint, 20_000, () => endpoint.tag(randomTag(), content));
    },
  },
  "flood of large random tags": {
    does: "300 messages of 1 MiB under random tags",
    async run(attack) {
      const endpoint = await connected(attack);
      const content = randomBytes(2 ** 20);
      return await flood(attack, endpoint, 300, () => endpoint.tag(randomTag(), content));
    },
  },
  "flood during a stream": {
    does: "asks, then sends 20,000 messages under random tags",
    async run(attack) {
      const endpoint = await connected(attack);
      endpoint.tag(attack.wanted, envelope(utf8(attack.ticket)));
      const content = randomBytes(1024);
      return await flood(attack, endpoint, 20_000, () => endpoint.tag(randomTag(), content));
    },
  },
  "huge ticket": {
    does: "a request of 64 MiB",
    async run(attack) {
      const endpoint = await connected(attack);
      endpoint.tag(attack.wanted, envelope(new Uint8Array(64 * 2 ** 20)));
      return await answer(attack, endpoint);
    },
  },
  "large ticket": {
    does: "a request of 100,000 bytes, just over the limit, sent at once",
    async run(attack) {
      const endpoint = await connected(attack);
      endpoint.tag(attack.wanted, envelope(new Uint8Array(100_000)));
      return await answer(attack, endpoint);
    },
  },
  "lying ticket length": {
    does: "an envelope that claims a ticket of 4 GiB",
    async run(attack) {
      const endpoint = await connected(attack);
      endpoint.tag(attack.wanted, envelope(utf8(attack.ticket), 1, 0xFFFFFFFF));
      return await answer(attack, endpoint);
    },
  },
  "half an envelope": {
    does: "the first 8 bytes of an envelope",
    async run(attack) {
      const endpoint = await connected(attack);
      endpoint.tag(attack.wanted, envelope(utf8(attack.ticket)).subarray(0, 8));
      return await answer(attack, endpoint);
    },
  },
  "endless entries": {
    does: "an envelope with 5,000 entries of no bytes",
    async run(attack) {
      const endpoint = await connected(attack);
      const head = envelope(utf8(attack.ticket));
      const bytes = new Uint8Array(head.byteLength + 5000 * 6);
      bytes.set(head);
      endpoint.tag(attack.wanted, bytes);
      return await answer(attack, endpoint);
    },
  },
  "empty request": {
    does: "a request of no bytes",
    async run(attack) {
      const endpoint = await connected(attack);
      endpoint.tag(attack.wanted, new Uint8Array());
      return await answer(attack, endpoint);
    },
  },
  "random request": {
    does: "a request of 1,000 random bytes",
    async run(attack) {
      const endpoint = await connected(attack);
      endpoint.tag(attack.wanted, randomBytes(1000));
      return await answer(attack, endpoint);
    },
  },
  "unknown dataset": {
    does: "asks by envelope for a dataset that does not exist",
    async run(attack) {
      const endpoint = await connected(attack);
      endpoint.tag(attack.wanted, envelope(utf8("no such thing")));
      return await answer(attack, endpoint);
    },
  },
  "unknown dataset, bare": {
    does: "asks by bare ticket for a dataset that does not exist",
    async run(attack) {
      const endpoint = await connected(attack);
      endpoint.tag(attack.wanted, utf8("no such thing"));
      return await answer(attack, endpoint);
    },
  },
  "half a prefix": {
    does: "active messages of 3, 0 and 5 bytes, which no client should send",
    async run(attack) {
      const endpoint = await connected(attack);
      for (const length of [3, 0, 5]) endpoint.am(new Uint8Array(length));
      return await answer(attack, endpoint);
    },
  },
  "endless active messages": {
    does: "50,000 active messages of 1 KiB",
    async run(attack) {
      const endpoint = await connected(attack);
      const content = randomBytes(1024);
      return await flood(attack, endpoint, 50_000, () => endpoint.am(content));
    },
  },
  "large active messages": {
    does: "300 active messages of 1 MiB",
    async run(attack) {
      const endpoint = await connected(attack);
      const content = randomBytes(2 ** 20);
      return await flood(attack, endpoint, 300, () => endpoint.am(content));
    },
  },
  "other active message ids": {
    does: "active messages with ids 1 to 30 and a header",
    async run(attack) {
      const endpoint = await connected(attack);
      for (let id = 1; id <= 30; id++) endpoint.am(randomBytes(50), { id, header: randomBytes(20) });
      return await answer(attack, endpoint);
    },
  },
  "asks twice": {
    does: "sends a second request while the first one runs",
    async run(attack) {
      const endpoint = await goTo(attack, "first frame");
      endpoint.tag(attack.wanted, envelope(utf8(attack.ticket)));
      return await answer(attack, endpoint);
    },
  },
  "takes nothing": {
    does: "asks, then takes nothing for two seconds and is killed",
    async run(attack) {
      await goTo(attack, "asked");
      await new Promise((resolve) => setTimeout(resolve, 2000));
      Deno.kill(Deno.pid, "SIGKILL");
      return await new Promise(() => {});
    },
  },
  "many connections": {
    does: "50 connections at once that send nothing, cut after a second",
    async run(attack) {
      const endpoints = Array.from({ length: 50 }, () => attack.worker.connect(attack.port));
      await attack.worker.idle(1000);
      const refused = endpoints.filter((endpoint) => endpoint.failure !== null).length;
      for (const endpoint of endpoints) await endpoint.close(true);
      return `${refused} of 50 refused`;
    },
  },
  "no UCX at all": {
    does: "random bytes over plain TCP to the port",
    async run(attack) {
      const connections: Deno.Conn[] = [];
      let cut = 0;
      for (let i = 0; i < 10; i++) {
        const connection = await Deno.connect({ hostname: "127.0.0.1", port: attack.port });
        connections.push(connection);
        await connection.write(randomBytes(4096));
        void connection.read(new Uint8Array(4096)).then(() => cut++, () => cut++);
      }
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const result = `${cut} of 10 answered or cut within a second`;
      for (const connection of connections) connection.close();
      return result;
    },
  },
  ...drops(),
};
