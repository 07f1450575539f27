/** The log of `dipc serve`: each failure of a client is in it, with connection, dataset and cause, by either route. */
import { assertEquals, assertMatch } from "@std/assert";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { startDipc } from "../support/processes.ts";

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
