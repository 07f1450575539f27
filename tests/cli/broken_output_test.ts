/** Commands whose standard output, standard error or trace cannot be written. */
import { assertEquals, assertMatch } from "@std/assert";
import { tripsBytes } from "../support/cli_data.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { dipc, serve, type StartOptions, startWithFlags } from "../support/processes.ts";

/** Runs a command with one of its outputs on a disk that is full. */
function onFullDisk(output: ">" | "2>"): StartOptions {
  return { within: ["bash", "-c", `exec "$@" ${output}/dev/full`, "bash"] };
}

Deno.test("get says that it cannot write to standard output, and why", async () => {
  using folder = new TemporaryFolder();
  const trips = folder.file("trips.arrow");
  Deno.writeFileSync(trips, tripsBytes("file"));
  for (const args of [["get", trips], ["get", trips, "-o", "-", "--format", "csv"], ["--help"]]) {
    const { code, stderr } = await dipc(args, onFullDisk(">"));
    assertEquals(code, 1, stderr);
    assertMatch(stderr, /^error\[io\]: cannot write to standard output: No space left .*; write it elsewhere$/m);
  }
});

Deno.test("a server goes on though its log cannot be written", async () => {
  using folder = new TemporaryFolder();
  const trips = folder.file("trips.arrow");
  Deno.writeFileSync(trips, tripsBytes("file"));
  await using server = await serve([trips, "--flight-port", "0", "--no-ucx"], onFullDisk("2>"));
  for (let i = 0; i < 2; i++) {
    const { stderr } = await dipc(["get", server.info.flight!, "no-such-flight"]);
    assertMatch(stderr, /^error\[not_found\]: .*this server has none of that name/);
  }
  assertEquals((await dipc(["get", server.info.flight!, "trips", "--json"])).code, 0);
});

Deno.test("a trace that cannot be written is refused before the command begins, with what helps", async () => {
  using folder = new TemporaryFolder();
  const trips = folder.file("trips.arrow");
  Deno.writeFileSync(trips, tripsBytes("file"));
  const inNoFolder = await dipc(["get", trips, "--trace", folder.file("none/trace.json")]);
  assertMatch(inNoFolder.stderr, /^error\[not_found\]: cannot write ".*none\/trace\.json": its folder does not exist/);
  assertEquals([inNoFolder.code, inNoFolder.stdout], [1, ""]);
  const flags = ["--no-prompt", "--allow-read", "--allow-ffi", "--allow-env"];
  const denied = await startWithFlags(flags, ["get", trips, "--trace", folder.file("trace.json")], folder.path).outcome;
  assertMatch(denied.stderr, /^error\[permission_denied\]: cannot write the trace .*; run again with --allow-write=/);
  assertEquals([denied.code, denied.stdout], [1, ""]);
});
