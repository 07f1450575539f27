/** Credentials and cookies through nginx and HAProxy: the server sees the caller, and a proxy finds its server again. */
import { assertEquals } from "@std/assert";
import { FlightClient, type FlightServer, serveFlight } from "../../flight.ts";
import { assertDipcError } from "../support/assert.ts";
import { utf8 } from "../support/bytes.ts";
import { peerTest } from "../support/peers.ts";
import { PROXY_NAMES, startProxy } from "../support/proxies.ts";

/** The action's results as one text. */
async function act(client: FlightClient): Promise<string> {
  const results = await Array.fromAsync(client.doAction("act"));
  return results.map((result) => new TextDecoder().decode(result)).join();
}

for (const name of PROXY_NAMES) {
  peerTest(["proxies"], `passwords and tokens pass ${name}, and wrong ones are refused`, async ({ proxies }) => {
    await using server = await serveFlight({
      auth: {
        basic: (user, password) => user === "ada" && password === "right",
        bearer: (token) => token === "secret" ? "ci" : null,
      },
      handlers: { actions: { act: { run: (_, { user }) => [utf8(`${user}`)] } } },
    });
    await using proxy = await startProxy(name, proxies, { backend: server.port });
    const as = async (options: object): Promise<string> => {
      await using client = await FlightClient.connect(proxy.location, options);
      // The first call may bring a token that the second one then sends.
      return [await act(client), await act(client)].join();
    };
    assertEquals(await as({ user: "ada", password: "right" }), "ada,ada");
    assertEquals(await as({ token: "secret" }), "ci,ci");
    for (const options of [{}, { user: "ada", password: "wrong" }, { token: "guessed" }]) {
      await assertDipcError("permission_denied", "", () => as(options));
    }
  });
}

/** A server whose action says which one it is. */
async function named(name: string): Promise<FlightServer> {
  return await serveFlight({ handlers: { actions: { act: { run: () => [utf8(name)] } } } });
}

peerTest(
  ["proxies"],
  "HAProxy's cookie leads a client to the same server; without cookies it does not",
  async (found) => {
    await using first = await named("first");
    await using second = await named("second");
    await using proxy = await startProxy("haproxy", found.proxies, {
      backend: first.port,
      secondBackend: second.port,
      backendLines: ["balance roundrobin", "cookie server insert indirect nocache httponly"],
    });
    const answers = async (cookies: boolean): Promise<string[]> => {
      await using client = await FlightClient.connect(proxy.location, { cookies });
      const all: string[] = [];
      for (let i = 0; i < 6; i++) all.push(await act(client));
      return all;
    };
    assertEquals(new Set(await answers(true)).size, 1);
    assertEquals(new Set(await answers(false)).size, 2);
  },
);

peerTest(["proxies"], "a cookie that nginx sets comes back to it", async ({ proxies }) => {
  await using server = await named("only");
  await using proxy = await startProxy("nginx", proxies, {
    backend: server.port,
    lines: ['add_header Set-Cookie "route=left; Path=/; HttpOnly";', "add_header x-seen $http_cookie;"],
  });
  const seen: (string | null)[] = [];
  const middleware = [{ onHeaders: (_: unknown, headers: Headers) => void seen.push(headers.get("x-seen")) }];
  await using client = await FlightClient.connect(proxy.location, { middleware });
  await act(client);
  await act(client);
  assertEquals(seen, [null, "route=left"]);
});
