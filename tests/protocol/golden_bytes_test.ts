/**
 * Bytes on the wire, written out by hand from the published protocol and from what its reference server was seen to send.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  encodeError,
  encodeRequest,
  parseError,
  parseRequest,
  peerError,
  REQUEST_ERRORS,
  REQUEST_NO_ADDRESSES,
} from "../../src/protocol/envelope.ts";
import {
  encodeFrame,
  END_OF_STREAM,
  ERROR_MESSAGE,
  frameSequence,
  frameType,
  METADATA,
  writePrefix,
} from "../../src/protocol/prefix.ts";
import { checkSequence, nextSequence, sequenceDistance } from "../../src/protocol/sequence.ts";
import {
  BODY_ADDRESSES,
  BODY_BYTES,
  bodyTag,
  encodeTag,
  formatTag,
  FULL_MASK,
  SEQUENCE_MASK,
  tagBodyType,
  tagSequence,
} from "../../src/protocol/tag.ts";
import { hex } from "../support/bytes.ts";
import { assertDipcError } from "../support/assert.ts";

/** Numbers that are not a u32. */
const NO_U32 = [-1, 2 ** 32, 2 ** 53, 2 ** 63, 0.5, NaN, Infinity, -Infinity];

Deno.test("the types and masks are those of the protocol", () => {
  assertEquals([END_OF_STREAM, METADATA, ERROR_MESSAGE], [0, 1, 255]);
  assertEquals([BODY_BYTES, BODY_ADDRESSES], [0, 1]);
  assertEquals([SEQUENCE_MASK, FULL_MASK], [4294967295n, 18446744073709551615n]);
  assertEquals([REQUEST_ERRORS, REQUEST_NO_ADDRESSES], [1, 4]);
});

Deno.test("a prefix is the type and the sequence number, little-endian", () => {
  assertEquals(encodeFrame(METADATA, 0), hex("01 00000000"));
  assertEquals(encodeFrame(METADATA, 1), hex("01 01000000"));
  assertEquals(encodeFrame(METADATA, 0x12345678), hex("01 78563412"));
  assertEquals(encodeFrame(METADATA, 4294967295), hex("01 ffffffff"));
  assertEquals(encodeFrame(METADATA, 258, hex("aabbcc")), hex("01 02010000 aabbcc"));
  assertEquals(encodeFrame(ERROR_MESSAGE, 7, hex("7b7d")), hex("ff 07000000 7b7d"));
  const target = new Uint8Array(8).fill(0x55);
  writePrefix(target, 3, METADATA, 0x80000000);
  assertEquals(target, hex("555555 01 00000080"));
});

Deno.test("an end of stream after the schema and three batches is 00 04 00 00 00", () => {
  assertEquals(encodeFrame(END_OF_STREAM, 4), hex("00 04000000"));
  assertEquals(frameType(hex("00 04000000")), 0);
  assertEquals(frameSequence(hex("00 04000000")), 4);
  assertEquals(frameSequence(hex("01 ffffffff 99")), 4294967295);
  assertEquals(frameSequence(hex("01 00000080")), 2147483648);
});

Deno.test("a prefix with a number out of range, or without room, is refused", () => {
  for (const sequence of NO_U32) {
    assertDipcError(
      "invalid_argument",
      `it is ${sequence}; give an integer`,
      () => encodeFrame(METADATA, sequence),
    );
  }
  for (const type of [-1, 256, 0.5, NaN, 2 ** 32]) {
    assertDipcError("invalid_argument", `it is ${type}; give an integer from 0 to 255`, () => encodeFrame(type, 0));
  }
  for (const offset of [-1, 4, NaN]) {
    assertDipcError("invalid_argument", "there is no room", () => writePrefix(new Uint8Array(8), offset, METADATA, 0));
  }
});

Deno.test("a tag has the sequence number in bits 0 to 31 and the body type in bits 56 to 63", () => {
  assertEquals(encodeTag(0), 0n);
  assertEquals(encodeTag(1), 0x0000000000000001n); // the first body of a stream
  assertEquals(encodeTag(1, 0), 1n);
  assertEquals(encodeTag(1, 1), 0x0100000000000001n); // not 1 << 55, as the reference server has it
  assertEquals(encodeTag(0xFFFFFFFF, 255), 0xFF000000FFFFFFFFn);
  assertEquals(encodeTag(0x80000000, 0x80), 0x8000000080000000n);
  for (const sequence of [0, 1, 2 ** 31, 2 ** 32 - 1]) assertEquals(bodyTag(sequence), BigInt(sequence));
});

Deno.test("a tag is read in spite of its reserved bits", () => {
  assertEquals(tagSequence(0x00FFFFFF00000007n), 7);
  assertEquals(tagBodyType(0x00FFFFFF00000007n), 0);
  assertEquals(tagBodyType(0x0100000000000000n), 1);
  assertEquals(tagBodyType(0xFFFFFFFFFFFFFFFFn), 255);
  assertEquals(tagSequence(0xFFFFFFFFFFFFFFFFn), 4294967295);
  assertEquals(tagBodyType(1n << 55n), 0);
  assertEquals(formatTag(0x0100000000000007n), "0x0100000000000007");
});

Deno.test("a tag with a number out of range is refused", () => {
  for (const sequence of NO_U32) {
    assertDipcError("invalid_argument", `it is ${sequence}; give an integer`, () => encodeTag(sequence));
  }
  for (const type of [-1, 256, 1.5, NaN]) {
    assertDipcError("invalid_argument", `it is ${type}; give an integer`, () => encodeTag(0, type));
  }
});

Deno.test("sequence numbers wrap after 2^32 - 1", () => {
  assertEquals(nextSequence(0), 1);
  assertEquals(nextSequence(2147483647), 2147483648);
  assertEquals(nextSequence(4294967295), 0);
  assertEquals(sequenceDistance(4294967295, 0), 1);
  assertEquals(sequenceDistance(0, 4294967295), -1);
  assertEquals(sequenceDistance(5, 5), 0);
  assertEquals(sequenceDistance(0, 2147483647), 2147483647);
  assertEquals(sequenceDistance(0, 2147483648), -2147483648);
  for (const value of [...NO_U32, "1", null, undefined]) {
    assertDipcError("invalid_argument", "a sequence number", () => checkSequence(value as number));
  }
  for (const value of [0, 1, 4294967295]) assertEquals(checkSequence(value), value);
});

const TICKET = new TextEncoder().encode("trips");

Deno.test("a request envelope is DIPC 01, flags, ticket length, ticket, entries", () => {
  assertEquals(encodeRequest(TICKET, REQUEST_ERRORS), hex("44495043 01 0100 05000000 7472697073"));
  assertEquals(encodeRequest(new Uint8Array(0), 0), hex("44495043 01 0000 00000000"));
  assertEquals(
    encodeRequest(TICKET, 0xFFFF, [{ type: 0x0102, bytes: hex("aabb") }, { type: 65535, bytes: new Uint8Array(0) }]),
    hex("44495043 01 ffff 05000000 7472697073 0201 02000000 aabb ffff 00000000"),
  );
});

Deno.test("a request envelope is read, and entries of unknown types are skipped", () => {
  const request = parseRequest(hex("44495043 01 0500 05000000 7472697073 0201 02000000 aabb ffff 00000000"));
  assertEquals(request, {
    ticket: TICKET,
    flags: 5,
    enveloped: true,
    entries: [{ type: 0x0102, bytes: hex("aabb") }, { type: 65535, bytes: new Uint8Array(0) }],
  });
  assertEquals(parseRequest(hex("44495043 01 0000 00000000")).ticket, new Uint8Array(0));
});

Deno.test("a request that does not start like an envelope is a bare ticket", () => {
  for (const text of ["", "44", "44495043", "44495043 02 0000 00000000", "7472697073"]) {
    assertEquals(parseRequest(hex(text)), { ticket: hex(text), flags: 0, enveloped: false, entries: [] });
  }
  const bytes = hex("7472697073");
  const { ticket } = parseRequest(bytes);
  bytes.fill(0);
  assertEquals(ticket, TICKET); // a copy: the bytes lie in a receive buffer
});

Deno.test("half an envelope is refused", () => {
  const whole = "44495043 01 0100 05000000 7472697073".replaceAll(" ", "");
  for (let bytes = 5; bytes < whole.length / 2; bytes++) {
    assertDipcError("protocol", "cannot read a request envelope", () => parseRequest(hex(whole.slice(0, 2 * bytes))));
  }
  assertDipcError(
    "protocol",
    "4294967295 bytes, but 1 follow",
    () => parseRequest(hex("44495043 01 0000 ffffffff 00")),
  );
  assertDipcError(
    "protocol",
    "entry 0 of a request envelope: expected 6 bytes, found 1",
    () => parseRequest(hex(whole + "01")),
  );
  assertDipcError(
    "protocol",
    "it declares 3 bytes, but 2 follow",
    () => parseRequest(hex(whole + "0100 03000000 0102")),
  );
  assertDipcError("protocol", "4294967295 bytes, but 2 follow", () => parseRequest(hex(whole + "0100 ffffffff 0102")));
});

Deno.test("a request over its limits is refused", () => {
  const big = new Uint8Array(65537);
  assertDipcError("limit_exceeded", "at most 65536 bytes are allowed, found 65537", () => parseRequest(big));
  assertEquals(parseRequest(big.subarray(1)).ticket.byteLength, 65536);
  const entries = Array.from({ length: 65 }, () => ({ type: 1, bytes: new Uint8Array(0) }));
  assertDipcError("limit_exceeded", "at most 64 entries", () => parseRequest(encodeRequest(TICKET, 0, entries)));
  assertEquals(parseRequest(encodeRequest(TICKET, 0, entries.slice(1))).entries.length, 64);
  assertDipcError("limit_exceeded", "at most 4 bytes", () => parseRequest(TICKET, { maxRequestBytes: 4 }));
  for (const flags of [-1, 65536, 0.5, NaN]) {
    assertDipcError("invalid_argument", `it is ${flags}; give an integer`, () => encodeRequest(TICKET, flags));
  }
  for (const type of [-1, 65536, 0.5, NaN]) {
    assertDipcError(
      "invalid_argument",
      `it is ${type}; give an integer`,
      () => encodeRequest(TICKET, 0, [{ type, bytes: TICKET }]),
    );
  }
});

Deno.test("an error message is JSON with a code and a message", () => {
  const text = '{"code":"not_found","message":"no dataset \\"trips\\""}';
  assertEquals(encodeError("not_found", 'no dataset "trips"'), new TextEncoder().encode(text));
  assertEquals(
    encodeError("not_found", "no table", { outcome: "refused", status: 5 }),
    new TextEncoder().encode('{"code":"not_found","message":"no table","outcome":"refused","status":5}'),
  );
  for (const outcome of ["refused", "empty"] as const) {
    for (const status of [1, 16, 999]) {
      const facts = { code: "io", message: "m", outcome, status } as const;
      assertEquals(parseError(encodeError("io", "m", facts)), facts);
      assertEquals(peerError(facts).foreign, { system: "grpc", status, text: "m" });
    }
  }
  // What is not understood says nothing.
  for (
    const facts of [{ outcome: "begun" }, { outcome: 1, status: "5" }, { status: 0 }, { status: 1.5 }, { status: 1000 }]
  ) {
    const bytes = new TextEncoder().encode(JSON.stringify({ code: "io", message: "m", ...facts }));
    assertEquals(parseError(bytes), { code: "io", message: "m" });
  }
  assertEquals(parseError(new TextEncoder().encode(text)), { code: "not_found", message: 'no dataset "trips"' });
  const error = peerError({ code: "not_found", message: "no dataset" });
  assertEquals([error.code, error.message], [
    "not_found",
    "cannot receive the stream: the server answered: no dataset",
  ]);
});

Deno.test("an error message is cut to 4096 bytes at a whole character", () => {
  for (
    const message of [
      "x".repeat(5000),
      "é".repeat(5000),
      '"\n'.repeat(5000),
      "😀".repeat(3000),
      "a" + "😀".repeat(3000),
    ]
  ) {
    const bytes = encodeError("internal", message);
    const parsed = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    assertEquals(bytes.byteLength <= 4096, true);
    assertEquals(bytes.byteLength > 4080, true, `only ${bytes.byteLength} bytes are used`);
    assertEquals(parsed.message.endsWith("…"), true);
    assertEquals(message.startsWith(parsed.message.slice(0, -1)), true);
  }
  assertEquals(encodeError("internal", "x".repeat(5000)).byteLength, 4096);
  assertEquals(parseError(encodeError("internal", "x".repeat(5000))).code, "internal");
  const exact = "x".repeat(4096 - '{"code":"io","message":""}'.length);
  assertEquals(encodeError("io", exact).byteLength, 4096);
  assertEquals(JSON.parse(new TextDecoder().decode(encodeError("io", exact))).message, exact);
});

Deno.test("an error message that is none is a protocol error", () => {
  const bad = [
    "",
    "null",
    "1",
    "[]",
    "{}",
    '{"code":"io"}',
    '{"message":"m"}',
    '{"code":1,"message":"m"}',
    '{"code":"io"',
  ];
  bad.push('{"code":"io","message":null}');
  for (const text of bad) {
    assertDipcError("protocol", "the server's error message", () => parseError(new TextEncoder().encode(text)));
  }
  assertDipcError("protocol", "not JSON in UTF-8", () => parseError(hex("7b22636f6465223a22ff227d")));
  assertDipcError(
    "protocol",
    "at most 4096 bytes are allowed, found 4097",
    () => parseError(new Uint8Array(4097).fill(0x20)),
  );
  assertDipcError("protocol", "at most 5 bytes", () => parseError(encodeError("io", "x"), 5));
});

Deno.test("an error message cannot steer a terminal, and an unknown code becomes a protocol error", () => {
  const text = JSON.stringify({ code: "new\u001bcode", message: "a\u001b[2Jb\u0007\u009bc\u202ed\r\n" });
  const parsed = parseError(new TextEncoder().encode(text));
  assertEquals(parsed, { code: "new\\u001bcode", message: "a\\u001b[2Jb\\u0007\\u009bc\\u202ed " });
  const error = peerError(parsed);
  assertEquals([error.code, error.message], [
    "protocol",
    'cannot receive the stream: the server answered with the unknown error code "new\\u001bcode": a\\u001b[2Jb\\u0007\\u009bc\\u202ed ',
  ]);
  assertEquals(peerError({ code: "toString", message: "m" }).code, "protocol");
  assertEquals(
    parseError(new TextEncoder().encode(JSON.stringify({ code: "x".repeat(100), message: "" }))).code.length,
    64,
  );
});
