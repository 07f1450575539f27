/**
 * Servers that misbehave towards a client, over real UCX.
 *
 * @module
 */
import { randomBytes, utf8 } from "../../support/bytes.ts";
import { frame, int64Messages, type RawMessage, withBodyLength } from "../../support/arrow_messages.ts";
import type { RawEndpoint, RawReceive, RawWorker } from "./raw_ucx.ts";

/** Tag under which these servers await requests. */
export const WANTED = 0xFFFFFDEADBA0BAB0n;

/** One connection of a client that has asked. */
export interface Session {
  worker: RawWorker;
  endpoint: RawEndpoint;
  /** The request as it came. */
  request: Uint8Array;
  /** Schema and batches. */
  messages: RawMessage[];
}

/** A case: what it does, and what the client must make of it. */
export interface ServerCase {
  does: string;
  /** Exit codes or error codes of `dipc get` that are right; "whole" for success. */
  expect: readonly string[];
  /** Batches and rows of the dataset. Default 3 of 100. */
  batches?: number;
  rows?: number;
  run(session: Session): Promise<void>;
}

/** Sends the schema. */
function schema({ endpoint, messages }: Session): void {
  endpoint.am(frame(1, 0, messages[0].metadata), { reply: true });
}

/** Sends a batch's metadata and body; the sequence number and tag may be others than the right ones. */
function batch(session: Session, number: number, options: { sequence?: number; tag?: bigint } = {}): void {
  metadata(session, number, options.sequence);
  body(session, number, options.tag);
}

function metadata({ endpoint, messages }: Session, number: number, sequence = number): void {
  endpoint.am(frame(1, sequence, messages[number].metadata), { reply: true });
}

function body({ endpoint, messages }: Session, number: number, tag = BigInt(number)): void {
  endpoint.tag(tag, messages[number].body);
}

function end({ endpoint }: Session, sequence: number): void {
  endpoint.am(frame(0, sequence), { reply: true });
}

function all(session: Session): void {
  schema(session);
  for (let number = 1; number < session.messages.length; number++) batch(session, number);
  end(session, session.messages.length);
}

/** Closes the connection in an orderly way. */
async function close({ worker, endpoint }: Session): Promise<void> {
  await endpoint.flush();
  await worker.idle(100);
  await endpoint.close();
}

/** Sends until the client closes the connection, at most `count` times. */
async function flood(session: Session, count: number, send: (number: number) => { poll(): number }): Promise<void> {
  const running: { poll(): number }[] = [];
  for (let number = 0; number < count && session.endpoint.failure === null; number++) {
    running.push(send(number));
    session.worker.progress();
    if (running.length >= 64) {
      await session.worker.until(() => running[0].poll() !== 1 || session.endpoint.failure !== null, 10_000);
      running.shift();
    }
  }
}

/** A case that sends the whole stream with the first batch's metadata changed. */
function changed(does: string, change: (metadata: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>): ServerCase {
  return {
    does,
    expect: ["invalid_data", "limit_exceeded", "protocol"],
    run(session) {
      session.messages[1] = { ...session.messages[1], metadata: change(session.messages[1].metadata) };
      all(session);
      return Promise.resolve();
    },
  };
}

const declared = (length: bigint, name: string): [string, ServerCase] => [
  `body length ${name}`,
  changed(`a batch that claims a body of ${name} bytes`, (bytes) => withBodyLength(bytes, length)),
];

/** All cases by name. */
export const serverCases: Record<string, ServerCase> = {
  "honest": {
    does: "what the protocol says (control)",
    expect: ["whole"],
    run: (session) => Promise.resolve(all(session)),
  },
  "honest, large": {
    does: "the same with bodies of 800,000 bytes (control)",
    expect: ["whole"],
    rows: 100_000,
    run: (session) => Promise.resolve(all(session)),
  },
  "reserved bits": {
    does: "tags with reserved bits set, which a receiver ignores",
    expect: ["whole"],
    run(session) {
      schema(session);
      for (let n = 1; n <= 3; n++) batch(session, n, { tag: BigInt(n) | 0x00ABCDEF_00000000n });
      return Promise.resolve(end(session, 4));
    },
  },
  "bodies first": {
    does: "all bodies before any metadata, last one first",
    expect: ["whole"],
    run(session) {
      for (let n = 3; n >= 1; n--) body(session, n);
      schema(session);
      for (let n = 1; n <= 3; n++) metadata(session, n);
      return Promise.resolve(end(session, 4));
    },
  },
  "metadata out of order": {
    does: "batches 2, 3, 1, then the end; each with its right number",
    expect: ["whole"],
    run(session) {
      schema(session);
      for (const n of [2, 3, 1]) batch(session, n);
      return Promise.resolve(end(session, 4));
    },
  },
  "gap in the numbers": {
    does: "batches 1 and 3, end with 4",
    expect: ["protocol", "connection_lost", "timeout"],
    async run(session) {
      schema(session);
      batch(session, 1);
      batch(session, 3);
      end(session, 4);
      await close(session);
    },
  },
  "gap, connection kept": {
    does: "the same, and then silence",
    expect: ["protocol", "timeout"],
    async run(session) {
      schema(session);
      batch(session, 1);
      batch(session, 3);
      end(session, 4);
      await session.worker.until(() => session.endpoint.failure !== null, 10_000);
    },
  },
  "duplicate metadata": {
    does: "batch 1 twice",
    expect: ["protocol"],
    run(session) {
      schema(session);
      batch(session, 1);
      batch(session, 1);
      batch(session, 2);
      return Promise.resolve(end(session, 3));
    },
  },
  "duplicate body": {
    does: "the body of batch 1 three times",
    expect: ["protocol", "whole"],
    run(session) {
      schema(session);
      batch(session, 1);
      body(session, 1);
      body(session, 1);
      batch(session, 2);
      batch(session, 3);
      return Promise.resolve(end(session, 4));
    },
  },
  "number far away": {
    does: "a batch with number 2³¹",
    expect: ["protocol"],
    run(session) {
      schema(session);
      batch(session, 1, { sequence: 2 ** 31, tag: 2n ** 31n });
      return Promise.resolve(end(session, 2));
    },
  },
  "batch before the schema": {
    does: "batch metadata with number 0",
    expect: ["protocol", "invalid_data"],
    run(session) {
      batch(session, 1, { sequence: 0, tag: 0n });
      return Promise.resolve(end(session, 1));
    },
  },
  "schema twice": {
    does: "the schema again as message 1",
    expect: ["protocol", "invalid_data"],
    run(session) {
      schema(session);
      session.endpoint.am(frame(1, 1, session.messages[0].metadata));
      return Promise.resolve(end(session, 2));
    },
  },
  "schema number 1": {
    does: "a schema whose number is 1",
    expect: ["protocol", "timeout", "connection_lost"],
    async run(session) {
      session.endpoint.am(frame(1, 1, session.messages[0].metadata));
      end(session, 2);
      await close(session);
    },
  },
  "missing body": {
    does: "no body for batch 2, end of stream, connection closed",
    expect: ["connection_lost", "protocol"],
    async run(session) {
      schema(session);
      batch(session, 1);
      metadata(session, 2);
      batch(session, 3);
      end(session, 4);
      await close(session);
    },
  },
  "missing body, connection kept": {
    does: "no body for batch 2, end of stream, then silence",
    expect: ["timeout"],
    async run(session) {
      schema(session);
      batch(session, 1);
      metadata(session, 2);
      batch(session, 3);
      end(session, 4);
      await session.worker.until(() => session.endpoint.failure !== null, 10_000);
    },
  },
  "body too short": {
    does: "a body of 8 bytes instead of all",
    expect: ["protocol", "invalid_data"],
    run(session) {
      schema(session);
      metadata(session, 1);
      session.endpoint.tag(1n, session.messages[1].body.subarray(0, 8));
      batch(session, 2);
      return Promise.resolve(end(session, 3));
    },
  },
  "body of no bytes": {
    does: "an empty body instead of 800 bytes",
    expect: ["protocol", "invalid_data"],
    run(session) {
      schema(session);
      metadata(session, 1);
      session.endpoint.tag(1n, new Uint8Array());
      return Promise.resolve(end(session, 2));
    },
  },
  "body too long": {
    does: "8 bytes more than the metadata says",
    expect: ["protocol", "invalid_data"],
    run(session) {
      schema(session);
      metadata(session, 1);
      session.endpoint.tag(1n, new Uint8Array(session.messages[1].body.byteLength + 8));
      return Promise.resolve(end(session, 2));
    },
  },
  "body much too long": {
    does: "64 MiB where the metadata says 800 bytes",
    expect: ["protocol", "invalid_data"],
    async run(session) {
      schema(session);
      metadata(session, 1);
      const send = session.endpoint.tag(1n, new Uint8Array(64 * 2 ** 20));
      end(session, 2);
      await session.worker.until(() => send.poll() !== 1 || session.endpoint.failure !== null, 10_000);
    },
  },
  "body too long, before its metadata": {
    does: "the long body arrives first",
    expect: ["protocol", "invalid_data"],
    async run(session) {
      session.endpoint.tag(1n, new Uint8Array(100_000));
      await session.worker.idle(200);
      schema(session);
      metadata(session, 1);
      end(session, 2);
    },
  },
  "no end of stream": {
    does: "all batches, then the connection is closed",
    expect: ["connection_lost"],
    async run(session) {
      schema(session);
      for (let n = 1; n <= 3; n++) batch(session, n);
      await close(session);
    },
  },
  "no end of stream, connection kept": {
    does: "all batches, then silence",
    expect: ["timeout"],
    async run(session) {
      schema(session);
      for (let n = 1; n <= 3; n++) batch(session, n);
      await session.worker.until(() => session.endpoint.failure !== null, 10_000);
    },
  },
  "end too early": {
    does: "two of three batches announced by the end, three sent",
    expect: ["protocol"],
    run(session) {
      schema(session);
      for (let n = 1; n <= 3; n++) batch(session, n);
      return Promise.resolve(end(session, 3));
    },
  },
  "end too late": {
    does: "the end's number promises one more batch",
    expect: ["protocol", "connection_lost", "timeout"],
    async run(session) {
      schema(session);
      for (let n = 1; n <= 3; n++) batch(session, n);
      end(session, 5);
      await close(session);
    },
  },
  "batches after the end": {
    does: "a batch after the end of stream",
    expect: ["protocol", "whole"],
    run(session) {
      schema(session);
      batch(session, 1);
      end(session, 2);
      return Promise.resolve(batch(session, 2));
    },
  },
  "end with content": {
    does: "an end of stream of 1,000 bytes",
    expect: ["protocol"],
    run(session) {
      schema(session);
      session.endpoint.am(frame(0, 1, randomBytes(1000)));
      return Promise.resolve();
    },
  },
  "half a prefix": {
    does: "a metadata message of 3 bytes",
    expect: ["protocol"],
    run(session) {
      schema(session);
      session.endpoint.am(new Uint8Array([1, 1, 0]));
      return Promise.resolve(end(session, 1));
    },
  },
  "empty message": {
    does: "a metadata message of no bytes",
    expect: ["protocol"],
    run(session) {
      schema(session);
      session.endpoint.am(new Uint8Array());
      return Promise.resolve(end(session, 1));
    },
  },
  "prefix alone": {
    does: "a metadata message without metadata",
    expect: ["protocol", "invalid_data"],
    run(session) {
      schema(session);
      session.endpoint.am(frame(1, 1));
      return Promise.resolve(end(session, 2));
    },
  },
  "unknown message type": {
    does: "a message of type 7",
    expect: ["protocol"],
    run(session) {
      schema(session);
      session.endpoint.am(frame(7, 1, randomBytes(100)));
      return Promise.resolve(end(session, 2));
    },
  },
  "unknown body type": {
    does: "a body of type 9",
    expect: ["protocol", "unsupported"],
    run(session) {
      schema(session);
      batch(session, 1, { tag: 1n | 9n << 56n });
      return Promise.resolve(end(session, 2));
    },
  },
  "body of addresses": {
    does: "a body of type 1, which the client has not agreed to",
    expect: ["protocol", "unsupported"],
    run(session) {
      schema(session);
      metadata(session, 1);
      const list = new BigUint64Array([800n, 1n, 0x7fff_0000_0000n, 800n]);
      session.endpoint.tag(1n | 1n << 56n, new Uint8Array(list.buffer));
      return Promise.resolve(end(session, 2));
    },
  },
  "random metadata": {
    does: "metadata of 400 random bytes",
    expect: ["invalid_data", "limit_exceeded", "unsupported"],
    run(session) {
      schema(session);
      session.endpoint.am(frame(1, 1, randomBytes(400)));
      return Promise.resolve(end(session, 2));
    },
  },
  "half the metadata": changed("metadata cut in half", (bytes) => bytes.slice(0, bytes.byteLength / 2)),
  ...Object.fromEntries([
    declared(-1n, "−1"),
    declared(2n ** 31n, "2³¹"),
    declared(2n ** 40n, "2⁴⁰"),
    declared(2n ** 53n, "2⁵³"),
    declared(2n ** 63n - 1n, "2⁶³ − 1"),
  ]),
  "huge metadata": {
    does: "metadata of 64 MiB",
    expect: ["limit_exceeded"],
    async run(session) {
      schema(session);
      const send = session.endpoint.am(frame(1, 1, new Uint8Array(64 * 2 ** 20)));
      await session.worker.until(() => send.poll() !== 1 || session.endpoint.failure !== null, 10_000);
      await session.worker.until(() => session.endpoint.failure !== null, 5000);
    },
  },
  "huge schema": {
    does: "a schema of 64 MiB",
    expect: ["limit_exceeded"],
    async run(session) {
      const send = session.endpoint.am(frame(1, 0, new Uint8Array(64 * 2 ** 20)));
      await session.worker.until(() => send.poll() !== 1 || session.endpoint.failure !== null, 10_000);
      await session.worker.until(() => session.endpoint.failure !== null, 5000);
    },
  },
  "endless metadata without bodies": {
    does: "200,000 batches' metadata and never a body",
    expect: ["timeout", "protocol", "limit_exceeded", "connection_lost"],
    async run(session) {
      schema(session);
      await flood(session, 200_000, (n) => session.endpoint.am(frame(1, n + 1, session.messages[1].metadata)));
      await session.worker.until(() => session.endpoint.failure !== null, 10_000);
    },
  },
  "endless active messages": {
    does: "50,000 messages of type 7 and 1 KiB",
    expect: ["protocol"],
    async run(session) {
      schema(session);
      const bytes = frame(7, 1, randomBytes(1024));
      await flood(session, 50_000, () => session.endpoint.am(bytes));
    },
  },
  "flood of random tags": {
    does: "50,000 bodies of 1 KiB under random tags",
    expect: ["protocol", "limit_exceeded"],
    async run(session) {
      schema(session);
      const content = randomBytes(1024);
      const tags = new BigUint64Array(1);
      await flood(session, 50_000, () => session.endpoint.tag(crypto.getRandomValues(tags)[0], content));
      await session.worker.until(() => session.endpoint.failure !== null, 10_000);
    },
  },
  "flood of large random tags": {
    does: "500 bodies of 1 MiB under random tags",
    expect: ["protocol", "limit_exceeded"],
    async run(session) {
      schema(session);
      const content = randomBytes(2 ** 20);
      const tags = new BigUint64Array(1);
      await flood(session, 500, () => session.endpoint.tag(crypto.getRandomValues(tags)[0], content));
      await session.worker.until(() => session.endpoint.failure !== null, 10_000);
    },
  },
  "error message": {
    does: "an error message as the protocol extension says, with escape sequences for terminals",
    expect: ["busy"],
    run(session) {
      session.endpoint.am(frame(255, 0, utf8(JSON.stringify({ code: "busy", message: "no \u001b[31m room" }))));
      return Promise.resolve();
    },
  },
  "error message in the middle": {
    does: "the same after one batch",
    expect: ["io"],
    run(session) {
      schema(session);
      batch(session, 1);
      session.endpoint.am(frame(255, 2, utf8(JSON.stringify({ code: "io", message: "disk gone" }))));
      return Promise.resolve();
    },
  },
  "error message that is none": {
    does: "an error message with random content",
    expect: ["protocol"],
    run(session) {
      session.endpoint.am(frame(255, 0, randomBytes(300)));
      return Promise.resolve();
    },
  },
  "huge error message": {
    does: "an error message of 8 MiB",
    expect: ["protocol", "limit_exceeded"],
    async run(session) {
      const content = utf8(JSON.stringify({ code: "io", message: "x".repeat(8 * 2 ** 20) }));
      const send = session.endpoint.am(frame(255, 0, content));
      await session.worker.until(() => send.poll() !== 1 || session.endpoint.failure !== null, 10_000);
    },
  },
  "other active message id": {
    does: "the schema under active message id 5, then silence",
    expect: ["timeout", "protocol"],
    async run(session) {
      session.endpoint.am(frame(1, 0, session.messages[0].metadata), { id: 5 });
      await session.worker.until(() => session.endpoint.failure !== null, 10_000);
    },
  },
  "active message with a header": {
    does: "each message with 40 bytes of header, which the protocol leaves empty",
    expect: ["protocol", "whole"],
    run(session) {
      const header = randomBytes(40);
      session.messages.forEach((message, n) => {
        session.endpoint.am(frame(1, n, message.metadata), { header });
        if (n > 0) body(session, n);
      });
      return Promise.resolve(end(session, 4));
    },
  },
  "never answers": {
    does: "accepts, takes the request, and is silent",
    expect: ["timeout"],
    async run(session) {
      await session.worker.until(() => session.endpoint.failure !== null, 10_000);
    },
  },
  "closes instead of answering": {
    does: "closes the connection after the request",
    expect: ["connection_lost", "not_found"],
    run: close,
  },
};

for (const step of ["schema", "first metadata", "first body", "second metadata"]) {
  serverCases[`dies: ${step}`] = {
    does: `is killed after it has sent: ${step}`,
    expect: ["connection_lost"],
    rows: 100_000,
    async run(session) {
      schema(session);
      if (step !== "schema") metadata(session, 1);
      if (step !== "schema" && step !== "first metadata") body(session, 1);
      if (step === "second metadata") metadata(session, 2);
      await session.worker.idle(300);
      Deno.kill(Deno.pid, "SIGKILL");
    },
  };
}

/** Waits for a request under {@linkcode WANTED}. */
export async function takeRequest(worker: RawWorker): Promise<RawReceive> {
  const request = worker.receive(WANTED, 0xFFFFFFFFFFFFFFFFn, 100_000);
  if (!await worker.until(() => request.poll() !== 1, 10_000)) throw new Error("no request came");
  return request;
}

/** The messages of a case. */
export function messagesOf(serverCase: ServerCase): RawMessage[] {
  return int64Messages(serverCase.batches ?? 3, serverCase.rows ?? 100);
}
