/**
 * `ucx:` URIs: those of the reference server as they were seen, our own, and everything that is wrong with one.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { DipcError } from "../../src/errors.ts";
import { formatUri, groupLocations, parseUri } from "../../src/protocol/uri.ts";
import { assertDipcError } from "../support/assert.ts";

const text = (bytes: Uint8Array | null): string | null => bytes && new TextDecoder().decode(bytes);
const assertInvalid = (uri: string, message: string): void =>
  void assertDipcError("invalid_uri", message, () => parseUri(uri), uri);
const METADATA = "ucx://127.0.0.1:39297?want_data=18446741783881759408";
const BODY = "ucx://127.0.0.1:39297?want_data=15302358252208";

Deno.test("the reference server's URIs are read", () => {
  assertEquals(parseUri(METADATA), {
    host: "127.0.0.1",
    port: 39297,
    ticket: null,
    wantData: 0xFFFFFDEADBA0BAB0n,
    freeData: null,
    remoteHandle: null,
    role: null,
    dipc: false,
    keep: false,
    share: null,
  });
  assertEquals(parseUri(BODY).wantData, 0x00000DEADBA0BAB0n);
  assertEquals(formatUri({ host: "127.0.0.1", port: 39297, wantData: 0xFFFFFDEADBA0BAB0n }), METADATA);
  assertEquals(formatUri({ host: "127.0.0.1", port: 39297, wantData: 0x00000DEADBA0BAB0n }), BODY);
});

Deno.test("a URI with everything is read and written", () => {
  const uri = "ucx://[2001:db8::1]:65535/trips?want_data=18446744073709551615&free_data=9007199254740993" +
    "&remote_handle=+/+/&role=metadata&dipc=1&share=dipc-1%2B2";
  const parsed = parseUri(uri);
  assertEquals(parsed, {
    host: "2001:db8::1",
    port: 65535,
    ticket: new TextEncoder().encode("trips"),
    wantData: 18446744073709551615n,
    freeData: 9007199254740993n, // 2^53 + 1: lost if it passes through a number
    remoteHandle: new Uint8Array([0xFB, 0xFF, 0xBF]),
    role: "metadata",
    dipc: true,
    keep: false,
    share: "dipc-1+2",
  });
  assertEquals(formatUri(parsed), uri);
});

Deno.test("numbers survive up to 2^64 - 1", () => {
  for (const value of [0n, 1n, 2n ** 32n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n]) {
    assertEquals(parseUri(`ucx://h:1?want_data=${value}&free_data=${value}`).wantData, value);
    assertEquals(parseUri(`ucx://h:1?want_data=0&free_data=${value}`).freeData, value);
    assertEquals(formatUri({ host: "h", port: 1, wantData: value }), `ucx://h:1?want_data=${value}`);
  }
  for (
    const bad of [
      "",
      "-1",
      "+1",
      "1.0",
      "0x10",
      "1e3",
      "1n",
      "18446744073709551616",
      "99999999999999999999",
      " 1",
      "1_0",
    ]
  ) {
    assertInvalid(`ucx://h:1?want_data=${encodeURIComponent(bad)}`, "want_data is");
    assertInvalid(`ucx://h:1?want_data=1&free_data=${encodeURIComponent(bad)}`, "free_data is");
  }
  assertInvalid("ucx://h:1?want_data=000000000000000000001", "want_data is a decimal number");
});

Deno.test("in remote_handle a + stays a +, and both alphabets of base64 are read", () => {
  const handle = (value: string) => parseUri(`ucx://h:1?want_data=1&remote_handle=${value}`).remoteHandle;
  for (const value of ["+/+/", "-_-_", "%2B%2F%2B%2F"]) assertEquals(handle(value), new Uint8Array([0xFB, 0xFF, 0xBF]));
  assertEquals(handle("AQ=="), new Uint8Array([1]));
  assertEquals(handle("AQ"), new Uint8Array([1]));
  assertEquals(handle("AQI="), new Uint8Array([1, 2]));
  for (const value of ["", "A", "AQ=", "AQI==", "A=Q", "A%20Q=", "AQID=", "AAAAA", "=="]) {
    assertInvalid(`ucx://h:1?want_data=1&remote_handle=${value}`, "remote_handle is not base64");
  }
  const long = new Uint8Array(30_000).map((_, i) => i);
  const uri = formatUri({ host: "h", port: 1, wantData: 1n, remoteHandle: long });
  assertEquals(parseUri(uri).remoteHandle, long);
});

Deno.test("the path is the percent-encoded ticket", () => {
  const ticket = (path: string) => text(parseUri(`ucx://h:1${path}?want_data=1`).ticket);
  assertEquals(ticket(""), null);
  assertEquals(ticket("/"), null);
  assertEquals(ticket("/trips"), "trips");
  assertEquals(ticket("/a/b"), "a/b");
  assertEquals(ticket("/a%2Fb%20%C3%BC"), "a/b ü");
  assertEquals(ticket("/a+b"), "a+b");
  assertEquals(ticket("//"), "/");
  assertEquals(parseUri("ucx://h:1/%00%FF?want_data=1").ticket, new Uint8Array([0, 255]));
  for (const path of ["/%", "/%4", "/%GG", "/%4G", "/a%"]) {
    assertInvalid(`ucx://h:1${path}?want_data=1`, "two hexadecimal digits");
  }
  assertEquals(
    formatUri({ host: "h", port: 1, ticket: "a/b ü?#%", wantData: 1n }),
    "ucx://h:1/a%2Fb%20%C3%BC%3F%23%25?want_data=1",
  );
  for (const name of ["a", "a/b", "a b", "ü", "../x", "%41", "a+b", "x?y=z&w#v", "~-._"]) {
    const uri = formatUri({ host: "h", port: 1, ticket: name, wantData: 1n });
    assertEquals(text(parseUri(uri).ticket), name);
    assertEquals(text(parseUri(new URL(uri)).ticket), name, "also after URL has been at it");
  }
  for (const name of [".", ".."]) {
    assertDipcError("invalid_argument", "", () => formatUri({ host: "h", port: 1, ticket: name, wantData: 1n }));
  }
});

Deno.test("unknown parameters are ignored, known ones may come once", () => {
  assertEquals(parseUri("ucx://h:1?x=%zz&want_data=1&y&z=1&z=2&&=&=5").wantData, 1n);
  assertEquals(parseUri("ucx://h:1?want%5Fdata=5").wantData, 5n);
  for (const name of ["want_data=1", "free_data=1", "remote_handle=AQ==", "role=both", "dipc=1"]) {
    assertInvalid(
      `ucx://h:1?want_data=1&${name}&${name}`,
      `the parameter ${name === "want_data=1" ? "want_data" : name.split("=")[0]} is given twice`,
    );
  }
  assertInvalid("ucx://h:1?want_data=1&want%5Fdata=1", "the parameter want_data is given twice");
  assertInvalid("ucx://h:1", "want_data is missing");
  assertInvalid("ucx://h:1?WANT_DATA=1", "want_data is missing");
  assertInvalid("ucx://h:1?want_data", "want_data is a decimal number");
  assertInvalid("ucx://h:1?want_data=%3", "two hexadecimal digits");
});

Deno.test("dipc=1 and nothing else says that the server knows the envelope", () => {
  assertEquals(parseUri("ucx://h:1?want_data=1&dipc=1").dipc, true);
  for (const value of ["", "0", "2", "true", "01"]) {
    assertEquals(parseUri(`ucx://h:1?want_data=1&dipc=${value}`).dipc, false);
  }
});

Deno.test("roles are both, metadata and body", () => {
  for (const role of ["both", "metadata", "body"] as const) {
    assertEquals(parseUri(`ucx://h:1?want_data=1&role=${role}`).role, role);
  }
  for (const role of ["", "Both", "data", "both,body"]) {
    assertInvalid(`ucx://h:1?want_data=1&role=${role}`, "role must be both, metadata or body");
  }
});

Deno.test("hosts are names, IPv4 and bracketed IPv6 addresses", () => {
  const hosts = [
    "h",
    "node-1.example.org",
    "node_1",
    "127.0.0.1",
    "255.255.255.255",
    "0.0.0.0",
    "EXAMPLE",
    "a.b.",
    "1a",
  ];
  for (const host of hosts) assertEquals(parseUri(`ucx://${host}:1?want_data=1`).host, host);
  const v6 = [
    "::",
    "::1",
    "1::",
    "fe80::1:2",
    "1:2:3:4:5:6:7:8",
    "::ffff:10.0.0.1",
    "1:2:3:4:5:6:1.2.3.4",
    "2001:DB8::1",
  ];
  for (const host of v6) {
    const uri = `ucx://[${host}]:1?want_data=1`;
    assertEquals(parseUri(uri).host, host);
    assertEquals(formatUri({ host, port: 1, wantData: 1n }), uri);
  }
  const badV6 = [
    ...[
      "",
      ":",
      ":::",
      "1",
      "1::2::3",
      "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9",
      "12345::",
      "g::",
      "::1.2.3",
      "::1.2.3.256",
    ],
    ...[
      "1.2.3.4::",
      "1:2:3:4:5:6:7::8",
      "127.0.0.1",
      "fe80::1%25eth0",
      "::1.2.3.4:5",
      ":1::",
      "1:2:3:4:5:6:7:1.2.3.4",
      "::h.x",
    ],
  ];
  for (const host of badV6) {
    assertInvalid(`ucx://[${host}]:1?want_data=1`, "is not an IPv6 address");
    if (!host.includes(":")) continue;
    assertDipcError("invalid_argument", "", () => formatUri({ host, port: 1, wantData: 1n }));
  }
  for (
    const host of [
      "256.0.0.1",
      "1.2.3",
      "1.2.3.4.5",
      "01.2.3.4",
      "1",
      "a..b",
      "-a",
      "a-",
      ".a",
      "a%41",
      "a,b",
      "a".repeat(64),
      "1.2.3.4.",
    ]
  ) {
    assertInvalid(`ucx://${host}:1?want_data=1`, "is not a host name or IPv4 address");
    assertDipcError("invalid_argument", "", () => formatUri({ host, port: 1, wantData: 1n }));
  }
  assertInvalid(`ucx://${"a.".repeat(127)}a:1?want_data=1`, "is not a host name");
  assertEquals(parseUri(`ucx://${"a.".repeat(126)}a:1?want_data=1`).host.length, 253);
});

Deno.test("a port is needed, from 1 to 65535", () => {
  for (const port of ["0", "65536", "99999", "123456", "-1", "+1", "1x", "0x1"]) {
    assertInvalid(`ucx://h:${port}?want_data=1`, "a port is a number from 1 to 65535");
  }
  for (const authority of ["h", "h:", "[::1]", "[::1]:"]) {
    assertInvalid(`ucx://${authority}?want_data=1`, "the port is missing");
  }
  assertEquals(parseUri("ucx://h:65535?want_data=1").port, 65535);
  assertEquals(parseUri("ucx://h:1?want_data=1").port, 1);
  for (const port of [0, -1, 65536, 1.5, NaN]) {
    assertDipcError("invalid_argument", "", () => formatUri({ host: "h", port, wantData: 1n }));
  }
});

Deno.test("what is not a ucx: URI is refused with a hint", () => {
  assertInvalid("", "expected the scheme ucx:, found none");
  assertInvalid("127.0.0.1:1", "expected the scheme ucx:");
  assertInvalid("http://h:1?want_data=1", 'expected the scheme ucx:, found "http:"');
  assertInvalid("ucx:h:1?want_data=1", "expected ucx://host:port");
  assertInvalid("ucx://:1?want_data=1", "the host is missing");
  assertInvalid("ucx://?want_data=1", "the host is missing");
  assertInvalid("ucx://::1:1?want_data=1", "needs brackets");
  assertInvalid("ucx://[::1?want_data=1", "needs brackets");
  assertInvalid("ucx://[::1]x:1?want_data=1", "needs brackets");
  assertInvalid("ucx://me@h:1?want_data=1", "it has a user name");
  assertInvalid("ucx://h:1/a#b?want_data=1", "%23");
  for (const character of ["\n", " ", "\t", "\u0000", "ü", "\u2028", "😀", "\x7f"]) {
    assertInvalid(`ucx://h:1/${character}?want_data=1`, "must be percent-encoded");
  }
  assertInvalid(`ucx://h:1/${"a".repeat(65536)}?want_data=1`, "at most 65536 characters");
  assertEquals(parseUri("UCX://h:1?want_data=1").port, 1);
  const longest = "ucx://h:1/?want_data=1&x=".padEnd(65536, "y");
  assertEquals(parseUri(longest).wantData, 1n);
  assertInvalid(longest + "y", "at most 65536 characters are allowed, found 65537");
  const long = assertDipcError("invalid_uri", "", () => parseUri("http:" + "x".repeat(5000)));
  assertEquals(long.message.length < 500, true);
});

Deno.test("a number out of range is never written", () => {
  for (const value of [-1n, 2n ** 64n]) {
    for (const parts of [{ wantData: value }, { wantData: 1n, freeData: value }]) {
      assertDipcError("invalid_argument", "", () => formatUri({ host: "h", port: 1, ...parts }));
    }
  }
  // deno-lint-ignore no-explicit-any -- a caller without types
  assertDipcError("invalid_argument", "", () => formatUri({ host: "h", port: 1, wantData: 1 as any }));
  // deno-lint-ignore no-explicit-any -- a caller without types
  assertThrows(() => formatUri({ host: "h", port: 1, wantData: 1n, role: "x" as any }), DipcError, "cannot use role");
});

Deno.test("locations without roles are one server, or metadata then body", () => {
  assertEquals(groupLocations([]), []);
  assertEquals(groupLocations([METADATA]), [{ metadata: parseUri(METADATA), body: null }]);
  assertEquals(groupLocations([METADATA, BODY]), [{ metadata: parseUri(METADATA), body: parseUri(BODY) }]);
  assertEquals(groupLocations([BODY, METADATA]), [{ metadata: parseUri(BODY), body: parseUri(METADATA) }]);
  assertEquals(groupLocations(["grpc://h:1", METADATA, "http://x", new URL(BODY)]), [
    { metadata: parseUri(METADATA), body: parseUri(BODY) },
  ]);
  assertEquals(groupLocations(["grpc://h:1"]), []);
  assertThrows(() => groupLocations([METADATA, BODY, BODY]), DipcError, "add role=… to more than two locations");
});

Deno.test("locations with roles are alternatives in order", () => {
  const both = "ucx://a:1?want_data=1&role=both", other = "ucx://b:2?want_data=2&role=both";
  const metadata = "ucx://c:3?want_data=3&role=metadata", body = "ucx://d:4?want_data=4&role=body";
  const pair = { metadata: parseUri(metadata), body: parseUri(body) };
  assertEquals(groupLocations([both, other]), [
    { metadata: parseUri(both), body: null },
    { metadata: parseUri(other), body: null },
  ]);
  assertEquals(groupLocations([metadata, body]), [pair]);
  assertEquals(groupLocations([body, metadata]), [pair]);
  assertEquals(groupLocations([both, metadata, body, other]).map((each) => each.body === null), [true, false, true]);
  assertEquals(groupLocations([metadata, body, body, metadata]), [pair, pair]);
  const wrong = [[metadata], [body], [metadata, both, body], [metadata, metadata], [body, body], [
    metadata,
    body,
    metadata,
  ]];
  for (const uris of wrong) assertThrows(() => groupLocations(uris), DipcError, "next to it");
  assertThrows(() => groupLocations([both, METADATA]), DipcError, "it has no role");
  assertThrows(() => groupLocations(["ucx://h:1"]), DipcError, "want_data is missing");
});
