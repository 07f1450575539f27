/**
 * A Flight server with an action `x`; prints its location, and its errors on standard error, until SIGTERM.
 *
 * @module
 */
import { serveFlight } from "../../../flight.ts";

const server = await serveFlight({ handlers: { actions: { x: { run: () => {} } } } });
server.addEventListener("error", ({ detail }) => console.error(detail.error?.message));
Deno.addSignalListener("SIGTERM", () => Deno.exit(0));
console.log(server.location);
