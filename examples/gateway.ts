/**
 * A gateway to a Flight server that knows nothing of UCX: gives it UCX and shared memory, and shows by which way a flight
 * of it comes. Without an argument the server is one that this program starts.
 *
 * ```sh
 * deno run --allow-net=127.0.0.1 --allow-ffi --allow-env=DIPC_LIBUCP,HOME,XDG_CACHE_HOME examples/gateway.ts
 * ```
 *
 * @module
 */
import { connect, serve } from "@arrow-ucx/dipc";
import { serveGateway } from "@arrow-ucx/dipc/flight";
import { tableFromArrays } from "apache-arrow";

const [uri, path = "numbers"] = Deno.args;
await using own = uri !== undefined ? null : await serve({
  datasets: { numbers: tableFromArrays({ n: Int32Array.from({ length: 100_000 }, (_, i) => i) }) },
  flight: { ucx: "off" },
});

await using gateway = await serveGateway({ engines: uri ?? own!.flight!.location, share: true });
console.log(`gateway at ${gateway.location}`);

for (const share of [true, false]) {
  await using stream = await connect(gateway.location, { flight: { path }, share });
  let rows = 0;
  for await (using batch of stream) rows += batch.numRows;
  const { route, bodyBytes, sharedBytes } = stream.stats;
  console.log(`${rows} rows by ${route}: ${bodyBytes} bytes, ${sharedBytes} of them in place`);
}
