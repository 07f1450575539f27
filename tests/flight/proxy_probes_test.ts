/** What reaches a server through nginx and HAProxy beside calls of Flight's clients: probes, and compressed requests. */
import { assertEquals } from "@std/assert";
import { FlightClient, serveFlight } from "../../flight.ts";
import { Authority } from "../support/certificates.ts";
import { peerTest } from "../support/peers.ts";
import { PROXY_NAMES, startProxy } from "../support/proxies.ts";
import { until } from "../support/time.ts";
import { assertRefusesCompression, METHODS, TAKING_HANDLERS } from "./support/raw_calls.ts";

for (const name of PROXY_NAMES) {
  peerTest(
    ["proxies"],
    `a compressed request gets UNIMPLEMENTED and an encoding through ${name} too`,
    async (found) => {
      await using server = await serveFlight({ handlers: TAKING_HANDLERS });
      await using proxy = await startProxy(name, found.proxies, { backend: server.port });
      for (const method of METHODS) await assertRefusesCompression(proxy.port, method);
    },
  );
}

for (const isSecure of [false, true]) {
  const what = isSecure ? "a server with TLS" : "a server without TLS";
  peerTest(["proxies"], `HAProxy's probes find ${what} up, and are no errors of it`, async ({ proxies }) => {
    const authority = await Authority.create();
    await using server = await serveFlight({ tls: isSecure ? await authority.issue("server") : undefined });
    const errors: string[] = [];
    server.addEventListener("error", ({ detail }) => errors.push(String(detail.error)));
    await using proxy = await startProxy("haproxy", proxies, {
      backend: server.port,
      hasProbes: true,
      passes: isSecure ? "tls" : undefined,
    });
    const probed = async () => (await proxy.statistics()).find(({ svname }) => svname === "number0")!;
    await until(probed, ({ check_status }) => check_status === "L4OK");
    await using client = await FlightClient.connect(proxy.location, {
      tls: isSecure ? { ca: authority.cert } : undefined,
    });
    const started = performance.now();
    while (performance.now() - started < 500) await Array.fromAsync(client.listActions());
    const { status, check_status, hanafail } = await probed();
    // A star marks a check that is under way.
    const lastCheck = check_status.replace(/^\* /, "");
    assertEquals([status, lastCheck, hanafail === "" || hanafail === "0"], ["UP", "L4OK", true]);
    assertEquals(errors, []);
  });
}
