/**
 * Every rule of the sending state machine, one by one.
 *
 * @module
 */
import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { type SenderOptions, SenderState } from "../../src/protocol/sender.ts";
import { assertDipcError } from "../support/assert.ts";

type State = SenderState<string>;
const sender = (options: SenderOptions = {}): State => new SenderState<string>(options);
function send(state: State, bodyBytes: number, metadataBytes = 10, attachment: string | null = "pending"): number {
  const slot = state.assign(bodyBytes, metadataBytes);
  state.sent(slot, attachment);
  return slot.sequence;
}
/** A state whose schema was sent and taken. */
function started(options: SenderOptions = {}): State {
  const state = sender(options);
  send(state, 0, 10, "schema");
  state.settle();
  return state;
}

Deno.test("the schema is 0, every message after it adds 1, and the end has the next number", () => {
  const state = sender();
  const numbers = [send(state, 0, 204, null)];
  for (let i = 0; i < 3; i++) numbers.push(send(state, 64));
  assertEquals(numbers, [0, 1, 2, 3]);
  assertEquals(state.nextSequence, 4);
  assertEquals(state.end(), 4);
  assertEquals([state.messages, state.bodyBytes, state.metadataBytes], [4, 192, 234]);
});

Deno.test("numbers wrap after 2^32 - 1", () => {
  const state = sender({ firstSequence: 0xFFFFFFFE });
  assertEquals(send(state, 0, 1, null), 0xFFFFFFFE);
  const slot = state.assign(1, 1);
  assertEquals([slot.sequence, slot.tag], [0xFFFFFFFF, 0xFFFFFFFFn]);
  state.sent(slot, null);
  const wrapped = state.assign(1, 1);
  assertEquals([wrapped.sequence, wrapped.tag], [0, 0n]);
  state.sent(wrapped, null);
  assertEquals(state.end(), 1);
});

Deno.test("the window closes by messages and opens as the oldest is settled", () => {
  const state = started({ windowBatches: 2 });
  assertEquals(state.oldest(), null);
  send(state, 1, 1, "one");
  assertEquals(state.mayStart(), true);
  send(state, 1, 1, "two");
  assertEquals([state.mayStart(), state.outstandingMessages, state.outstandingBytes], [false, 2, 2]);
  assertEquals(state.oldest()!.attachment, "one");
  const slot = state.oldest()!;
  state.settle();
  assertEquals(slot.attachment, null);
  assertEquals([state.mayStart(), state.oldest()!.attachment], [true, "two"]);
  state.settle();
  assertEquals([state.oldest(), state.outstandingMessages, state.outstandingBytes], [null, 0, 0]);
});

Deno.test("the window closes by bytes, and one message always goes", () => {
  const state = started({ windowBytes: 100 });
  assertEquals(state.mayStart(1000), true, "nothing to wait for");
  send(state, 60);
  assertEquals([state.mayStart(40), state.mayStart(41), state.mayStart()], [true, false, true]);
  send(state, 40);
  assertEquals(state.mayStart(), false);
  state.settle();
  assertEquals([state.mayStart(60), state.mayStart(61)], [true, false]);
  state.settle();
  send(state, 1000);
  assertEquals(state.mayStart(), false);
});

Deno.test("a minimum of messages goes whatever their size", () => {
  const state = started({ windowBytes: 10, minBatches: 2 });
  send(state, 1000);
  assertEquals(state.mayStart(1000), true);
  send(state, 1000);
  assertEquals(state.mayStart(0), false);
});

Deno.test("a send that is done at once takes no room", () => {
  const state = started({ windowBatches: 1, windowBytes: 1 });
  for (let i = 0; i < 100; i++) {
    assertEquals(state.mayStart(1000), true);
    send(state, 1000, 10, null);
  }
  assertEquals([state.oldest(), state.outstandingBytes, state.outstandingMessages], [null, 0, 0]);
});

Deno.test("the ring of sends is used again many times over", () => {
  const state = started({ windowBatches: 3 });
  let settled = 0;
  for (let i = 0; i < 1000; i++) {
    while (!state.mayStart()) {
      assertEquals(state.oldest()!.attachment, `send ${settled++}`);
      state.settle();
    }
    send(state, 1, 1, `send ${i}`);
  }
  assertEquals([settled, state.outstandingMessages], [997, 3]);
});

Deno.test("a metadata-only server ends half windows with the rendezvous flag", () => {
  const state = sender({ role: "metadata", windowBatches: 4 });
  assertEquals([state.sendsMetadata, state.sendsBodies], [true, false]);
  const flags: boolean[] = [];
  while (state.mayStart()) {
    const slot = state.assign(flags.length === 0 ? 0 : 1_000_000, 10);
    flags.push(slot.rendezvous);
    state.sent(slot, slot.rendezvous ? `mark ${slot.sequence}` : null);
  }
  assertEquals(flags, [false, true, false, true]);
  assertEquals([state.outstandingMessages, state.outstandingBytes], [4, 40]);
  assertEquals(state.oldest()!.attachment, "mark 1");
  state.settle();
  assertEquals([state.outstandingMessages, state.outstandingBytes, state.mayStart()], [2, 20, true]);
  state.settle();
  assertEquals([state.outstandingMessages, state.outstandingBytes, state.oldest()], [0, 0, null]);
});

Deno.test("a metadata-only server counts bytes of metadata", () => {
  const state = sender({ role: "metadata", windowBytes: 100, windowBatches: 1000 });
  const flags: boolean[] = [];
  while (state.mayStart()) {
    const slot = state.assign(0, 30);
    flags.push(slot.rendezvous);
    state.sent(slot, slot.rendezvous ? "mark" : null);
  }
  assertEquals(flags, [false, true, false, true]);
  state.settle();
  assertEquals(state.outstandingBytes, 60);
  const half = sender({ role: "metadata", windowBytes: 100, windowBatches: 1000 });
  assertEquals([half.assign(0, 50).rendezvous], [true]);
});

Deno.test("a metadata-only server whose marks are done at once never waits", () => {
  const state = sender({ role: "metadata", windowBatches: 2, windowBytes: 10 });
  for (let i = 0; i < 100; i++) {
    assertEquals(state.mayStart(), true);
    send(state, 0, 30, null);
  }
  assertEquals([state.outstandingMessages, state.outstandingBytes], [0, 0]);
});

Deno.test("a body-only server skips the schema's number and counts bytes of bodies", () => {
  const state = sender({ role: "body", windowBytes: 100 });
  assertEquals([state.sendsMetadata, state.sendsBodies], [false, true]);
  assertEquals(send(state, 0, 500, null), 0);
  assertEquals(send(state, 60, 500), 1);
  assertEquals([state.outstandingBytes, state.mayStart(40), state.mayStart(41)], [60, true, false]);
});

Deno.test("a frame whose message has a body never has the rendezvous flag", () => {
  const state = started({ windowBatches: 1, windowBytes: 1 });
  for (let i = 0; i < 5; i++) {
    const slot = state.assign(1, 1_000_000_000);
    assertEquals(slot.rendezvous, false);
    state.sent(slot, null);
  }
});

Deno.test("a run of empty bodies is bounded by frames with the rendezvous flag", () => {
  const state = sender({ windowBatches: 8 });
  const flags: boolean[] = [];
  while (state.mayStart()) {
    const slot = state.assign(0, 10);
    flags.push(slot.rendezvous);
    state.sent(slot, slot.rendezvous ? "frame" : null);
  }
  assertEquals(flags, [false, false, false, true, false, false, false, true]);
  assertEquals([state.outstandingMessages, state.outstandingBytes], [8, 80]);
  state.settle();
  assertEquals([state.outstandingMessages, state.outstandingBytes, state.mayStart()], [4, 40, true]);
  const bytes = sender({ windowBytes: 100 });
  assertEquals(send(bytes, 0, 49, null), 0);
  assertEquals(bytes.assign(0, 1).rendezvous, true, "their metadata counts");
});

Deno.test("a body that was taken settles the empty ones before it", () => {
  const state = sender({ windowBatches: 8 });
  for (let i = 0; i < 3; i++) send(state, 0, 10, null);
  assertEquals([state.outstandingMessages, state.oldest()], [3, null]);
  send(state, 50, 10, "body");
  send(state, 0, 10, null);
  assertEquals([state.outstandingMessages, state.outstandingBytes], [5, 90]);
  state.settle();
  assertEquals([state.outstandingMessages, state.outstandingBytes], [1, 10]);
});

Deno.test("a body-only server has no frames to wait for: an empty body takes no room", () => {
  const state = sender({ role: "body", windowBatches: 2 });
  for (let i = 0; i < 10; i++) {
    const slot = state.assign(0, 10);
    assertEquals(slot.rendezvous, false);
    state.sent(slot, null);
  }
  assertEquals([state.outstandingMessages, state.outstandingBytes], [0, 0]);
});

Deno.test("a stream is finished once it has ended and nothing is under way", () => {
  const state = started();
  send(state, 1);
  assertEquals([state.ended, state.finished], [false, false]);
  state.end();
  assertEquals([state.ended, state.finished], [true, false]);
  state.settle();
  assertEquals(state.finished, true);
});

Deno.test("calls in the wrong order are defects", () => {
  assertDipcError("internal", "cannot end the stream: its schema was not sent", () => sender().end());
  assertDipcError("internal", "cannot settle a send: none is under way", () => started().settle());
  const ended = started();
  ended.end();
  assertDipcError("internal", "cannot send message 1: it comes after the end of stream", () => ended.assign(1, 1));
  assertDipcError("internal", "cannot end the stream: it has ended already", () => ended.end());
  const open = started();
  const slot = open.assign(1, 1);
  assertDipcError("internal", "cannot send message 2: message 1 was assigned, but not sent", () => open.assign(1, 1));
  open.sent(slot, "pending");
  assertDipcError("internal", "cannot send message 1: it was sent already", () => open.sent(slot, "pending"));
  const full = started({ windowBatches: 1 });
  send(full, 1);
  assertDipcError("internal", "cannot send message 2: the window is full", () => full.assign(1, 1));
  assertDipcError(
    "internal",
    "cannot send the schema, message 0: it has a body of 5 bytes",
    () => sender().assign(5, 1),
  );
});

Deno.test("an impossible number of bytes is refused by sequence number", () => {
  for (const value of [-1, 0.5, NaN, Infinity, 2 ** 53]) {
    assertDipcError("invalid_data", "cannot send message 1: impossible sizes", () => started().assign(value, 1));
    assertDipcError("invalid_data", "cannot send message 1: impossible sizes", () => started().assign(1, value));
  }
  const state = started();
  assertThrows(() => state.assign(-1, 1));
  const slot = state.assign(1, 1);
  assertStrictEquals(slot.sequence, 1, "a refused message uses no number");
});

Deno.test("windows are integers in their range", () => {
  const largest = started({ windowBatches: 65536, windowBytes: Number.MAX_SAFE_INTEGER, minBatches: 65536 });
  for (let i = 0; i < 65536; i++) send(largest, 1, 0, `send ${i}`);
  assertEquals([largest.mayStart(), largest.oldest()!.attachment], [false, "send 0"]);
  const cases: SenderOptions[] = [
    { windowBytes: 0 },
    { windowBytes: 1.5 },
    { windowBytes: 2 ** 53 },
    { windowBatches: 0 },
    { windowBatches: 65537 },
    { windowBatches: NaN },
    { minBatches: 0 },
    { minBatches: 0.5 },
    { windowBatches: 4, minBatches: 5 },
    { firstSequence: -1 },
    { firstSequence: 2 ** 32 },
  ];
  for (const options of cases) {
    assertDipcError("invalid_argument", "", () => sender(options), JSON.stringify(options));
  }
});
