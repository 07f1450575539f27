/**
 * A program that is suspended while it waits. As `reader LOCATION` it reads a stream with a time-out of 1 s, and prints "waiting"
 * after the first batch, "whole" after the last. As `server` it serves uploads with a time-out of 1 s for requests, prints its
 * location, and how many batches each upload had.
 *
 * @module
 */
import { FlightClient, serveFlight } from "../../../flight.ts";

const TIMEOUT_MS = 1000;

const [role, location] = Deno.args;
if (role === "reader") {
  await using client = await FlightClient.connect(location, { timeoutMs: TIMEOUT_MS });
  await using reader = await client.doGet("x");
  await reader.next();
  console.log("waiting");
  while (!(await reader.next()).done);
  console.log("whole");
} else {
  const server = await serveFlight({
    limits: { requestTimeoutMs: TIMEOUT_MS, idleTimeoutMs: TIMEOUT_MS },
    handlers: {
      async doPut(upload) {
        console.log("begun");
        let batches = 0;
        for await (const item of upload) {
          if (item.message?.header.kind === "batch") batches++;
          item.message?.body?.release();
        }
        console.log(`${batches} batches`);
      },
    },
  });
  console.log(server.location);
}
