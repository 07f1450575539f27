/**
 * A Flight server and a client of it, in one program: uploads a table, lists what is there, runs an action, and fetches the
 * table, by UCX if that can be and otherwise by Flight. Any other Flight client can be the client, and any server the
 * server.
 *
 * ```sh
 * deno run --allow-net=127.0.0.1 --allow-ffi --allow-env=DIPC_LIBUCP,HOME,XDG_CACHE_HOME examples/flight.ts
 * ```
 *
 * @module
 */
import { connect, fromTable, serve } from "@arrow-ucx/dipc";
import { FlightClient } from "@arrow-ucx/dipc/flight";
import { tableFromArrays } from "apache-arrow";

await using server = await serve({
  datasets: { cities: tableFromArrays({ city: ["Oslo", "Lima", "Pune"] }) },
  flight: {
    // Serves by Flight alone if there is no libucp.
    ucx: "optional",
    allowPut: true,
    auth: { bearer: (token) => token === "secret" ? "ada" : null },
    handlers: {
      actions: { whoami: { description: "tells who calls", run: (_, { user }) => [new TextEncoder().encode(user!)] } },
    },
  },
});
const { location } = server.flight!;

await using client = await FlightClient.connect(location, { token: "secret" });
const dataset = await fromTable(tableFromArrays({ n: Int32Array.of(1, 2, 3) }));
await client.put({ path: "numbers" }, dataset);
await dataset.close();
for await (const { descriptor, totalRecords } of client.listFlights()) {
  if (descriptor !== null && "path" in descriptor) console.log(`${descriptor.path.join("/")}: ${totalRecords} rows`);
}
for await (const body of client.doAction("whoami")) console.log(`I am ${new TextDecoder().decode(body)}`);

await using stream = await connect(location, { flight: { path: "numbers", token: "secret" } });
let sum = 0;
for await (using batch of stream) for (const n of batch.getChild("n")!) sum += n;
console.log(`sum of n: ${sum}, by ${stream.stats.route}: ${stream.stats.routeReason}`);
