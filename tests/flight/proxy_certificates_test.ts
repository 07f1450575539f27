/** Certificates of clients through nginx and HAProxy: verified by the proxy, or by our server behind it, or no call is made. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { type DipcError, FlightClient, serveFlight } from "../../flight.ts";
import { Authority, type Certified } from "../support/certificates.ts";
import { peerTest } from "../support/peers.ts";
import { PROXY_NAMES, startProxy } from "../support/proxies.ts";
import { until } from "../support/time.ts";

const authority = await Authority.create();
const stranger = await Authority.create("another authority");
const server = { ...await authority.issue("server"), clientCa: authority.cert };
const right = await authority.issue("ada");
/** Clients that must not get in. */
const WRONG: [name: string, own: Certified | undefined][] = [
  ["none", undefined],
  ["another authority's", await stranger.issue("ada")],
  ["expired", await authority.issue("ada", { expired: true })],
];

/** The answer of an action that echoes, with a certificate. */
async function echo(location: string, own: Certified | undefined): Promise<string> {
  await using client = await FlightClient.connect(location, { tls: { ca: authority.cert, ...own }, timeoutMs: 4000 });
  const results = await Array.fromAsync(client.doAction("echo", "hello"));
  return results.map((result) => new TextDecoder().decode(result)).join();
}

/** The error of a client that must not get in. */
async function refused(location: string, own: Certified | undefined, about: string): Promise<DipcError> {
  const found = await echo(location, own).catch((error: DipcError) => error);
  if (typeof found === "string") throw new Error(`${about}: the call was answered: ${found}`);
  return found;
}

/** A connection that ends after the handshake may be about the certificate; the client says which it takes it for. */
function isRefusal(code: string): boolean {
  return code === "permission_denied" || code === "unreachable";
}

for (const name of PROXY_NAMES) {
  peerTest(["proxies"], `${name} verifies the certificates of clients, and the others make no call`, async (found) => {
    let calls = 0;
    await using flight = await serveFlight({
      handlers: { onCall: () => void calls++, actions: { echo: { run: (body) => [body] } } },
    });
    await using proxy = await startProxy(name, found.proxies, { backend: flight.port, tls: server });
    assertEquals([await echo(proxy.location, right), calls], ["hello", 1]);
    for (const [about, own] of WRONG) {
      const { code, message } = await refused(proxy.location, own, about);
      // nginx answers, and HAProxy ends the connection.
      assert(name === "nginx" ? code === "flight" : isRefusal(code), about);
      assertMatch(
        message,
        name === "nginx" ? /HTTP status 400 .*--tls-cert FILE/ : /client's certificate|requires a client certificate/,
        about,
      );
    }
    assertEquals(calls, 1);
  });

  peerTest(["proxies"], `our server verifies the certificates of clients that ${name} passes on`, async (found) => {
    const subjects: unknown[] = [];
    const errors: string[] = [];
    await using flight = await serveFlight({
      tls: server,
      handlers: {
        onCall: ({ certificateSubject }) => void subjects.push(certificateSubject),
        actions: { echo: { run: (body) => [body] } },
      },
    });
    flight.addEventListener("error", ({ detail }) => errors.push(String(detail.error)));
    await using proxy = await startProxy(name, found.proxies, { backend: flight.port, passes: "tls" });
    assertEquals(await echo(proxy.location, right), "hello");
    for (const [about, own] of WRONG) {
      const { code, message } = await refused(proxy.location, own, about);
      assert(isRefusal(code), `${about}: ${message}`);
      assertMatch(message, /client's certificate|requires a client certificate/, about);
    }
    await until(() => errors.length, (count) => count === WRONG.length);
    for (const error of errors) assertMatch(error, /certificate/);
    assertEquals(subjects, ["ada"]);
  });
}
