/**
 * A server of datasets with a Flight side, in a process of its own.
 *
 *     flight_server_program.ts SETTINGS_AS_JSON
 *
 * Prints one line of JSON, `{"location", "uris"}`; then answers every line of standard input with what it holds.
 *
 * @module
 */
import { tableFromArrays } from "apache-arrow";
import { fromTable, serve } from "../../../mod.ts";
import { repeat } from "../../support/repeat.ts";
import { hostPool } from "../../../src/memory/host_pool.ts";

const { limits, ucx = "off" } = JSON.parse(Deno.args[0]);
const numbers = await fromTable(tableFromArrays({ n: Float64Array.from({ length: 131_072 }, (_, i) => i) }));
const server = await serve({
  // Batches of 1 MiB: "numbers" ends, "endless" does not.
  datasets: { numbers: repeat(numbers, 4), endless: repeat(numbers, Infinity) },
  flight: {
    ucx,
    limits,
    allowPut: true,
    handlers: {
      async *handshake(payloads) {
        for await (const payload of payloads) yield payload;
      },
      async doExchange(exchange) {
        for await (const { message } of exchange) message?.body?.release();
      },
    },
  },
});
const errors: string[] = [];
server.flight!.addEventListener("error", (event) => {
  const { error } = (event as CustomEvent).detail;
  errors.push(error.code);
});

const answer = (value: unknown) => console.log(JSON.stringify(value));
answer({ location: server.flight!.location, uris: server.datasets.map(({ uris }) => uris) });
for await (const _ of Deno.stdin.readable) {
  answer({
    activeCalls: server.flight!.activeCalls,
    blocksOut: hostPool().stats.blocksOut,
    datasets: server.datasets.length,
    errors: errors.splice(0),
  });
}
await server.shutdown({ timeoutMs: 0 });
