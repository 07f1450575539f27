/**
 * Serves files, or a small table if no file is named, until Ctrl-C.
 *
 * ```sh
 * deno run --allow-ffi --allow-env=DIPC_LIBUCP,HOME,XDG_CACHE_HOME --allow-read=. examples/serve.ts trips.arrow
 * ```
 *
 * @module
 */
import { type Servable, serve } from "@arrow-ucx/dipc";
import { tableFromArrays } from "apache-arrow";

const datasets: Record<string, Servable> = {};
for (const path of Deno.args) datasets[path.replace(/^.*\/|\.[^./]*$/g, "")] = path;
if (Deno.args.length === 0) {
  datasets.cities = tableFromArrays({
    city: ["Oslo", "Lima", "Pune"],
    millions: Float64Array.of(0.7, 10.1, 7.2),
  });
}

await using server = await serve({ datasets });
server.addEventListener("request", (event) => {
  const { connection, dataset } = event.detail;
  console.error(`connection ${connection} requested ${dataset}`);
});
for (const { name, uris } of server.datasets) console.log(`${name} ${uris.join(" ")}`);

await new Promise<void>((resolve) => Deno.addSignalListener("SIGINT", resolve));
// Running streams get two seconds to end; `await using` would cut them off.
await server.shutdown({ timeoutMs: 2000 });
Deno.exit(0);
