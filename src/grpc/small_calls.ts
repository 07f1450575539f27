/**
 * The calls that carry no Arrow data: protobuf messages in and out.
 *
 * @module
 */
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { LocalError } from "../errors.ts";
import type { GrpcCall } from "./client_call.ts";

/** Longest run of answers without a turn for timers and signals, in milliseconds. */
const TURN_MS = 5;

/** A method of the service, as described by its stub. */
export interface Method<In extends DescMessage, Out extends DescMessage> {
  /** Name of the method, such as `"GetFlightInfo"`. */
  readonly name: string;
  readonly input: In;
  readonly output: Out;
}

/** Starts a call whose messages are bytes; `Options` are up to the caller. */
export type StartCall<Options> = (
  method: string,
  call: Options,
  isUnary: boolean,
) => Promise<GrpcCall<Uint8Array<ArrayBuffer>>>;

/**
 * Makes a call that has one answer.
 *
 * @param start Starts the call
 * @param method Name and types of the method
 * @param request The request's message
 * @param call Options for `start`
 * @param peer Name of the server in error messages
 */
export async function callOnce<In extends DescMessage, Out extends DescMessage, Options>(
  start: StartCall<Options>,
  method: Method<In, Out>,
  request: MessageInitShape<In>,
  call: Options,
  peer: string,
): Promise<MessageShape<Out>> {
  const running = await start(method.name, call, true);
  try {
    // A request that the server refuses before it was sent whole fails with the answer.
    send(running, method.input, request)?.catch(() => {});
    running.output.end();
    const answer = await running.next();
    if (answer === null) {
      throw new LocalError(
        "protocol",
        `cannot complete ${method.name} at ${peer}: the server sent no answer, expected one`,
      );
    }
    if (await running.next() !== null) {
      throw new LocalError(
        "protocol",
        `cannot complete ${method.name} at ${peer}: the server sent several answers, expected one`,
      );
    }
    return decode(method, answer, peer);
  } finally {
    running.cancel();
  }
}

/**
 * Makes a call that has any number of answers. Leaving the loop early cancels it.
 *
 * @param start Starts the call
 * @param method Name and types of the method
 * @param requests The request's messages in order
 * @param call Options for `start`
 * @param peer Name of the server in error messages
 */
export async function* callMany<In extends DescMessage, Out extends DescMessage, Options>(
  start: StartCall<Options>,
  method: Method<In, Out>,
  requests: Iterable<MessageInitShape<In>> | AsyncIterable<MessageInitShape<In>>,
  call: Options,
  peer: string,
): AsyncGenerator<MessageShape<Out>, undefined> {
  const running = await start(method.name, call, false);
  try {
    // A request may wait for an answer, as in a handshake; an error of the requests fails the call.
    sendAll(running, method.input, requests).catch((error) => running.cancel(error));
    let turnMs = performance.now();
    for (let answer; (answer = await running.next()) !== null;) {
      // Answers that have already arrived must not starve timers, deadlines and signals.
      if (performance.now() - turnMs >= TURN_MS) {
        await new Promise<void>((resolve) => setImmediate(resolve));
        turnMs = performance.now();
      }
      yield decode(method, answer, peer);
    }
  } finally {
    running.leave();
  }
}

async function sendAll<In extends DescMessage>(
  running: GrpcCall<Uint8Array<ArrayBuffer>>,
  schema: In,
  requests: Iterable<MessageInitShape<In>> | AsyncIterable<MessageInitShape<In>>,
): Promise<void> {
  for await (const request of requests) {
    if (running.isOver) return;
    await send(running, schema, request);
  }
  running.output.end();
}

function send<In extends DescMessage>(
  running: GrpcCall<Uint8Array<ArrayBuffer>>,
  schema: In,
  request: MessageInitShape<In>,
): void | Promise<void> {
  return running.output.message(toBinary(schema, create(schema, request)));
}

function decode<Out extends DescMessage>(
  { name, output }: Pick<Method<DescMessage, Out>, "name" | "output">,
  answer: Uint8Array,
  peer: string,
): MessageShape<Out> {
  try {
    return fromBinary(output, answer);
  } catch (error) {
    throw new LocalError("protocol", `cannot decode an answer of ${name} at ${peer}: it is malformed`, {
      cause: error,
    });
  }
}
