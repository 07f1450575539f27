/**
 * Bodies of type 1 and the handshake for shared memory: bytes written out by hand, and every number that can be wrong.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  addressListBytes,
  encodeFreed,
  MAX_FREED,
  parseAddressList,
  parseFreed,
  writeAddressList,
} from "../../src/protocol/address_list.ts";
import { encodeError } from "../../src/protocol/envelope.ts";
import {
  encodeGranted,
  encodeHello,
  encodeRefused,
  parseAnswer,
  parseHello,
} from "../../src/protocol/share_handshake.ts";
import { BODY_ADDRESSES, encodeTag, tagBodyType } from "../../src/protocol/tag.ts";
import { assertDipcError } from "../support/assert.ts";
import { hex, join, utf8 } from "../support/bytes.ts";

/** Two columns: no validity, 24 bytes of values; 3 bytes of validity, no values. */
const BUFFERS = [0, 0, 0, 24, 64, 3, 128, 0];
const BODY = { bodyLength: 128, buffers: BUFFERS };
const RANGE = { base: 0x10000n, byteLength: 0x1000 };

/** A list with these pairs. */
function list(total: bigint, count: bigint, ...pairs: readonly bigint[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(BigUint64Array.of(total, count, ...pairs).buffer);
}

/** The pairs of a list that is right: the body at offset 0x100. */
const RIGHT = [0n, 0n, 0x10100n, 24n, 0x10140n, 3n, 0n, 0n] as const;
const changed = (index: number, value: bigint) => RIGHT.map((each, i) => i === index ? value : each);

Deno.test("a body of type 1 has bit 56 of its tag set, and is the total, the count and a pair per buffer", () => {
  assertEquals(encodeTag(7, BODY_ADDRESSES), 0x0100000000000007n);
  assertEquals(tagBodyType(0x0100000000000007n), 1);
  const target = new Uint8Array(addressListBytes(4));
  writeAddressList(target, 0x10100n, BUFFERS);
  assertEquals(
    target,
    hex(`1b00000000000000 0400000000000000
         0000000000000000 0000000000000000  0001010000000000 1800000000000000
         4001010000000000 0300000000000000  0000000000000000 0000000000000000`),
  );
  assertEquals(target, list(27n, 4n, ...RIGHT));
  assertEquals(parseAddressList(target, BODY, RANGE), {
    offsets: Float64Array.of(0, 0x100, 0x140, 0),
    packedAt: 0x100,
  });
});

Deno.test("a list whose buffers lie otherwise than in a packed body is read, and so is one that lists a buffer twice", () => {
  const apart = parseAddressList(list(27n, 4n, ...changed(4, 0x10800n)), BODY, RANGE);
  assertEquals(apart, { offsets: Float64Array.of(0, 0x100, 0x800, 0), packedAt: -1 });
  const twice = { bodyLength: 128, buffers: [0, 24, 64, 24] };
  const pairs = [0x10100n, 24n, 0x10100n, 24n];
  assertEquals(parseAddressList(list(48n, 2n, ...pairs), twice, RANGE).packedAt, -1);
  // The last bytes of the memory: the padding of a packed body would lie outside.
  const last = parseAddressList(list(24n, 1n, 0x10FE8n, 24n), { bodyLength: 64, buffers: [0, 24] }, RANGE);
  assertEquals(last, { offsets: Float64Array.of(0xFE8), packedAt: -1 });
  const nothing = parseAddressList(list(0n, 0n), { bodyLength: 8, buffers: [] }, RANGE);
  assertEquals(nothing, { offsets: new Float64Array(0), packedAt: -1 });
});

Deno.test("a list that does not agree with the metadata or the memory is refused before anything is read there", () => {
  const cases: [name: string, list: Uint8Array, message: string][] = [
    ["no head", new Uint8Array(15), "has 15 bytes"],
    ["count 0", list(27n, 0n, ...RIGHT), "is for 0 buffers"],
    ["count 2^32", list(27n, 2n ** 32n, ...RIGHT), "is for 4294967296 buffers"],
    ["count 2^64 - 1", list(27n, 2n ** 64n - 1n, ...RIGHT), "is for 18446744073709551615 buffers"],
    ["a pair too few", list(27n, 4n, ...RIGHT.slice(2)), "has 64 bytes, expected 80"],
    ["a byte too many", join(list(27n, 4n, ...RIGHT), new Uint8Array(1)), "has 81 bytes"],
    ["total", list(28n, 4n, ...RIGHT), "its total is 28"],
    ["total 2^64 - 1", list(2n ** 64n - 1n, 4n, ...RIGHT), "its total is"],
    ["another length", list(28n, 4n, ...changed(3, 25n)), "has 25 bytes"],
    ["length 2^63", list(27n, 4n, ...changed(3, 2n ** 63n)), "has 9223372036854775808 bytes"],
    ["before the memory", list(27n, 4n, ...changed(2, 0xFFF8n)), "is not inside"],
    ["after the memory", list(27n, 4n, ...changed(2, 0x10FF0n)), "is not inside"],
    ["far outside", list(27n, 4n, ...changed(2, 2n ** 64n - 8n)), "is not inside"],
    ["misaligned", list(27n, 4n, ...changed(2, 0x10104n)), "is not aligned"],
    ["overlap", list(27n, 4n, ...changed(4, 0x10110n)), "overlap"],
    ["an address of nothing", list(27n, 4n, ...changed(0, 0x10100n)), "no bytes, but the address"],
  ];
  for (const [name, bytes, message] of cases) {
    assertDipcError("protocol", message, () => parseAddressList(bytes, BODY, RANGE), name);
  }
});

Deno.test("free_data is one or more addresses", () => {
  assertEquals(encodeFreed([0x10100n, 2n ** 64n - 1n]), hex("0001010000000000 ffffffffffffffff"));
  assertEquals([...parseFreed(hex("0001010000000000 ffffffffffffffff"))], [0x10100n, 2n ** 64n - 1n]);
  for (const length of [0, 1, 7, 9, 8 * MAX_FREED + 8]) {
    assertDipcError("protocol", `has ${length} bytes`, () => parseFreed(new Uint8Array(length)));
  }
  assertDipcError("invalid_argument", "number of addresses", () => encodeFreed([]));
  assertDipcError("invalid_argument", "not a u64", () => encodeFreed([2n ** 64n]));
});

const NONCE = Uint8Array.from({ length: 16 }, (_, i) => i);

Deno.test("the hello and the answers of the handshake have these bytes", () => {
  const hello = hex("4449505301000000 000102030405060708090a0b0c0d0e0f 05000000 7472697073");
  assertEquals(encodeHello({ nonce: NONCE, ticket: utf8("trips"), kind: "host" }), hello);
  assertEquals(parseHello(hello), { nonce: NONCE, ticket: utf8("trips"), kind: "host" });
  const granted = hex("4449505301000000 0100000000000000 0000010000000000 0010000000000000");
  const facts = { generation: 1n, base: 0x10000n, byteLength: 0x1000 };
  assertEquals(encodeGranted(facts), granted);
  assertEquals(parseAnswer(granted), facts);
  const refused = join(hex("4449505301010000"), utf8('{"code":"busy","message":"later"}'));
  assertEquals(encodeRefused(encodeError("busy", "later")), refused);
  assertEquals(parseAnswer(refused), { code: "busy", message: "later" });
});

Deno.test("a hello or an answer that is not what it should be is refused", () => {
  const hello = encodeHello({ nonce: NONCE, ticket: utf8("trips"), kind: "host" });
  const granted = encodeGranted({ generation: 1n, base: 0x10000n, byteLength: 0x1000 });
  const with_ = (bytes: Uint8Array, at: number, ...values: number[]) => {
    const copy = bytes.slice();
    copy.set(values, at);
    return copy;
  };
  for (const bytes of [new Uint8Array(0), hello.slice(0, 27), with_(hello, 0, 0x45), with_(hello, 4, 2)]) {
    assertDipcError("protocol", "cannot read a hello", () => parseHello(bytes));
  }
  for (const length of [0, 4, 6, 255]) {
    assertDipcError("protocol", `declares a ticket of ${length} bytes`, () => parseHello(with_(hello, 24, length)));
  }
  const all = [255, 255, 255, 255, 255, 255, 255, 255];
  const answers: [bytes: Uint8Array, message: string][] = [
    [granted.slice(0, 7), "cannot read an answer"],
    [with_(granted, 4, 2), "cannot read an answer"],
    [with_(granted, 5, 2), "has the status 2"],
    [granted.slice(0, 24), "24 bytes"],
    [join(granted, new Uint8Array(8)), "40 bytes"],
    [with_(granted, 24, 0, 0), "memory of 0 bytes"],
    [with_(granted, 24, ...all), "cannot be"],
    [with_(granted, 16, ...all), "cannot be"],
    [with_(granted, 5, 1), "not JSON"],
  ];
  for (const [bytes, message] of answers) assertDipcError("protocol", message, () => parseAnswer(bytes));
});
