/**
 * Runs one case of a misbehaving peer in a process of its own, because UCX may end the process of who misuses it.
 *
 *     hostile_peer.ts client CASE LIBUCP URI    prints what came of it
 *     hostile_peer.ts server CASE LIBUCP        prints its port, serves one connection
 *
 * @module
 */
import { clientCases } from "./hostile_clients.ts";
import { messagesOf, serverCases } from "./hostile_servers.ts";
import { RawWorker } from "./raw_ucx.ts";
import { play, takeRequest } from "./server_steps.ts";

const [role, name, library, uri] = Deno.args;
const worker = RawWorker.open(library);

if (role === "client") {
  const url = new URL(uri.replace(/^ucx:/, "http:"));
  const result = await clientCases[name].run({
    worker,
    port: Number(url.port),
    wanted: BigInt(url.searchParams.get("want_data")!),
    ticket: decodeURIComponent(url.pathname.slice(1)),
  });
  console.log(result);
} else {
  const serverCase = serverCases[name];
  const messages = messagesOf(serverCase);
  console.log(worker.listen());
  await takeRequest(worker);
  const endpoint = worker.accepted[0];
  await play(serverCase.steps, { worker, endpoint, messages });
  // Whatever was sent last gets time to arrive; the client closes the connection when it has had enough.
  await worker.until(() => endpoint.failure !== null, 10_000);
}
Deno.exit(0);
