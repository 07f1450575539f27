/** Which host a server names: never a wildcard address, which every client takes for its own machine. */
import { assert, assertEquals } from "@std/assert";
import { advertisedHost, isWildcardHost, reachableHost } from "../src/reachable_host.ts";
import { assertDipcError } from "./support/assert.ts";

const WILDCARDS = [
  "0.0.0.0",
  "0",
  "0.0",
  "000.0.0.0",
  "::",
  "::0",
  "0:0:0:0:0:0:0:0",
  "::0.0.0.0",
  "::ffff:0.0.0.0",
  "",
];

function approach(authority: string, localAddress = ""): { authority: string; localAddress: string } {
  return { authority, localAddress };
}

Deno.test("every way to write a wildcard address is known, and cannot be advertised", async () => {
  for (const host of WILDCARDS) {
    assert(isWildcardHost(host), host);
    await assertDipcError("invalid_argument", "cannot advertise", () => advertisedHost(host));
  }
  for (
    const host of ["127.0.0.1", "10.0.0.0", "::1", "fe80::", "0.example", "localhost", "::ffff:127.0.0.1", "0.0.0.1"]
  ) {
    assert(!isWildcardHost(host), host);
    assertEquals(advertisedHost(host), host);
  }
  assertEquals(advertisedHost(undefined), undefined);
});

Deno.test("a server that is bound to one address names it, whatever the client requested", () => {
  assertEquals(reachableHost("10.1.2.3", "both", approach("db.example:80", "10.1.2.3")), { host: "10.1.2.3" });
});

Deno.test("a server that is bound to all addresses names the host and port that the client requested", () => {
  for (
    const [authority, host, port] of [
      ["db.example:8815", "db.example", 8815],
      ["db.example:80", "db.example", 80],
      ["db.example", "db.example", undefined],
      ["10.1.2.3:9000", "10.1.2.3", 9000],
    ] as const
  ) {
    assertEquals(reachableHost("0.0.0.0", "one", approach(authority)), { host, port }, authority);
  }
  assertEquals(reachableHost("::", "both", approach("[2001:db8::5]:1")), { host: "2001:db8::5", port: 1 });
  assertEquals(reachableHost("::", "both", approach("10.1.2.3:1")), { host: "10.1.2.3", port: 1 });
});

Deno.test("a requested host that cannot be meant gives way to the address of the connection", () => {
  for (
    const authority of [
      "",
      "0.0.0.0:1",
      "[::]:1",
      "[::1]:1",
      "a/b",
      "user@host",
      "a b",
      "host:99999",
      "host:0",
      "host:-1",
      "host:4294967296",
      "x?y",
      "x#y",
    ]
  ) {
    assertEquals(reachableHost("0.0.0.0", "one", approach(authority, "10.9.8.7")), { host: "10.9.8.7" }, authority);
  }
  assertEquals(reachableHost("0.0.0.0", "one", approach("", "::ffff:10.9.8.7")), { host: "10.9.8.7" });
  assertEquals(reachableHost("::", "one", approach("10.1.2.3:1", "2001:db8::5")), { host: "2001:db8::5" });
});

Deno.test("without a client the machine's own address is named, and no wildcard ever", () => {
  for (const bound of WILDCARDS) {
    for (const families of ["one", "both"] as const) {
      const { host } = reachableHost(bound, families);
      assert(!isWildcardHost(host) && !host.startsWith("fe80:"), `${bound}: ${host}`);
    }
  }
});
