/**
 * Every rule of the receiving state machine, one by one.
 *
 * @module
 */
import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { DipcError, type DipcErrorCode } from "../../src/errors.ts";
import { encodeError } from "../../src/protocol/envelope.ts";
import { encodeFrame, END_OF_STREAM, ERROR_MESSAGE, METADATA } from "../../src/protocol/prefix.ts";
import { DISCARD, KEEP, type ReceiverOptions, type ReceiverSlot, ReceiverState } from "../../src/protocol/receiver.ts";
import { encodeTag } from "../../src/protocol/tag.ts";
import { assertDipcError } from "../support/assert.ts";
import { readTestHeader, testFrame } from "../support/protocol_headers.ts";

type State = ReceiverState<string>;
const receiver = (options: Partial<ReceiverOptions> = {}): State =>
  new ReceiverState<string>({ readHeader: readTestHeader, ...options });
const end = (sequence: number) => encodeFrame(END_OF_STREAM, sequence);
/** A state that has taken the schema and these messages, numbered from 1. */
function announced(messages: string[], options: Partial<ReceiverOptions> = {}): State {
  const state = receiver(options);
  state.onFrame(testFrame(0, "S0"));
  messages.forEach((text, i) => state.onFrame(testFrame(i + 1, text)));
  return state;
}
const tags = (state: State): (bigint | null)[] => {
  const found = [];
  for (let slot; (slot = state.nextToPost()) !== null;) found.push(slot.tag);
  return found;
};
const taken = (state: State): number[] => {
  const found = [];
  for (let slot; (slot = state.next()) !== null;) found.push(slot.sequence);
  return found;
};
/** Expects an error that ends the stream and stays. */
function fails(state: State, code: DipcErrorCode, text: string, call: () => unknown): void {
  const error = assertDipcError(code, text, call);
  assertStrictEquals(state.failure, error);
  assertStrictEquals(assertThrows(() => state.onFrame(end(1))), error, "the stream stays lost");
  assertStrictEquals(assertThrows(() => state.checkUnexpected(1n, 0)), error, "the stream stays lost");
}

Deno.test("a stream of a schema, a dictionary and batches arrives in order", () => {
  const state = receiver();
  assertEquals(state.finished, false);
  state.onFrame(testFrame(0, "S0"));
  assertEquals(state.nextToPost(), null, "a schema has no body");
  assertEquals(state.next()!.header!.kind, "schema");
  assertEquals(state.batches, 0);
  state.onFrame(testFrame(1, "D16"));
  state.onFrame(testFrame(2, "B64"));
  assertEquals(state.next(), null);
  const first = state.nextToPost()!;
  assertEquals([first.sequence, first.tag, first.byteLength], [1, 1n, 16]);
  first.attachment = "first";
  const second = state.nextToPost()!;
  assertEquals([second.sequence, second.tag, second.byteLength], [2, 2n, 64]);
  assertEquals(state.nextToPost(), null);
  assertEquals([state.posted, state.inFlightBytes], [2, 80]);
  state.onBody(second, 2n, 64);
  assertEquals(state.next(), null, "the second waits for the first");
  assertStrictEquals(state.oldestPosted(), first);
  state.onBody(first, 1n, 16);
  assertEquals(state.oldestPosted(), null);
  const slot = state.next()!;
  assertEquals([slot.sequence, slot.header!.kind, slot.attachment], [1, "dictionary", "first"]);
  state.onFrame(end(3));
  assertEquals([state.ended, state.finished], [true, false]);
  assertEquals(state.next()!.sequence, 2);
  assertEquals(state.finished, true);
  assertEquals(state.next(), null);
  assertEquals([state.batches, state.metadataBytes], [1, 2 + 3 + 3]);
  assertEquals([state.delivered, state.announced, state.posted, state.inFlightBytes], [3, 3, 0, 0]);
  assertEquals(state.describe(), "the stream is complete");
});

Deno.test("a stream of a schema alone is whole", () => {
  const state = announced([]);
  state.onFrame(end(1));
  assertEquals(state.finished, false);
  assertEquals(taken(state), [0]);
  assertEquals(state.finished, true);
});

Deno.test("metadata that arrives out of order is read and given in order", () => {
  const read: string[] = [];
  const state = receiver({
    readHeader(metadata) {
      read.push(new TextDecoder().decode(metadata));
      return readTestHeader(metadata);
    },
  });
  const shared = testFrame(3, "B3");
  state.onFrame(shared);
  shared.fill(0xDD); // the channel uses its memory again
  state.onFrame(testFrame(1, "D1"));
  assertEquals(read, []);
  state.onFrame(testFrame(0, "S0"));
  assertEquals(read, ["S0", "D1"]);
  state.onFrame(testFrame(4, "B4"));
  state.onFrame(testFrame(2, "B2"));
  assertEquals(read, ["S0", "D1", "B2", "B3", "B4"]);
  assertEquals(tags(state), [1n, 2n, 3n, 4n]);
});

Deno.test("an end of stream may overtake metadata", () => {
  const state = announced([]);
  state.onFrame(end(3));
  assertEquals(taken(state), [0]);
  assertEquals(state.finished, false);
  state.onFrame(testFrame(2, "B0"));
  state.onFrame(testFrame(1, "B0"));
  assertEquals(taken(state), [1, 2]);
  assertEquals(state.finished, true);
});

Deno.test("sequence numbers wrap in the middle of a stream", () => {
  const state = receiver({ firstSequence: 0xFFFFFFFE });
  state.onFrame(testFrame(0xFFFFFFFE, "S0"));
  state.onFrame(testFrame(0, "B4")); // two ahead
  state.onFrame(testFrame(0xFFFFFFFF, "B4"));
  state.onFrame(testFrame(1, "B4"));
  assertEquals(tags(state), [0xFFFFFFFFn, 0n, 1n]);
  assertEquals(state.checkUnexpected(2n, 4), KEEP);
  for (let slot; (slot = state.oldestPosted()) !== null;) state.onBody(slot, slot.tag, 4);
  assertEquals(taken(state), [0xFFFFFFFE, 0xFFFFFFFF, 0, 1]);
  state.onFrame(end(2));
  assertEquals(state.finished, true);
});

Deno.test("the window of slots is used again many times over", () => {
  const state = receiver({ maxAnnounced: 3, reorderWindow: 2, firstSequence: 0xFFFFFF00 });
  let sequence = 0xFFFFFF00;
  state.onFrame(testFrame(sequence, "S0"));
  assertEquals(state.next()!.sequence, sequence);
  for (let i = 0; i < 1000; i += 2) {
    const one = (sequence + 1) >>> 0, two = (sequence + 2) >>> 0;
    state.onFrame(testFrame(two, "B2"));
    state.onFrame(testFrame(one, "B1"));
    assertEquals(tags(state), [BigInt(one), BigInt(two)]);
    for (let slot; (slot = state.oldestPosted()) !== null;) state.onBody(slot, slot.tag, slot.byteLength);
    assertEquals(taken(state), [one, two]);
    sequence = two;
  }
  state.onFrame(end((sequence + 1) >>> 0));
  assertEquals([state.finished, state.batches, state.inFlightBytes], [true, 1000, 0]);
});

Deno.test("a frame shorter than a prefix is refused", () => {
  for (let size = 0; size < 5; size++) {
    const state = receiver();
    fails(
      state,
      "protocol",
      `at least 5 bytes, found ${size}`,
      () => state.onFrame(testFrame(0, "S0").subarray(0, size)),
    );
  }
});

Deno.test("an unknown message type is refused by its number", () => {
  for (const type of [2, 3, 127, 254]) {
    const state = announced(["B1"]);
    fails(state, "protocol", `type ${type} with sequence number 2`, () => state.onFrame(encodeFrame(type, 2)));
  }
});

Deno.test("metadata without bytes, or with too many, is refused", () => {
  const empty = receiver();
  fails(empty, "protocol", "metadata of sequence number 0 is empty", () => empty.onFrame(encodeFrame(METADATA, 0)));
  const state = receiver({ maxMetadataBytes: 4 });
  state.onFrame(testFrame(0, "S0"));
  state.onFrame(testFrame(1, "B123"));
  fails(
    state,
    "limit_exceeded",
    "sequence number 2 has 5 bytes, the limit is 4 (maxMetadataBytes)",
    () => state.onFrame(testFrame(2, "B1234")),
  );
});

Deno.test("the first message is a schema, and no other is", () => {
  const batch = receiver();
  fails(
    batch,
    "protocol",
    "expected the schema with sequence number 0, found a batch",
    () => batch.onFrame(testFrame(0, "B0")),
  );
  const second = announced(["B0"]);
  fails(second, "protocol", "sequence number 2, found a second schema", () => second.onFrame(testFrame(2, "S0")));
  const body = receiver();
  fails(
    body,
    "protocol",
    "the schema, sequence number 0, announces a body of 8",
    () => body.onFrame(testFrame(0, "S8")),
  );
});

Deno.test("what the header reader refuses is refused by number, with its code", () => {
  const state = announced(["B0"]);
  fails(
    state,
    "invalid_data",
    "metadata of sequence number 2: this is not a test header",
    () => state.onFrame(testFrame(2, "?")),
  );
  assert(state.failure!.cause instanceof DipcError, String(state.failure!.cause));
  const defect = receiver({
    readHeader() {
      throw new TypeError("a defect");
    },
  });
  assertThrows(() => defect.onFrame(testFrame(0, "S0")), TypeError, "a defect");
});

Deno.test("a body length that cannot be is refused", () => {
  for (const length of ["-1", "0.5", "NaN", "9007199254740992"]) {
    const state = announced([], { maxBodyBytes: Number.MAX_SAFE_INTEGER });
    fails(
      state,
      "invalid_data",
      `sequence number 1 announces an impossible body of ${Number(length)} bytes`,
      () => state.onFrame(testFrame(1, `B${length}`)),
    );
  }
  const largest = announced([`B${Number.MAX_SAFE_INTEGER}`], { maxBodyBytes: Number.MAX_SAFE_INTEGER });
  assertEquals(largest.nextToPost()!.byteLength, Number.MAX_SAFE_INTEGER);
  const state = announced(["B100"], { maxBodyBytes: 100 });
  fails(
    state,
    "limit_exceeded",
    "sequence number 2 has 101 bytes, the limit is 100 (maxBodyBytes)",
    () => state.onFrame(testFrame(2, "B101")),
  );
});

Deno.test("metadata that arrives twice is refused, whether read, held or handed out", () => {
  const read = announced(["B1", "B1"]);
  fails(read, "protocol", "metadata of sequence number 1 arrived twice", () => read.onFrame(testFrame(1, "B1")));
  const held = announced([]);
  held.onFrame(testFrame(2, "B1"));
  fails(held, "protocol", "metadata of sequence number 2 arrived twice", () => held.onFrame(testFrame(2, "B1")));
  const given = announced(["B0"]);
  taken(given);
  fails(given, "protocol", "metadata of sequence number 1 arrived twice", () => given.onFrame(testFrame(1, "B0")));
  const schema = announced([]);
  fails(schema, "protocol", "metadata of sequence number 0 arrived twice", () => schema.onFrame(testFrame(0, "S0")));
});

Deno.test("metadata may run ahead by less than the reorder window", () => {
  const state = announced([], { reorderWindow: 4 });
  state.onFrame(testFrame(4, "B1"));
  fails(
    state,
    "protocol",
    "sequence number 5 arrived while 1 was due, it may be at most 3 ahead",
    () => state.onFrame(testFrame(5, "B1")),
  );
  const before = announced([]);
  fails(
    before,
    "protocol",
    "sequence number 4294967295 arrived twice, or belongs to no message",
    () => before.onFrame(testFrame(0xFFFFFFFF, "B1")),
  );
  const random = announced([]);
  fails(random, "protocol", "sequence number 2147483647", () => random.onFrame(testFrame(0x7FFFFFFF, "B1")));
});

Deno.test("held metadata is bounded in bytes, and the bound is given back", () => {
  const state = announced([], { maxHeldBytes: 5 });
  state.onFrame(testFrame(2, "B1"));
  state.onFrame(testFrame(3, "B22"));
  state.onFrame(testFrame(1, "B1"));
  state.onFrame(testFrame(5, "B4444"));
  fails(
    state,
    "limit_exceeded",
    "sequence number 4 is missing while later metadata of more than 5 bytes (maxHeldBytes) has arrived",
    () => state.onFrame(testFrame(6, "B1")),
  );
});

Deno.test("frames wait in the channel while the window is full", () => {
  const state = announced(["B0", "B0"], { maxAnnounced: 3 });
  assertEquals(state.wantsFrame, false);
  assertEquals(state.next()!.sequence, 0);
  assertEquals(state.wantsFrame, true);
  state.onFrame(testFrame(3, "B0"));
  assertEquals(state.wantsFrame, false);
  fails(
    state,
    "internal",
    "sequence number 4 was taken while the window was full",
    () => state.onFrame(testFrame(4, "B0")),
  );
});

Deno.test("metadata that was not handed out is bounded in bytes, equal metadata counts once", () => {
  const state = announced(["B0"], { maxPendingMetadataBytes: 6 });
  assertEquals(state.wantsFrame, true, "4 bytes are pending");
  state.onFrame(testFrame(2, "B00"));
  assertEquals(state.wantsFrame, false, "7 bytes are pending");
  state.next();
  assertEquals(state.wantsFrame, true);
  const exact = announced(["B0"], { maxPendingMetadataBytes: 4 });
  assertEquals(exact.wantsFrame, false);
  fails(exact, "internal", "the window was full", () => exact.onFrame(testFrame(2, "B0")));
  const headers = new Map<string, ReturnType<typeof readTestHeader>>();
  const cached = announced(Array(100).fill("B0"), {
    maxPendingMetadataBytes: 5,
    readHeader(metadata) {
      const text = String(metadata);
      if (!headers.has(text)) headers.set(text, readTestHeader(metadata));
      return headers.get(text)!;
    },
  });
  assertEquals([cached.announced, cached.wantsFrame], [101, true]);
  taken(cached);
  for (let sequence = 101; sequence < 110; sequence++) {
    cached.onFrame(testFrame(sequence, sequence % 2 === 0 ? "B0" : "D0"));
    assertEquals(taken(cached), [sequence]);
  }
});

Deno.test("frames that were held do not lose their place when the window is full", () => {
  const state = announced([], { maxAnnounced: 2, reorderWindow: 4 });
  for (const sequence of [4, 3, 2]) state.onFrame(testFrame(sequence, `B${sequence}`));
  state.onFrame(testFrame(1, "B1")); // all of them are due now
  assertEquals(state.announced, 5);
  assertEquals(state.wantsFrame, false);
  assertEquals(tags(state), [1n, 2n, 3n, 4n]);
  for (let slot; (slot = state.oldestPosted()) !== null;) state.onBody(slot, slot.tag, slot.byteLength);
  assertEquals(taken(state), [0, 1, 2, 3, 4]);
});

Deno.test("an end of stream is five bytes", () => {
  const state = announced([]);
  fails(
    state,
    "protocol",
    "an end of stream of 5 bytes, found 6 with sequence number 1",
    () => state.onFrame(encodeFrame(END_OF_STREAM, 1, new Uint8Array(1))),
  );
});

Deno.test("the number of the end of stream must fit", () => {
  const early = announced(["B1", "B1"]);
  fails(
    early,
    "protocol",
    "the end of stream has sequence number 2, but metadata of number 2 had arrived",
    () => early.onFrame(end(2)),
  );
  const beforeHeld = announced([]);
  beforeHeld.onFrame(testFrame(3, "B1"));
  fails(
    beforeHeld,
    "protocol",
    "sequence number 3, but metadata of number 3 had arrived",
    () => beforeHeld.onFrame(end(3)),
  );
  const afterHeld = announced([]);
  afterHeld.onFrame(testFrame(3, "B1"));
  afterHeld.onFrame(end(4));
  assertEquals(afterHeld.ended, true);
  const far = announced([], { reorderWindow: 4 });
  fails(far, "protocol", "sequence number 6, but 1 was due, so messages are missing", () => far.onFrame(end(6)));
  const near = announced([], { reorderWindow: 4 });
  near.onFrame(end(5));
  assertEquals(near.ended, true);
  const noSchema = receiver();
  fails(noSchema, "protocol", "sequence number 0 before the schema", () => noSchema.onFrame(end(0)));
  const negative = receiver();
  fails(negative, "protocol", "before the schema", () => negative.onFrame(end(0xFFFFFFFF)));
  const twice = announced([]);
  twice.onFrame(end(1));
  fails(twice, "protocol", "a second end of stream arrived with sequence number 1", () => twice.onFrame(end(1)));
});

Deno.test("nothing follows the end of stream", () => {
  const state = announced(["B1"]);
  state.onFrame(end(2));
  fails(
    state,
    "protocol",
    "sequence number 2 follows the end of stream, which has number 2",
    () => state.onFrame(testFrame(2, "B1")),
  );
  const body = announced(["B1"]);
  body.onFrame(end(2));
  fails(body, "protocol", "the stream ends at 2", () => body.checkUnexpected(2n, 1));
});

Deno.test("the server's error message becomes the error", () => {
  const state = announced(["B1"]);
  const frame = encodeFrame(ERROR_MESSAGE, 2, encodeError("not_found", "no such flight"));
  fails(
    state,
    "not_found",
    "cannot receive the stream: the server answered: no such flight",
    () => state.onFrame(frame),
  );
  assertEquals(taken(state), [0], "what had arrived is still given");
  const broken = announced([]);
  fails(broken, "protocol", "it is not JSON", () => broken.onFrame(encodeFrame(ERROR_MESSAGE, 1, new Uint8Array([1]))));
  const long = announced([], { maxErrorBytes: 10 });
  fails(long, "protocol", "at most 10 bytes", () => long.onFrame(frame));
  const unasked = announced([], { errorMessages: false });
  fails(unasked, "protocol", "type 255 with sequence number 2", () => unasked.onFrame(frame));
});

Deno.test("bytes in flight are bounded from posting to delivery, and one body always goes", () => {
  const state = announced(["B60", "B40", "B1", "B500", "B0"], { maxInFlightBytes: 100 });
  const first = state.nextToPost()!;
  const second = state.nextToPost()!;
  assertEquals(second.sequence, 2);
  assertEquals(state.nextToPost(), null, "full");
  state.onBody(first, 1n, 60);
  assertEquals(state.nextToPost(), null, "arrived, but not handed out");
  assertEquals(taken(state), [0, 1]);
  const third = state.nextToPost()!;
  assertEquals(third.sequence, 3);
  assertEquals(state.inFlightBytes, 41);
  assertEquals(state.nextToPost(), null);
  state.onBody(second, 2n, 40);
  state.onBody(third, 3n, 1);
  assertEquals(state.nextToPost(), null, "a large body waits until it is alone");
  assertEquals(taken(state), [2, 3]);
  const large = state.nextToPost()!;
  assertEquals([large.sequence, state.inFlightBytes], [4, 500]);
  state.onBody(large, 4n, 500);
  assertEquals(taken(state), [4, 5]);
  assertEquals(state.inFlightBytes, 0);
});

Deno.test("the number of receives posted is bounded", () => {
  const state = announced(["B1", "B1", "B1"], { maxPosted: 2 });
  const first = state.nextToPost()!;
  assertEquals(state.nextToPost()!.sequence, 2);
  assertEquals(state.nextToPost(), null);
  assertEquals(state.posted, 2);
  state.onBody(first, 1n, 1);
  assertEquals(state.nextToPost()!.sequence, 3);
});

Deno.test("a body has the number, the type and the length announced", () => {
  const cases: [bigint, number, DipcErrorCode, string][] = [
    [2n, 8, "protocol", "expected the body of sequence number 1, found tag 0x0000000000000002"],
    [1n, 7, "protocol", "sequence number 1 has 7 bytes, but its metadata announced 8"],
    [1n, 9, "protocol", "sequence number 1 has 9 bytes, but its metadata announced 8"],
    [1n, 0, "protocol", "sequence number 1 has 0 bytes, but its metadata announced 8"],
    [encodeTag(1, 1), 8, "unsupported", "sequence number 1 is a list of addresses"],
    [encodeTag(1, 2), 8, "protocol", "sequence number 1 has the unknown type 2"],
    [encodeTag(1, 255), 8, "protocol", "sequence number 1 has the unknown type 255"],
  ];
  for (const [tag, byteLength, code, text] of cases) {
    const state = announced(["B8"]);
    const slot = state.nextToPost()!;
    fails(state, code, text, () => state.onBody(slot, tag, byteLength));
    assertEquals(taken(state), [0]);
  }
});

Deno.test("reserved bits of a tag are ignored", () => {
  const state = announced(["B8", "B8"]);
  const reserved = 0x00FFFFFF00000000n;
  assertEquals(state.checkUnexpected(2n | reserved, 8), KEEP);
  state.onBody(state.nextToPost()!, 1n | reserved, 8);
  assertEquals(taken(state), [0, 1]);
});

Deno.test("a body is reported once, for a receive that was posted", () => {
  const state = announced(["B8"]);
  const slot = state.nextToPost()!;
  state.onBody(slot, 1n, 8);
  fails(
    state,
    "internal",
    "the body of sequence number 1 was reported, but no receive was posted",
    () => state.onBody(slot, 1n, 8),
  );
});

Deno.test("an unexpected body that will be requested is left alone", () => {
  const state = announced(["B8"], { bodyWindow: 3 });
  assertEquals(state.checkUnexpected(1n, 8), KEEP, "announced, not posted");
  assertEquals(state.checkUnexpected(2n, 123), KEEP, "not announced");
  assertEquals(state.checkUnexpected(4n, 0), KEEP);
  fails(
    state,
    "protocol",
    "sequence number 5 (tag 0x0000000000000005) arrived that belongs to no message of this stream, 2 was due",
    () => state.checkUnexpected(5n, 0),
  );
});

Deno.test("an unexpected body is refused if it cannot be right", () => {
  const cases: [bigint, number, DipcErrorCode, string][] = [
    [1n, 7, "protocol", "sequence number 1 has 7 bytes, but its metadata announced 8"],
    [encodeTag(1, 1), 8, "unsupported", "list of addresses"],
    [encodeTag(2, 9), 8, "protocol", "sequence number 2 has the unknown type 9"],
    [2n, 1001, "limit_exceeded", "sequence number 2 has 1001 bytes, the limit is 1000 (maxBodyBytes)"],
    [0n, 0, "protocol", "sequence number 0 (tag 0x0000000000000000) arrived that belongs to no message"],
    [0xFFFFFFFFn, 0, "protocol", "sequence number 4294967295"],
    [0x7FFFFFFFn, 0, "protocol", "sequence number 2147483647"],
  ];
  for (const [tag, byteLength, code, text] of cases) {
    const state = announced(["B8"], { maxBodyBytes: 1000 });
    fails(state, code, text, () => state.checkUnexpected(tag, byteLength));
  }
  const exact = announced(["B8"], { maxBodyBytes: 1000 });
  assertEquals(exact.checkUnexpected(2n, 1000), KEEP);
  const noSchema = receiver();
  fails(noSchema, "protocol", "sequence number 0", () => noSchema.checkUnexpected(0n, 0));
  const before = receiver();
  assertEquals(before.checkUnexpected(1n, 5), KEEP, "a body may come before the schema");
});

Deno.test("a body that arrives twice is refused, whether posted, complete or handed out", () => {
  for (const step of [0, 1, 2]) {
    const state = announced(["B8"]);
    const slot = state.nextToPost()!;
    if (step > 0) state.onBody(slot, 1n, 8);
    if (step > 1) assertEquals(taken(state), [0, 1]);
    fails(state, "protocol", "a second body of sequence number 1 arrived", () => state.checkUnexpected(1n, 8));
  }
});

Deno.test("an empty body is complete without its tagged message, which may come once, at any time", () => {
  const state = announced(["B0", "D0", "B0"]);
  assertEquals(state.nextToPost(), null);
  assertEquals(state.checkUnexpected(1n, 0), DISCARD);
  assertEquals(taken(state), [0, 1, 2, 3]);
  assertEquals(state.checkUnexpected(2n, 0), DISCARD, "after its message was handed out");
  state.onFrame(end(4));
  assertEquals(state.finished, true);
  assertEquals(state.checkUnexpected(3n, 0), DISCARD, "after the end");
  fails(state, "protocol", "a second body of sequence number 1 arrived", () => state.checkUnexpected(1n, 0));
  const long = announced(["B0"]);
  fails(
    long,
    "protocol",
    "sequence number 1 has 3 bytes, but its metadata announced 0",
    () => long.checkUnexpected(1n, 3),
  );
  const typed = announced(["B0"]);
  fails(typed, "protocol", "unknown type 7", () => typed.checkUnexpected(encodeTag(1, 7), 0));
});

Deno.test("tagged messages of empty bodies may come long after, but not more of them than there were", () => {
  const state = receiver({ maxAnnounced: 2, reorderWindow: 2 }); // 4 slots
  state.onFrame(testFrame(0, "S0"));
  for (let sequence = 1; sequence <= 10; sequence++) {
    assertEquals(taken(state), [sequence - 1]);
    state.onFrame(testFrame(sequence, sequence % 2 === 0 ? "B0" : "B4"));
    if (sequence % 2 === 1) state.onBody(state.nextToPost()!, BigInt(sequence), 4);
  }
  // 2, 4 and 6 have lost their slots by now: three are owed.
  for (const sequence of [2n, 4n, 6n]) assertEquals(state.checkUnexpected(sequence, 0), DISCARD);
  for (const sequence of [8n, 10n]) assertEquals(state.checkUnexpected(sequence, 0), DISCARD);
  fails(state, "protocol", "a second body of sequence number 4 arrived", () => state.checkUnexpected(4n, 0));
  const long = receiver({ maxAnnounced: 1, reorderWindow: 1 });
  long.onFrame(testFrame(0, "S0"));
  for (let sequence = 1; sequence < 5; sequence++) {
    taken(long);
    long.onFrame(testFrame(sequence, "B0"));
  }
  fails(long, "protocol", "sequence number 1 has 2 bytes", () => long.checkUnexpected(1n, 2));
});

Deno.test("what a driver attached is found again until it is handed out", () => {
  const state = announced(["B1", "B1", "B1"]);
  const slots: ReceiverSlot<string>[] = [];
  for (let slot; (slot = state.nextToPost()) !== null;) {
    slot.attachment = `block ${slot.sequence}`;
    slots.push(slot);
  }
  const attached = () => {
    const found: string[] = [];
    state.forEachAttached((slot) => found.push(slot.attachment!));
    return found;
  };
  assertEquals(attached(), ["block 1", "block 2", "block 3"]);
  state.onBody(slots[0], 1n, 1);
  assertEquals(attached(), ["block 1", "block 2", "block 3"], "complete, but not handed out");
  state.next();
  const given = state.next()!;
  assertEquals(given.attachment, "block 1");
  assertEquals(attached(), ["block 2", "block 3"], "handed out: the caller's");
  assertEquals(state.next(), null);
  assertEquals([given.attachment, given.header], [null, null], "nothing is kept alive by the window");
});

Deno.test("a description says what is missing", () => {
  const state = receiver();
  assertEquals(state.describe(), "the schema was still missing; 0 batches had arrived");
  state.onFrame(testFrame(0, "S0"));
  taken(state);
  assertEquals(
    state.describe(),
    "metadata of sequence number 1 or the end of stream was still missing; 0 batches had arrived",
  );
  state.onFrame(testFrame(1, "B1"));
  assertEquals(state.describe(), "the body of sequence number 1 was still missing; 0 batches had arrived");
  state.onBody(state.nextToPost()!, 1n, 1);
  taken(state);
  state.onFrame(testFrame(3, "B1"));
  assertEquals(
    state.describe(),
    "metadata of sequence number 2 was missing though later frames had arrived; 1 batch had arrived",
  );
  state.onFrame(testFrame(2, "B0"));
  state.onBody(state.nextToPost()!, 3n, 1);
  taken(state);
  assertEquals(
    state.describe(),
    "metadata of sequence number 4 or the end of stream was still missing; 3 batches had arrived",
  );
  const ended = announced([]);
  ended.onFrame(end(2));
  taken(ended);
  assertEquals(
    ended.describe(),
    "metadata of sequence number 1 was missing though later frames had arrived; 0 batches had arrived",
  );
});

Deno.test("limits are integers in their range", () => {
  const cases: Partial<ReceiverOptions>[] = [
    { maxMetadataBytes: 0 },
    { maxMetadataBytes: 1.5 },
    { maxBodyBytes: -1 },
    { maxBodyBytes: NaN },
    { maxInFlightBytes: 0 },
    { maxPosted: 0 },
    { maxPosted: 65537 },
    { maxAnnounced: 0 },
    { maxAnnounced: 65537 },
    { reorderWindow: 0 },
    { reorderWindow: Infinity },
    { maxHeldBytes: -1 },
    { maxPendingMetadataBytes: 0 },
    { bodyWindow: 0 },
    { bodyWindow: 2 ** 31 },
    { maxErrorBytes: -1 },
    { firstSequence: 2 ** 32 },
    { firstSequence: -1 },
  ];
  for (const options of cases) {
    assertDipcError("invalid_argument", "", () => receiver(options), JSON.stringify(options));
  }
});
