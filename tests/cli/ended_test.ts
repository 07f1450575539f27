/** Commands that are ended in the middle of what they do. */
import { assert, assertEquals } from "@std/assert";
import { tripsBytes, writeWideFile } from "../support/cli_data.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { CLI, startDipc } from "../support/processes.ts";
import { until } from "../support/time.ts";
import { HeldStream } from "./support/held_stream.ts";

/** Longest wait for a command to end, in milliseconds. */
const PATIENCE_MS = 30_000;

for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 1]] as const) {
  Deno.test(`${signal} ends get though nobody takes what it writes to standard output: exit status ${status}`, async () => {
    using folder = new TemporaryFolder();
    writeWideFile(folder.file("wide.arrows"), 4);
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", CLI, "get", folder.file("wide.arrows"), "-o", "-"],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const output = child.stdout.getReader();
    await output.read(); // it has begun, and the pipe has room for little of the rest
    child.kill(signal);
    const late = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
    const ended = await child.status;
    clearTimeout(late);
    await output.cancel();
    const stderr = await new Response(child.stderr).text();
    assertEquals([ended.code, ended.signal], [status, null], stderr);
    assert(stderr.startsWith("error[cancelled]: ended by "), stderr);
  });
}

Deno.test("a command at a silent server says what ended it, with --json in its object too", async () => {
  using folder = new TemporaryFolder();
  const trips = folder.file("trips.arrow");
  Deno.writeFileSync(trips, tripsBytes("file"));
  using silent = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const uri = `grpc://127.0.0.1:${silent.addr.port}`;
  const commands = [
    ["ls", uri],
    ["action", uri],
    ["schema", `${uri}/trips`],
    ["put", trips, uri],
    ...[["delete from trips"], ["select 1"], ["select 1", "--explain"], ["--tables"]].map((
      args,
    ) => ["sql", uri, ...args]),
  ];
  for (const [signal, word, status] of [["SIGINT", "Ctrl-C", 130], ["SIGTERM", "SIGTERM", 1]] as const) {
    for (const args of commands) {
      await using running = startDipc([...args, "--json"]);
      using _connection = await silent.accept(); // it listens to signals by now
      running.kill(signal);
      const { code, stdout, stderr } = await running.outcome;
      assertEquals(code, status, `${args}`);
      assert(stderr.startsWith(`error[cancelled]: ended by ${word}`), `${args}: ${stderr}`);
      assertEquals(JSON.parse(stdout).error.code, "cancelled", `${args}`);
    }
  }
});

testNeeding(
  [needsUcx],
  "a command that is killed leaves a trace of what it has done, for a viewer to show",
  async () => {
    using folder = new TemporaryFolder();
    await using held = await HeldStream.open();
    const trace = folder.file("trace.json");
    await using client = startDipc(["get", held.uri, "-o", folder.file("part.arrows"), "--trace", trace]);
    const text = (): string => Deno.readTextFileSync(trace);
    await until(() => client.ended || [...Deno.readDirSync(folder.path)].some(({ name }) => name === "trace.json"));
    await until(() => client.ended || text().includes("dipc.batch"));
    client.kill("SIGKILL");
    await client.outcome;
    // What viewers add themselves.
    const events = JSON.parse(`${text()}]`) as { name: string }[];
    assertEquals([events[0].name, events.some(({ name }) => name === "dipc.batch")], ["process_name", true]);
  },
);
