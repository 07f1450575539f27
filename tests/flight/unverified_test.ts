/** Certificates that the runtime lets pass although they are not verified: the connection ends all the same. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import tls from "node:tls";
import { type DipcError, FlightClient, serveFlight } from "../../flight.ts";
import { Authority } from "../support/certificates.ts";
import { until } from "../support/time.ts";

/** Makes TLS accept every certificate, on one side, until the end of the scope. */
function lax(side: "createServer" | "connect"): Disposable {
  const original = tls[side] as (options: object, ...rest: unknown[]) => unknown;
  const patched = (options: object, ...rest: unknown[]) => original({ ...options, rejectUnauthorized: false }, ...rest);
  Object.assign(tls, { [side]: patched });
  return { [Symbol.dispose]: () => void Object.assign(tls, { [side]: original }) };
}

async function call(location: string, options: object): Promise<unknown> {
  try {
    await using client = await FlightClient.connect(location, { tls: options, timeoutMs: 4000 });
    return await Array.fromAsync(client.listActions());
  } catch (error) {
    return error;
  }
}

Deno.test("a server does not rely on the runtime alone to refuse clients without a certificate of the authority", async () => {
  const [authority, stranger] = [await Authority.create(), await Authority.create("stranger")];
  const { cert, key } = await authority.issue("server");
  using _ = lax("createServer");
  const calls: string[] = [];
  await using server = await serveFlight({
    tls: { cert, key, clientCa: authority.cert },
    handlers: { onCall: ({ method }) => void calls.push(method) },
  });
  const errors: string[] = [];
  server.addEventListener("error", (event) => errors.push(String((event as CustomEvent).detail.error)));
  assert(Array.isArray(await call(server.location, { ca: authority.cert, ...await authority.issue("ada") })));
  const refused = [{}, await stranger.issue("ada"), await authority.issue("ada", { expired: true })];
  for (const own of refused) assert(await call(server.location, { ca: authority.cert, ...own }) instanceof Error);
  assertEquals(calls, ["ListActions"]);
  await until(() => errors.length, (count) => count === 3);
  for (const error of errors) assertStringIncludes(error, "was not verified");
});

Deno.test("a server reports each client whose certificate is missing, another authority's or expired", async () => {
  const [authority, stranger] = [await Authority.create(), await Authority.create("stranger")];
  await using server = await serveFlight({ tls: { ...await authority.issue("server"), clientCa: authority.cert } });
  const errors: DipcError[] = [];
  server.addEventListener("error", ({ detail }) => errors.push(detail.error!));
  for (const own of [{}, await stranger.issue("ada"), await authority.issue("ada", { expired: true })]) {
    errors.length = 0;
    assert(await call(server.location, { ca: authority.cert, ...own }) instanceof Error);
    await until(() => errors.length, (count) => count === 1);
    assertMatch(
      errors[0].message,
      /peer sent no certificates|certificate (is missing or )?was not verified.*tls\.clientCa/,
    );
  }
});

Deno.test("a client does not rely on the runtime alone to refuse servers whose certificate is not verified", async () => {
  const [authority, stranger] = [await Authority.create(), await Authority.create("stranger")];
  const { cert, key } = await stranger.issue("server");
  await using server = await serveFlight({ tls: { cert, key } });
  using _ = lax("connect");
  assertStringIncludes(String(await call(server.location, { ca: authority.cert })), "was not verified");
  assert(Array.isArray(await call(server.location, { ca: stranger.cert })));
  assert(Array.isArray(await call(server.location, { insecureSkipVerify: true })));
});
