/** A server of datasets that fail, with the log of `dipc serve`; a client fetches each of them by both routes. */
import { tableFromArrays } from "apache-arrow";
import { FlightClient } from "../../../flight.ts";
import { connect, type Dataset, fromTable, serve } from "../../../mod.ts";
import { logFailures } from "../../../src/cli/server_log.ts";
import { DipcError, LocalError } from "../../../src/errors.ts";

const { schema } = await fromTable(tableFromArrays({ n: Int32Array.of(1) }));

function failing(thrown: unknown): Dataset {
  return { schema, readOnce: false, open: () => Promise.reject(thrown), close() {} };
}

const datasets = {
  // A dataset that comes from another server: that server was lost, and not the client.
  relayed: failing(new LocalError("connection_lost", "cannot read from far away: 10.1.2.3 has closed")),
  stopped: failing(new LocalError("cancelled", "cannot read from far away: it stopped")),
  wrapped: failing(new DipcError("io", "cannot read the disk", { cause: new Error("sector 7 is bad") })),
  broken: failing(new TypeError("undefined is not a dataset")),
  odd: failing(Object.create(null)),
};
const options = {
  actions: { fail: { run: () => Promise.reject(new LocalError("cancelled", "cannot ask the far away")) } },
};
await using server = await serve({ datasets, flight: { handlers: options } });
logFailures(server);
const reported = Promise.withResolvers<void>();
let left = 2 * Object.keys(datasets).length + 1;
const count = (): void => void (--left === 0 && reported.resolve());
server.addEventListener("error", count);
server.flight!.addEventListener("error", count);
await using client = await FlightClient.connect(server.flight!.location);
for (const { name, uris } of server.datasets) {
  await connect(uris).then((stream) => stream.toTable()).catch(() => {});
  await client.doGet(name).catch(() => {});
}
await client.doAction("fail").next().catch(() => {});
await reported.promise;
