/**
 * A process that was suspended for longer than its time-outs looks at what has arrived before it drops a peer that has done
 * nothing wrong: all its timers are due at once when it runs again, before the first socket is read.
 */
import { assertEquals } from "@std/assert";
import { FlightClient, serveFlight } from "../../flight.ts";
import { generated } from "../support/generated.ts";
import { ROOT } from "../support/paths.ts";
import { startDipc } from "../support/processes.ts";
import { delay } from "../support/time.ts";

const PROGRAM = `${ROOT}/tests/flight/support/suspended_program.ts`;
/** Longer than the programs' time-outs of 1 s. */
const SUSPENDED_MS = 2500;

Deno.test("a client that was suspended reads what the server has sent meanwhile", async () => {
  const { promise: suspended, resolve } = Promise.withResolvers<void>();
  await using server = await serveFlight({
    handlers: {
      doGet() {
        const inner = generated(2, 100);
        let count = 0;
        return {
          ...inner,
          async open() {
            const stream = await inner.open();
            return {
              async next() {
                if (++count === 2) await suspended;
                return await stream.next();
              },
              close: () => stream.close(),
            };
          },
        };
      },
    },
  });
  await using program = startDipc(["reader", server.location], { program: PROGRAM });
  assertEquals(await program.firstLine, "waiting");
  program.kill("SIGSTOP");
  resolve();
  await delay(SUSPENDED_MS);
  program.kill("SIGCONT");
  const { code, stdout, stderr } = await program.outcome;
  assertEquals([code, stdout, stderr], [0, "waiting\nwhole\n", ""]);
});

Deno.test("a server that was suspended takes the upload that has arrived meanwhile", async () => {
  await using program = startDipc(["server"], { program: PROGRAM });
  await using client = await FlightClient.connect((await program.firstLine)!, { timeoutMs: 20_000 });
  const dataset = generated(2, 100);
  let count = 0;
  const upload = client.put({ path: "x" }, {
    ...dataset,
    async open() {
      const stream = await dataset.open();
      return {
        async next() {
          if (++count === 2) {
            assertEquals(await program.nextLine(), "begun");
            program.kill("SIGSTOP");
            setTimeout(() => program.kill("SIGCONT"), SUSPENDED_MS);
          }
          return await stream.next();
        },
        close: () => stream.close(),
      };
    },
  });
  await upload;
  assertEquals(await program.nextLine(), "2 batches");
});
