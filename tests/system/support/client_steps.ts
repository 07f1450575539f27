/**
 * The steps of which misbehaving clients are made, over real UCX.
 *
 * @module
 */
import { delay } from "../../support/time.ts";
import { utf8 } from "../../support/bytes.ts";
import type { RawEndpoint, RawRequest, RawWorker } from "./raw_ucx.ts";

/** What a case may use. */
export interface Attack {
  readonly worker: RawWorker;
  readonly port: number;
  /** Tag under which the server awaits requests. */
  readonly wanted: bigint;
  /** Name of a dataset with ten batches of 480,000 bytes. */
  readonly ticket: string;
}

/** An attack whose connection stands. */
export interface Connected extends Attack {
  readonly endpoint: RawEndpoint;
}

/** One thing that a client does; a text that it returns is part of what came of the case. */
export type Step = (attack: Connected) => unknown;

/** Bytes, or how to make them when they are sent. */
export type Content = Uint8Array | ((attack: Attack) => Uint8Array);

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

/** The request for the dataset, as it should be. */
export const rightRequest = ({ ticket }: Attack): Uint8Array<ArrayBuffer> => envelope(utf8(ticket));

/** Sends a request, right or wrong, under the server's tag or one made from it. */
export function request(content: Content, tag = (wanted: bigint) => wanted): Step {
  return (attack) => send(attack, content, tag);
}

/** Sends the right request. */
export const ask: Step = request(rightRequest);

/** Sends active messages that no client should send. */
export const messages = (...lengths: number[]): Step => ({ endpoint }) => {
  for (const length of lengths) endpoint.am(new Uint8Array(length));
};

/** Waits for the server's answer: an error message, a closed connection, or nothing. */
export const answer: Step = async ({ worker, endpoint }) => {
  const started = performance.now();
  const errorMessage = () => worker.frames.find((each) => each[0] === 255);
  const answered = await worker.until(() => endpoint.failure !== null || errorMessage() !== undefined, 8000);
  const after = `after ${Math.round(performance.now() - started)} ms`;
  const error = errorMessage();
  if (error !== undefined) {
    return `error message ${JSON.parse(new TextDecoder().decode(error.subarray(5))).code} ${after}`;
  }
  return answered ? `connection closed (${endpoint.failure}) ${after}` : `no answer ${after}`;
};

/** Sends messages one after the other until the server closes the connection. */
export function flood(count: number, sendOne: (endpoint: RawEndpoint) => RawRequest): Step {
  return async ({ worker, endpoint }) => {
    let sent = 0;
    const running: RawRequest[] = [];
    for (; sent < count && endpoint.failure === null; sent++) {
      running.push(sendOne(endpoint));
      worker.progress();
      if (running.length >= 64) {
        await worker.until(() => running[0].poll() !== 1 || endpoint.failure !== null, 10_000);
        if (running.shift()!.poll() === 1) return `${sent + 1} of ${count} sent`;
      }
    }
    return `${sent} of ${count} sent`;
  };
}

/** Sends bytes under random tags until the server closes the connection. */
export function randomTags(count: number, content: () => Uint8Array): Step {
  const tags = new BigUint64Array(1);
  return (attack) => {
    const bytes = content();
    return flood(count, (endpoint) => endpoint.tag(crypto.getRandomValues(tags)[0], bytes))(attack);
  };
}

/** How far a stream can be taken. */
export const STAGES = [
  "connected",
  "asked",
  "schema",
  "first frame",
  "first body",
  "half",
  "all bodies",
  "end",
] as const;

/** How far a stream is taken. */
export type Stage = typeof STAGES[number];

/** Takes a stream up to a stage. */
export const reach = (stage: Stage): Step => async (attack) => {
  const { worker } = attack;
  if (stage === "connected") return;
  const sent = send(attack, rightRequest);
  await worker.until(() => sent.poll() !== 1);
  if (stage === "asked") return;
  const frames = async (count: number): Promise<void> => {
    if (!await worker.until(() => worker.frames.length >= count)) throw new Error(`no frame ${count} came`);
  };
  const bodies = async (last: number): Promise<void> => {
    for (let sequence = 1; sequence <= last; sequence++) {
      const receive = worker.receive(BigInt(sequence), SEQUENCE_MASK, BODY_BYTES);
      if (!await worker.until(() => receive.poll() !== 1)) throw new Error(`no body ${sequence} came`);
    }
  };
  await frames(stage === "schema" ? 1 : 2);
  if (stage === "first body") await bodies(1);
  if (stage === "half") await bodies(5);
  if (stage === "all bodies" || stage === "end") await bodies(10);
  if (stage === "end") await frames(12);
};

/** Takes nothing for some time. */
export const pause = (milliseconds: number): Step => () => delay(milliseconds);

/** Closes the connection by force. */
export const cut: Step = async ({ endpoint }) => {
  await endpoint.close(true);
  return "cut";
};

/** Is killed. */
export const die: Step = () => {
  Deno.kill(Deno.pid, "SIGKILL");
  return new Promise(() => {});
};

/** Connects and takes the steps one after the other. @returns what came of them */
export async function play(steps: readonly Step[], attack: Attack): Promise<string> {
  const endpoint = attack.worker.connect(attack.port);
  // An endpoint is connected for certain once something has come through it, and a flush ends only then.
  await endpoint.flush();
  const results: string[] = [];
  for (const step of steps) {
    const result = await step({ ...attack, endpoint });
    if (typeof result === "string") results.push(result);
  }
  return results.join("; ");
}

function send({ endpoint, ...attack }: Connected, content: Content, tag = (wanted: bigint) => wanted): RawRequest {
  return endpoint.tag(tag(attack.wanted), typeof content === "function" ? content(attack) : content);
}
