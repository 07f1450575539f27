/** `dipc doctor`, `dipc setup`, `dipc bench`, and command lines that name none of them. */
import { assert, assertEquals, assertGreater, assertMatch, assertStringIncludes } from "@std/assert";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { dipc } from "../support/processes.ts";

testNeeding([needsUcx], "doctor names the libucp in use and moves data through it", async () => {
  const { code, stdout, stderr } = await dipc(["doctor"]);
  assertEquals([code, stderr], [0, ""]);
  assertMatch(stdout, /^dipc +\d+\.\d+\.\d+, deno \d/m);
  assertMatch(stdout, /^libucp +\d+\.\d+\.\d+ at \S*libucp/m);
  assertMatch(stdout, /^transfer +[\d.]+ MB inside this process in .+\/s over \w+/m);
  assertStringIncludes(stdout, "All is well.");
});

testNeeding(
  [needsUcx],
  "doctor --json prints one object with library, permissions, settings and transfer",
  async () => {
    const { code, stdout } = await dipc(["doctor", "--json"], { env: { UCX_RNDV_THRESH: "inf", UCX_TLS: "tcp" } });
    const facts = JSON.parse(stdout);
    assertEquals([code, facts.ok], [0, true]);
    assertGreater(facts.loopback.bytesPerSecond, 0);
    // UCX 1.13 does not tell.
    assertEquals(facts.loopback.transports, facts.library.version.startsWith("1.13") ? [] : ["tcp"]);
    assertEquals([facts.settings.UCX_RNDV_THRESH, facts.settings.UCX_TLS], ["inf", "tcp"]);
    assert(facts.warnings.some((text: string) => text.includes("UCX_RNDV_THRESH")), JSON.stringify(facts.warnings));
    assertEquals(facts.permissions.ffi, "granted");
    assertEquals(facts.sharing, { works: true, reason: "", remoteKeys: "fetched" });
    assert(["system", "setup", "option", "DIPC_LIBUCP"].includes(facts.library.origin), facts.library.origin);
  },
);

testNeeding([needsUcx], "doctor ends with 1 where UCX cannot work, and says why", async () => {
  const broken = await dipc(["doctor", "--json"], { env: { UCX_TLS: "nonsense" } });
  assertEquals(broken.code, 1);
  const facts = JSON.parse(broken.stdout);
  assertEquals([facts.ok, facts.loopback, facts.error.code], [false, null, "ucx"]);
  assertMatch(broken.stderr, /^error\[ucx\]: /m);
});

Deno.test("doctor ends with 1 if there is no libucp, and says what to do", async () => {
  const { code, stdout, stderr } = await dipc(["doctor"], { env: { DIPC_LIBUCP: "/nonexistent/libucp.so.0" } });
  assertEquals(code, 1);
  assertMatch(stdout, /^libucp +none could be loaded/m);
  assertStringIncludes(stdout, "Something is broken");
  assertMatch(stderr, /^error\[library_not_found\]: /);
  assertStringIncludes(stderr, "/nonexistent/libucp.so.0");
  assertStringIncludes(stderr, "setup");
});

testNeeding([needsUcx], "setup has nothing to do where libucp is there, and says so", async () => {
  const text = await dipc(["setup"]);
  assertEquals(text.code, 0);
  assertMatch(text.stdout, /libucp \d+\.\d+\.\d+ at /);
  const json = await dipc(["setup", "--json"]);
  assertEquals(json.code, 0);
  const found = JSON.parse(json.stdout);
  assertEquals(found.downloaded, false);
  assertMatch(found.version, /^\d+\.\d+\.\d+$/);
});

for (
  const [args, text] of [
    [["srve"], "did you mean serve?"],
    [["frobnicate"], '"dipc --help" lists the commands'],
    [["doctor", "x"], "takes no argument"],
    [["setup", "--quick"], "has no option --quick"],
    [["bench", "--quik"], "did you mean --quick?"],
    [["bench", "x"], "takes no argument"],
    [["schema"], "needs a URI"],
    [["help", "srve"], "did you mean serve?"],
    [["--jsn"], "cannot run dipc --jsn: there is no such command"],
  ] as const
) {
  Deno.test(`usage error, exit status 2: dipc ${args.join(" ")}`, async () => {
    const { code, stdout, stderr } = await dipc(args);
    assertEquals([code, stdout], [2, ""]);
    assertMatch(stderr, /^error\[invalid_argument\]: /);
    assertStringIncludes(stderr, text);
  });
}

Deno.test("without a command: help on standard error, exit status 2; with --help on standard output, exit status 0", async () => {
  const none = await dipc([]);
  assertEquals([none.code, none.stdout], [2, ""]);
  assertStringIncludes(none.stderr, "Usage");
  for (const args of [["--help"], ["-h"], ["help"]]) {
    const help = await dipc(args);
    assertEquals([help.code, help.stdout, help.stderr], [0, none.stderr, ""]);
  }
  for (const args of [["get", "--help"], ["get", "-h"], ["help", "get"], ["get", "ucx://x", "--help"]]) {
    const help = await dipc(args);
    assertEquals([help.code, help.stderr], [0, ""]);
    assertMatch(help.stdout, /^dipc get URI \[TICKET\] \[options\]\n/);
  }
  assertMatch((await dipc(["--version"])).stdout, /^dipc \d+\.\d+\.\d+ \(deno \d+\.\d+\.\d+\)\n$/);
});
