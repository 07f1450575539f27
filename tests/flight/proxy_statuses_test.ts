/** What nginx and HAProxy answer themselves: each status of HTTP is the status of gRPC that gRPC's table gives for it. */
import { assertEquals, assertMatch } from "@std/assert";
import { type DipcError, FlightClient, GrpcStatus, serveFlight } from "../../flight.ts";
import { peerTest } from "../support/peers.ts";
import { PROXY_NAMES, type ProxyName, startProxy } from "../support/proxies.ts";
import { printTable } from "../support/table.ts";

const { internal, unauthenticated, permissionDenied, unimplemented, unavailable, unknown } = GrpcStatus;
/** gRPC's table "HTTP to gRPC Status Code Mapping". */
const OF_HTTP: [http: number, grpc: number][] = [
  [400, internal],
  [401, unauthenticated],
  [403, permissionDenied],
  [404, unimplemented],
  [413, unknown],
  [429, unavailable],
  [500, unknown],
  [502, unavailable],
  [503, unavailable],
  [504, unavailable],
];

/** A line with which a proxy answers calls with this status if their header `x-reject` names it. */
function rejection(name: ProxyName, http: number): string {
  // The path of every action is the same, so a header says which status is expected.
  return name === "nginx"
    ? `if ($http_x_reject = "${http}") { return ${http}; }`
    : `http-request deny deny_status ${http} if { req.hdr(x-reject) ${http} }`;
}

/** A server whose actions all succeed. */
const succeeding = () => serveFlight({ handlers: { actions: { act: { run: () => [] } } } });

/** What an action fails with. */
async function failureOf(client: FlightClient, headers?: Record<string, string>): Promise<DipcError> {
  const found = await Array.fromAsync(client.doAction("act", "", { headers })).catch((error: DipcError) => error);
  if (Array.isArray(found)) throw new Error("the action has succeeded");
  return found;
}

for (const name of PROXY_NAMES) {
  peerTest(["proxies"], `${name}'s own statuses are those of gRPC's table, and cost no other call`, async (found) => {
    await using server = await succeeding();
    const lines = OF_HTTP.map(([http]) => rejection(name, http));
    await using proxy = await startProxy(name, found.proxies, { backend: server.port, lines });
    await using client = await FlightClient.connect(proxy.location);
    const rows: string[][] = [];
    for (const [http, grpc] of OF_HTTP) {
      const { code, message, foreign } = await failureOf(client, { "x-reject": `${http}` });
      assertEquals([foreign?.status, /HTTP status (\d+)/.exec(message)?.[1]], [grpc, `${http}`]);
      assertEquals(await Array.fromAsync(client.doAction("act")), []);
      rows.push([`${http}`, `${grpc}`, code, message.replace(/.*; /, "")]);
    }
    printTable(`what ${name} answers itself`, ["HTTP", "gRPC", "code", "advice"], rows);
  });
}

peerTest(["proxies"], "a call beyond nginx's rate is unavailable, and says when to try again", async ({ proxies }) => {
  await using server = await succeeding();
  await using proxy = await startProxy("nginx", proxies, {
    backend: server.port,
    nginxLines: ["limit_req_zone $binary_remote_addr zone=calls:1m rate=1r/m;"],
    lines: ["limit_req zone=calls;", "limit_req_status 429;"],
  });
  await using client = await FlightClient.connect(proxy.location);
  assertEquals(await Array.fromAsync(client.doAction("act")), []);
  const { code, foreign, message } = await failureOf(client);
  assertEquals([code, foreign?.status], ["unreachable", unavailable]);
  assertMatch(message, /HTTP status 429 .*try again later/);
});

peerTest(["proxies"], "the status of gRPC wins that nginx's manual gives for a server that is down", async (found) => {
  await using proxy = await startProxy("nginx", found.proxies, {
    backend: 1,
    lines: [
      "error_page 502 = /down;",
      "location = /down { internal; default_type application/grpc; add_header grpc-status 14; " +
      'add_header grpc-message "no server"; return 204; }',
    ],
  });
  await using client = await FlightClient.connect(proxy.location);
  const { code, foreign } = await failureOf(client);
  assertEquals([code, foreign?.status, foreign?.text], ["unreachable", unavailable, "no server"]);
});
