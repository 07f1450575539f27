/** A program that has read its stream to the end and closed its client ends, without any timer of a wait that is over. */
import { peerTest } from "../support/peers.ts";
import { PROXY_NAMES, startProxy } from "../support/proxies.ts";
import { answeringServer, assertEnds, WAYS } from "./support/ends.ts";

Deno.test("a program ends at once when its stream has been read and its client is closed", async (t) => {
  await using server = await answeringServer();
  for (const way of WAYS) await t.step(way, () => assertEnds(server.location, [way]));
});

for (const name of PROXY_NAMES) {
  peerTest(["proxies"], `a program that has read all through ${name} ends at once too`, async ({ proxies }) => {
    await using server = await answeringServer();
    await using proxy = await startProxy(name, proxies, { backend: server.port });
    await assertEnds(proxy.location, WAYS);
  });
}
