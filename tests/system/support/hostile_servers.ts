/**
 * Servers that misbehave towards a client, over real UCX: each is a list of steps.
 *
 * @module
 */
import { frame, int64Messages, type RawMessage, withBodyLength } from "../../support/arrow_messages.ts";
import { randomBytes, utf8 } from "../../support/bytes.ts";
import {
  batch,
  body,
  close,
  delivered,
  die,
  each,
  end,
  flood,
  idle,
  message,
  metadata,
  raw,
  schema,
  silence,
  type Step,
  whole,
} from "./server_steps.ts";

/** A case: what it does, and what the client must make of it. */
export interface ServerCase {
  does: string;
  /** Exit codes or error codes of `dipc get` that are right; "whole" for success. */
  expect: readonly string[];
  /** Rows of each batch. Default 100. */
  rows?: number;
  /** Changes the messages before they are sent. */
  change?(messages: RawMessage[]): void;
  steps: readonly Step[];
}

const MiB = 2 ** 20;

const HEADER = randomBytes(40);

const TYPE_7 = frame(7, 1, randomBytes(1024));

/** An error message as the protocol extension says. */
const errorMessage = (sequence: number, code: string, text: string): Step =>
  message(255, sequence, () => utf8(JSON.stringify({ code, message: text })));

/** Sends bodies under random tags. */
function randomTags(count: number, bytes: number): Step {
  const tags = new BigUint64Array(1);
  let content: Uint8Array | undefined;
  return flood(count, ({ endpoint }) => {
    content ??= randomBytes(bytes);
    return endpoint.tag(crypto.getRandomValues(tags)[0], content);
  });
}

/** A case that sends the whole stream with the first batch's metadata changed. */
function changed(does: string, change: (metadata: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>): ServerCase {
  return {
    does,
    expect: ["invalid_data", "limit_exceeded", "protocol"],
    change: (messages) => void (messages[1] = { ...messages[1], metadata: change(messages[1].metadata) }),
    steps: [whole],
  };
}

const declared = (length: bigint, name: string): [string, ServerCase] => [
  `body length ${name}`,
  changed(`a batch that claims a body of ${name} bytes`, (bytes) => withBodyLength(bytes, length)),
];

/** Cases of order and number: what comes when, and under which number. */
const order: Record<string, ServerCase> = {
  "honest": { does: "what the protocol says (control)", expect: ["whole"], steps: [whole] },
  "honest, large": {
    does: "the same with bodies of 800,000 bytes (control)",
    expect: ["whole"],
    rows: 100_000,
    steps: [whole],
  },
  "reserved bits": {
    does: "tags with reserved bits set, which a receiver ignores",
    expect: ["whole"],
    steps: [schema, each([1, 2, 3], (n) => batch(n, { tag: BigInt(n) | 0x00ABCDEF_00000000n })), end(4)],
  },
  "bodies first": {
    does: "all bodies before any metadata, last one first",
    expect: ["whole"],
    steps: [each([3, 2, 1], body), schema, each([1, 2, 3], metadata), end(4)],
  },
  "metadata out of order": {
    does: "batches 2, 3, 1, then the end; each with its right number",
    expect: ["whole"],
    steps: [schema, batch(2), batch(3), batch(1), end(4)],
  },
  "gap in the numbers": {
    does: "batches 1 and 3, end with 4",
    expect: ["protocol", "connection_lost", "timeout"],
    steps: [schema, batch(1), batch(3), end(4), close],
  },
  "gap, connection kept": {
    does: "the same, and then silence",
    expect: ["protocol", "timeout"],
    steps: [schema, batch(1), batch(3), end(4), silence],
  },
  "duplicate metadata": {
    does: "batch 1 twice",
    expect: ["protocol"],
    steps: [schema, batch(1), batch(1), batch(2), end(3)],
  },
  "duplicate body": {
    does: "the body of batch 1 three times",
    expect: ["protocol", "whole"],
    steps: [schema, batch(1), body(1), body(1), batch(2), batch(3), end(4)],
  },
  "number far away": {
    does: "a batch with number 2³¹",
    expect: ["protocol"],
    steps: [schema, batch(1, { sequence: 2 ** 31, tag: 2n ** 31n }), end(2)],
  },
  "batch before the schema": {
    does: "batch metadata with number 0",
    expect: ["protocol", "invalid_data"],
    steps: [batch(1, { sequence: 0, tag: 0n }), end(1)],
  },
  "schema twice": {
    does: "the schema again as message 1",
    expect: ["protocol", "invalid_data"],
    steps: [schema, metadata(0, { sequence: 1 }), end(2)],
  },
  "schema number 1": {
    does: "a schema whose number is 1",
    expect: ["protocol", "timeout", "connection_lost"],
    steps: [metadata(0, { sequence: 1 }), end(2), close],
  },
  "no end of stream": {
    does: "all batches, then the connection is closed",
    expect: ["connection_lost"],
    steps: [schema, each([1, 2, 3], batch), close],
  },
  "no end of stream, connection kept": {
    does: "all batches, then silence",
    expect: ["timeout"],
    steps: [schema, each([1, 2, 3], batch), silence],
  },
  "end too early": {
    does: "two of three batches announced by the end, three sent",
    expect: ["protocol"],
    steps: [schema, each([1, 2, 3], batch), end(3)],
  },
  "end too late": {
    does: "the end's number promises one more batch",
    expect: ["protocol", "connection_lost", "timeout"],
    steps: [schema, each([1, 2, 3], batch), end(5), close],
  },
  "batches after the end": {
    does: "a batch after the end of stream",
    expect: ["protocol", "whole"],
    steps: [schema, batch(1), end(2), batch(2)],
  },
  "never answers": { does: "accepts, takes the request, and is silent", expect: ["timeout"], steps: [silence] },
  "closes instead of answering": {
    does: "closes the connection after the request",
    expect: ["connection_lost", "not_found"],
    steps: [close],
  },
};

/** Cases of bodies: missing, of another length or type. */
const bodies: Record<string, ServerCase> = {
  "missing body": {
    does: "no body for batch 2, end of stream, connection closed",
    expect: ["connection_lost", "protocol"],
    steps: [schema, batch(1), metadata(2), batch(3), end(4), close],
  },
  "missing body, connection kept": {
    does: "no body for batch 2, end of stream, then silence",
    expect: ["timeout"],
    steps: [schema, batch(1), metadata(2), batch(3), end(4), silence],
  },
  "body too short": {
    does: "a body of 8 bytes instead of all",
    expect: ["protocol", "invalid_data"],
    steps: [schema, metadata(1), body(1, { content: (right) => right.subarray(0, 8) }), batch(2), end(3)],
  },
  "body of no bytes": {
    does: "an empty body instead of 800 bytes",
    expect: ["protocol", "invalid_data"],
    steps: [schema, metadata(1), body(1, { content: new Uint8Array() }), end(2)],
  },
  "body too long": {
    does: "8 bytes more than the metadata says",
    expect: ["protocol", "invalid_data"],
    steps: [schema, metadata(1), body(1, { content: (right) => new Uint8Array(right.byteLength + 8) }), end(2)],
  },
  "body much too long": {
    does: "64 MiB although the metadata says 800 bytes",
    expect: ["protocol", "invalid_data"],
    steps: [schema, metadata(1), body(1, { content: () => new Uint8Array(64 * MiB) }), end(2), delivered],
  },
  "body too long, before its metadata": {
    does: "the long body arrives first",
    expect: ["protocol", "invalid_data"],
    steps: [body(1, { content: new Uint8Array(100_000) }), idle(200), schema, metadata(1), end(2)],
  },
  "unknown body type": {
    does: "a body of type 9",
    expect: ["protocol", "unsupported"],
    steps: [schema, batch(1, { tag: 1n | 9n << 56n }), end(2)],
  },
  "body of addresses": {
    does: "a body of type 1, which the client has not agreed to",
    expect: ["protocol", "unsupported"],
    steps: [
      schema,
      metadata(1),
      body(1, {
        tag: 1n | 1n << 56n,
        content: new Uint8Array(new BigUint64Array([800n, 1n, 0x7fff_0000_0000n, 800n]).buffer),
      }),
      end(2),
    ],
  },
  ...Object.fromEntries([
    declared(-1n, "−1"),
    declared(2n ** 31n, "2³¹"),
    declared(2n ** 40n, "2⁴⁰"),
    declared(2n ** 53n, "2⁵³"),
    declared(2n ** 63n - 1n, "2⁶³ − 1"),
  ]),
};

/** Cases of metadata messages that are malformed, too large or not what they say. */
const malformed: Record<string, ServerCase> = {
  "end with content": {
    does: "an end of stream of 1,000 bytes",
    expect: ["protocol"],
    steps: [schema, message(0, 1, randomBytes(1000))],
  },
  "half a prefix": {
    does: "a metadata message of 3 bytes",
    expect: ["protocol"],
    steps: [schema, raw(new Uint8Array([1, 1, 0])), end(1)],
  },
  "empty message": {
    does: "a metadata message of no bytes",
    expect: ["protocol"],
    steps: [schema, raw(new Uint8Array()), end(1)],
  },
  "prefix alone": {
    does: "a metadata message without metadata",
    expect: ["protocol", "invalid_data"],
    steps: [schema, message(1, 1), end(2)],
  },
  "unknown message type": {
    does: "a message of type 7",
    expect: ["protocol"],
    steps: [schema, message(7, 1, randomBytes(100)), end(2)],
  },
  "random metadata": {
    does: "metadata of 400 random bytes",
    expect: ["invalid_data", "limit_exceeded", "unsupported"],
    steps: [schema, message(1, 1, randomBytes(400)), end(2)],
  },
  "half the metadata": changed("metadata cut in half", (bytes) => bytes.slice(0, bytes.byteLength / 2)),
  "huge metadata": {
    does: "metadata of 64 MiB",
    expect: ["limit_exceeded"],
    steps: [schema, message(1, 1, () => new Uint8Array(64 * MiB)), delivered, silence],
  },
  "huge schema": {
    does: "a schema of 64 MiB",
    expect: ["limit_exceeded"],
    steps: [message(1, 0, () => new Uint8Array(64 * MiB)), delivered, silence],
  },
  "error message": {
    does: "an error message as the protocol extension says, with escape sequences for terminals",
    expect: ["busy"],
    steps: [errorMessage(0, "busy", "no \u001b[31m room")],
  },
  "error message in the middle": {
    does: "the same after one batch",
    expect: ["io"],
    steps: [schema, batch(1), errorMessage(2, "io", "disk gone")],
  },
  "error message that is none": {
    does: "an error message with random content",
    expect: ["protocol"],
    steps: [message(255, 0, randomBytes(300))],
  },
  "huge error message": {
    does: "an error message of 8 MiB",
    expect: ["protocol", "limit_exceeded"],
    steps: [errorMessage(0, "io", "x".repeat(8 * MiB)), delivered],
  },
  "other active message id": {
    does: "the schema under active message id 5, then silence",
    expect: ["timeout", "protocol"],
    steps: [metadata(0, { id: 5 }), silence],
  },
  "active message with a header": {
    does: "each message with 40 bytes of header, which the protocol leaves empty",
    expect: ["protocol", "whole"],
    steps: [metadata(0, { header: HEADER }), each([1, 2, 3], (n) => batch(n, { header: HEADER })), end(4)],
  },
};

/** Cases of floods. */
const floods: Record<string, ServerCase> = {
  "endless metadata without bodies": {
    does: "200,000 batches' metadata and never a body",
    expect: ["timeout", "protocol", "limit_exceeded", "connection_lost"],
    steps: [
      schema,
      flood(200_000, ({ endpoint, messages }, n) => endpoint.am(frame(1, n + 1, messages[1].metadata))),
      silence,
    ],
  },
  "endless active messages": {
    does: "50,000 messages of type 7 and 1 KiB",
    expect: ["protocol"],
    steps: [schema, flood(50_000, ({ endpoint }) => endpoint.am(TYPE_7))],
  },
  "flood of random tags": {
    does: "50,000 bodies of 1 KiB under random tags",
    expect: ["protocol", "limit_exceeded"],
    steps: [schema, randomTags(50_000, 1024), silence],
  },
  "flood of large random tags": {
    does: "500 bodies of 1 MiB under random tags",
    expect: ["protocol", "limit_exceeded"],
    steps: [schema, randomTags(500, MiB), silence],
  },
};

/** A case that is killed after some steps. */
const dies = (after: string, ...steps: Step[]): [string, ServerCase] => [
  `dies: ${after}`,
  {
    does: `is killed after it has sent: ${after}`,
    expect: ["connection_lost"],
    rows: 100_000,
    steps: [...steps, idle(300), die],
  },
];

/** All cases by name. */
export const serverCases: Record<string, ServerCase> = {
  ...order,
  ...bodies,
  ...malformed,
  ...floods,
  ...Object.fromEntries([
    dies("schema", schema),
    dies("first metadata", schema, metadata(1)),
    dies("first body", schema, metadata(1), body(1)),
    dies("second metadata", schema, metadata(1), body(1), metadata(2)),
  ]),
};

/** The messages of a case: 3 batches. */
export function messagesOf({ rows = 100, change }: ServerCase): RawMessage[] {
  const messages = int64Messages(3, rows);
  change?.(messages);
  return messages;
}
