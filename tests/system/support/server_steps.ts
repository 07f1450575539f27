/**
 * The steps of which misbehaving servers are made, over real UCX.
 *
 * @module
 */
import { frame, type RawMessage } from "../../support/arrow_messages.ts";
import type { RawEndpoint, RawReceive, RawRequest, RawWorker } from "./raw_ucx.ts";

/** Tag under which these servers await requests. */
export const WANTED = 0xFFFFFDEADBA0BAB0n;

/** How long a server waits for something that may never happen. */
const PATIENCE_MS = 10_000;

/** One connection of a client that has sent its request. */
export interface Session {
  readonly worker: RawWorker;
  readonly endpoint: RawEndpoint;
  /** Schema and batches. */
  readonly messages: readonly RawMessage[];
  /** What was sent so far, floods aside. */
  readonly sends: RawRequest[];
}

/** One thing that a server does. */
export type Step = (session: Session) => unknown;

/** Bytes, or how to make them from the right ones when they are sent. */
export type Content = Uint8Array | ((right: Uint8Array<ArrayBuffer>) => Uint8Array);

const NOTHING = new Uint8Array(0);

/** The same step for several numbers, one after the other. */
export const each = (numbers: readonly number[], step: (number: number) => Step): Step => (session) => {
  for (const number of numbers) step(number)(session);
};

/** Sends any metadata message, right or wrong. */
export function message(type: number, sequence: number, content: Content = NOTHING): Step {
  return raw(() => frame(type, sequence, bytesOf(content)));
}

/** Sends an active message of any bytes. */
export const raw = (content: Content): Step => ({ endpoint, sends }) => sends.push(endpoint.am(bytesOf(content)));

/** Sends the metadata of a message under its own or another sequence number. */
export function metadata(
  number: number,
  { sequence = number, ...options }: { sequence?: number; id?: number; header?: Uint8Array } = {},
): Step {
  return ({ endpoint, messages, sends }) =>
    sends.push(endpoint.am(frame(1, sequence, messages[number].metadata), { reply: true, ...options }));
}

/** Sends the body of a batch under its own or another tag, or other bytes in its place. */
export function body(number: number, options: { tag?: bigint; content?: Content } = {}): Step {
  const { tag = BigInt(number), content = (right: Uint8Array) => right } = options;
  return ({ endpoint, messages, sends }) => sends.push(endpoint.tag(tag, bytesOf(content, messages[number].body)));
}

/** Sends a batch's metadata and body; the sequence number and the tag may be others than the right ones. */
export function batch(
  number: number,
  { tag, ...options }: { sequence?: number; header?: Uint8Array; tag?: bigint } = {},
): Step {
  return (session) => {
    metadata(number, options)(session);
    body(number, { tag })(session);
  };
}

/** Sends the schema. */
export const schema: Step = metadata(0);

/** Sends the end of the stream. */
export const end = (sequence: number): Step => ({ endpoint, sends }) =>
  sends.push(endpoint.am(frame(0, sequence), { reply: true }));

/** Sends the whole stream. */
export const whole: Step = (session) => {
  schema(session);
  for (let number = 1; number < session.messages.length; number++) batch(number)(session);
  end(session.messages.length)(session);
};

/** Closes the connection in an orderly way. */
export const close: Step = async ({ worker, endpoint }) => {
  await endpoint.flush();
  await worker.idle(100);
  await endpoint.close();
};

/** Says nothing until the client closes the connection. */
export const silence: Step = ({ worker, endpoint }) => worker.until(() => endpoint.failure !== null, PATIENCE_MS);

/** Waits until everything was taken, or the client closes the connection. */
export const delivered: Step = ({ worker, endpoint, sends }) =>
  worker.until(() => endpoint.failure !== null || sends.every((send) => send.poll() !== 1), PATIENCE_MS);

/** Lets time pass. */
export const idle = (milliseconds: number): Step => ({ worker }) => worker.idle(milliseconds);

/** Is killed. */
export const die: Step = () => Deno.kill(Deno.pid, "SIGKILL");

/** Sends until the client closes the connection, at most `count` times. */
export function flood(count: number, send: (session: Session, number: number) => RawRequest): Step {
  return async (session) => {
    const { worker, endpoint } = session;
    const running: RawRequest[] = [];
    for (let number = 0; number < count && endpoint.failure === null; number++) {
      running.push(send(session, number));
      worker.progress();
      if (running.length >= 64) {
        await worker.until(() => running[0].poll() !== 1 || endpoint.failure !== null, PATIENCE_MS);
        running.shift();
      }
    }
  };
}

/** Takes the steps one after the other. */
export async function play(steps: readonly Step[], session: Omit<Session, "sends">): Promise<void> {
  const whole: Session = { ...session, sends: [] };
  for (const step of steps) await step(whole);
}

/** Waits for a request under {@linkcode WANTED}. */
export async function takeRequest(worker: RawWorker): Promise<RawReceive> {
  const request = worker.receive(WANTED, 0xFFFFFFFFFFFFFFFFn, 100_000);
  if (!await worker.until(() => request.poll() !== 1, PATIENCE_MS)) throw new Error("no request came");
  return request;
}

function bytesOf(content: Content, right: Uint8Array<ArrayBuffer> = new Uint8Array(0)): Uint8Array {
  return typeof content === "function" ? content(right) : content;
}
