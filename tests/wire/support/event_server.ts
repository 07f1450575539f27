/**
 * A server as a process of its own: `event_server FILE [apart]` serves the file as `x`, with `apart` its metadata and
 * bodies on two ports. Prints its URIs as one line of JSON, then a line for each connection that ends: `{"end": "end"}` or
 * `{"end": "error", "code": …, "message": …}`.
 *
 * @module
 */
import { serve } from "../../../mod.ts";
import type { ServerEventDetail } from "../../../src/serving/options.ts";

const [file, apart] = Deno.args;
const server = await serve({ datasets: { x: file }, ...(apart === undefined ? {} : { metadataPort: 0 }) });
for (const type of ["end", "error"]) {
  server.addEventListener(type, (event) => {
    const { error } = (event as CustomEvent<ServerEventDetail>).detail;
    console.log(JSON.stringify({ end: type, code: error?.code, message: error?.message }));
  });
}
console.log(JSON.stringify(server.datasets[0].uris));
