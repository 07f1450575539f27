/**
 * Lists of addresses: bytes written out by hand, and everything that is wrong with one.
 *
 * @module
 */
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { DipcError } from "../../src/errors.ts";
import { encodeAddressList, encodeFreeList, parseAddressList, parseFreeList } from "../../src/protocol/address_list.ts";

const hex = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(text.replaceAll(/\s+/g, "").match(/../g) ?? [], (pair) => parseInt(pair, 16));
function refused(code: string, text: string, call: () => unknown): void {
  const error = assertThrows(call, DipcError) as DipcError;
  assertEquals(error.code, code, error.message);
  assertStringIncludes(error.message, text);
}
/** 72 bytes in two buffers. */
const LIST = "4800000000000000 0200000000000000  0010000000000000 0800000000000000  000000000000f07f 4000000000000000";

Deno.test("a type-1 body is total, count, then address and length of each buffer", () => {
  assertEquals(encodeAddressList(72, [0x1000n, 0x7FF0000000000000n], [8, 64]), hex(LIST));
  assertEquals(encodeAddressList(0, [], []), hex("0000000000000000 0000000000000000"));
  const list = parseAddressList(hex(LIST));
  assertEquals([list.totalBytes, [...list.addresses], [...list.lengths]], [72, [0x1000n, 0x7FF0000000000000n], [
    8,
    64,
  ]]);
  assertEquals(parseAddressList(hex("0000000000000000 0000000000000000")).addresses.length, 0);
  assertEquals(parseAddressList(hex(LIST), { maxBuffers: 2 }).addresses.length, 2);
  assertEquals(parseAddressList(hex("ffffffffffff1f00 0000000000000000")).totalBytes, Number.MAX_SAFE_INTEGER);
  const edges = hex(
    "0100000000000000 0200000000000000 0000000000000000 0000000000000000 ffffffffffffffff 0100000000000000",
  );
  assertEquals(encodeAddressList(1, [0n, 2n ** 64n - 1n], [0, 1]), edges);
  const shifted = new Uint8Array(49);
  shifted.set(hex(LIST), 1);
  assertEquals(parseAddressList(shifted.subarray(1)).totalBytes, 72, "at an odd address");
  assertEquals(
    parseAddressList(hex("ff00000000000000 0100000000000000 0000000000000000 0800000000000000")).totalBytes,
    255,
  );
});

Deno.test("a type-1 body of another length than its count says is refused", () => {
  for (const size of [0, 8, 15]) {
    refused("protocol", `at least 16 bytes, found ${size}`, () => parseAddressList(hex(LIST).subarray(0, size)));
  }
  for (const size of [16, 32, 47]) {
    refused("protocol", `need 48 bytes, found ${size}`, () => parseAddressList(hex(LIST).subarray(0, size)));
  }
  refused("protocol", "need 48 bytes, found 49", () => parseAddressList(hex(LIST + "00")));
  refused("limit_exceeded", "at most 1 are allowed, found 2", () => parseAddressList(hex(LIST), { maxBuffers: 1 }));
  refused(
    "limit_exceeded",
    "found 18446744073709551615",
    () => parseAddressList(hex("0000000000000000 ffffffffffffffff")),
  );
  refused(
    "limit_exceeded",
    "at most 1048576 are allowed",
    () => parseAddressList(hex("0000000000000000 0100100000000000")),
  );
});

Deno.test("a type-1 body whose numbers do not fit is refused", () => {
  const one = (total: string, address: string, length: string) => hex(`${total} 0100000000000000 ${address} ${length}`);
  const max = "ffffffffffffffff";
  refused(
    "protocol",
    "18446744073709551615 bytes in total cannot be",
    () => parseAddressList(one(max, "00".repeat(8), max)),
  );
  refused(
    "protocol",
    "9007199254740992 bytes in total",
    () => parseAddressList(one("0000000000002000", "00".repeat(8), "00".repeat(8))),
  );
  refused(
    "protocol",
    "buffer 0 at 18446744073709551615 with 2 bytes ends beyond",
    () => parseAddressList(one("0800000000000000", max, "0200000000000000")),
  );
  assertEquals(parseAddressList(one("0100000000000000", max, "0100000000000000")).addresses[0], 2n ** 64n - 1n);
  refused(
    "protocol",
    "have 9 bytes, more than the total of 8",
    () => parseAddressList(one("0800000000000000", "00".repeat(8), "0900000000000000")),
  );
  const twice = hex(
    "0f00000000000000 0200000000000000 0000000000000000 0800000000000000 0000000000000000 0800000000000000",
  );
  refused("protocol", "buffers 0 to 1 have 16 bytes, more than the total of 15", () => parseAddressList(twice));
  refused(
    "protocol",
    "buffer 1 at 9218868437227405312 with 64 bytes ends beyond 4104",
    () => parseAddressList(hex(LIST), { regionBytes: 4104 }),
  );
  refused(
    "protocol",
    "buffer 0 at 4096 with 8 bytes ends beyond 4103",
    () => parseAddressList(hex(LIST), { regionBytes: 4103 }),
  );
});

Deno.test("a type-1 body with a number out of range is never written", () => {
  refused("invalid_argument", "1 addresses but 2 lengths", () => encodeAddressList(3, [0n], [1, 2]));
  for (const bad of [-1, 0.5, NaN, 2 ** 53]) {
    refused("invalid_argument", `it is ${bad}; give an integer`, () => encodeAddressList(bad, [], []));
    refused("invalid_argument", `it is ${bad}; give an integer`, () => encodeAddressList(0, [0n], [bad]));
  }
  refused("invalid_argument", "buffer 0 at -1", () => encodeAddressList(1, [-1n], [1]));
  refused("invalid_argument", "lies outside 64 bits", () => encodeAddressList(2, [2n ** 64n - 1n], [2]));
});

Deno.test("a free_data message is one or more addresses", () => {
  assertEquals(encodeFreeList([1n, 0xFFFFFFFFFFFFFFFFn]), hex("0100000000000000 ffffffffffffffff"));
  assertEquals([...parseFreeList(hex("0100000000000000 ffffffffffffffff"))], [1n, 2n ** 64n - 1n]);
  for (const size of [0, 7, 9, 12]) {
    refused("protocol", `found ${size} bytes`, () => parseFreeList(new Uint8Array(size)));
  }
  assertEquals(parseFreeList(encodeFreeList([0n, 1n]), 2).length, 2);
  refused("limit_exceeded", "at most 1 addresses are allowed, found 2", () => parseFreeList(new Uint8Array(16), 1));
  refused("invalid_argument", "at least one address", () => encodeFreeList([]));
  for (const bad of [-1n, 2n ** 64n]) {
    refused("invalid_argument", `it is ${bad}; give a bigint`, () => encodeFreeList([bad]));
  }
});
