/**
 * A Flight server with an action `x`, with TLS if it gets the paths of a certificate and its key; prints its location, and its errors on standard error, until SIGTERM.
 *
 * @module
 */
import { serveFlight } from "../../../flight.ts";

const [cert, key] = Deno.args.map((path) => Deno.readTextFileSync(path));
const server = await serveFlight({
  tls: cert === undefined ? undefined : { cert, key },
  handlers: { actions: { x: { run: () => {} } } },
  // None is dropped for its silence while the test waits for those that have left.
  limits: { requestTimeoutMs: 60_000 },
});
server.addEventListener("error", ({ detail }) => console.error(detail.error?.message));
Deno.addSignalListener("SIGTERM", () => Deno.exit(0));
console.log(server.location);
