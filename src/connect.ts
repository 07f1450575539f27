/**
 * Connects to a server and starts a stream into host memory.
 *
 * @module
 */
import { DissociatedStreamReader } from "./reader.ts";
import { chooseRoute } from "./routes/choose.ts";
import { withPeerCheck } from "./routes/peer_check.ts";
import { checkDeno } from "./runtime.ts";
import { StreamSpan } from "./telemetry/stream_span.ts";
import { checkOptions, type ConnectOptions } from "./routes/options.ts";

export type { ConnectFlightOptions, ConnectOptions } from "./routes/options.ts";

/**
 * Requests a stream from a server.
 *
 * @example Usage
 * ```ts ignore
 * import { connect } from "@arrow-ucx/dipc";
 *
 * await using reader = await connect(Deno.args[0]);
 * for await (using batch of reader) console.log(batch.numRows);
 * ```
 *
 * @example A flight, by UCX if possible, otherwise by gRPC
 * ```ts ignore
 * import { connect } from "@arrow-ucx/dipc";
 *
 * await using reader = await connect("grpc://127.0.0.1:8815/flights", { flight: { token: "secret" } });
 * console.log(reader.stats.route, reader.stats.routeReason);
 * for await (using batch of reader) console.log(batch.numRows);
 * ```
 *
 * @param uri The URI of a Flight server (`grpc:`, `grpc+tcp:`, `grpc+tls:`, `grpc+unix:`), a `ucx:` URI, or the URIs of metadata
 * and bodies, or a list of alternatives with `role`s as a server reports it
 * @param options Ticket, route, limits, timeouts
 * @returns The reader, once the schema has arrived
 * @throws {DipcError} `invalid_uri`, `invalid_argument` (also for an option that does not apply to this URI), `library_not_found`,
 * `unreachable`, `timeout`, `cancelled`, `connection_lost`, and the server's errors, such as `not_found`, or `flight` if no
 * other code fits
 */
export async function connect(
  uri: string | URL | readonly (string | URL)[],
  options: ConnectOptions = {},
): Promise<DissociatedStreamReader> {
  checkDeno();
  const startedMs = performance.now();
  const route = await chooseRoute(uri);
  const checked = checkOptions(route.name, options);
  const span = new StreamSpan("received");
  const start = (signal?: AbortSignal) => route.open(uri, { ...checked, signal });
  const stream = await span.open(() =>
    checked.transport === undefined ? withPeerCheck(uri, checked, start) : start(checked.signal)
  );
  return new DissociatedStreamReader({ ...stream, limits: checked.limits, signal: options.signal, startedMs, span });
}
