/** The log of `dipc serve`: each failure of a client is in it, with connection, dataset and cause, by either route. */
import { assertEquals, assertMatch } from "@std/assert";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { FlightClient } from "../../flight.ts";
import { tripsBytes } from "../support/cli_data.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { serve, startDipc } from "../support/processes.ts";

testNeeding(
  [needsUcx],
  "the log of a server has connection, dataset and cause of every failure, by either route",
  async () => {
    const program = `${ROOT}/tests/cli/support/log_program.ts`;
    const { code, stderr } = await startDipc([], { program, timeoutMs: 60_000 }).outcome;
    assertEquals(code, 0, stderr);
    for (const route of ["", "Flight, "]) {
      const method = route === "" ? "" : "DoGet, ";
      for (
        const [name, text] of [
          ["relayed", "error\\[connection_lost\\]: PLACE: cannot read from far away: 10.1.2.3 has closed"],
          ["stopped", "error\\[cancelled\\]: PLACE: cannot read from far away: it stopped"],
          ["wrapped", "error\\[io\\]: PLACE: cannot read the disk\\n  caused by: sector 7 is bad"],
          ["broken", "error\\[internal\\]: PLACE: .*undefined is not a dataset\\n  at .*log_program.ts:\\d+"],
          ["odd", "error\\[internal\\]: PLACE: .*a value of type object"],
        ]
      ) {
        const place = `${route}connection \\d+, ${method}dataset ${name}`;
        assertMatch(stderr, new RegExp(`^${text.replace("PLACE", place)}`, "m"));
      }
    }
    assertMatch(stderr, /^error\[cancelled\]: Flight, connection 1, DoAction: cannot ask the far away/m);
  },
);

Deno.test("names that clients choose are one line of the log, and a command in binary is not in it", async () => {
  using folder = new TemporaryFolder();
  Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
  await using server = await serve([folder.file("trips.arrow"), "--flight-port", "0", "--no-ucx"]);
  await using client = await FlightClient.connect(server.info.flight!);
  // As a statement of Flight SQL is packed.
  const command = new TextEncoder().encode("\n\x08type/Any\x12\x0e\x0a\x0cselect secret");
  for (const descriptor of [{ command }, { path: "a\nerror[io]: forged" }, { command: "all trips" }]) {
    await client.getFlightInfo(descriptor).catch(() => {});
  }
  server.running.kill("SIGTERM");
  const { stderr } = await server.running.outcome;
  const lines = stderr.trimEnd().split("\n");
  assertEquals(lines.length, 3, stderr);
  assertMatch(
    lines[0],
    /^error\[not_found\]: Flight, connection 1, GetFlightInfo: cannot find the flight with that command/,
  );
  assertMatch(
    lines[1],
    /^error\[not_found\]: Flight, connection 1, GetFlightInfo, dataset a error\[io\]: forged: cannot/,
  );
  assertMatch(lines[2], /^error\[not_found\]: Flight, connection 1, GetFlightInfo, dataset all trips: cannot/);
});
