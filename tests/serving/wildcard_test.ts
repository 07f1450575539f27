/** A server that listens on all addresses hands out none of them: every client would take it for its own machine. */
import { assertEquals, assertNotEquals } from "@std/assert";
import { FlightClient } from "../../flight.ts";
import { connect, fromBatches, serve } from "../../mod.ts";
import { ownAddress } from "../../ffi/interfaces.ts";
import { tripsTable } from "../support/cli_data.ts";
import { assertDipcError } from "../support/assert.ts";
import { needsIpv6, needsUcx, testNeeding } from "../support/needs.ts";
import { serve as serveCommand } from "../support/processes.ts";

function hostOf(uri: string): string {
  return new URL(uri.replace(/^[a-z+]+:/, "http:")).hostname.replace(/^\[|\]$/g, "");
}

async function locationsFor(host: string, port: number): Promise<string[]> {
  await using client = await FlightClient.connect(`grpc://${host.includes(":") ? `[${host}]` : host}:${port}`);
  const info = await client.getFlightInfo({ path: ["x"] });
  return info.endpoints.flatMap(({ locations }) => [...locations]);
}

for (
  const [address, hosts, needs] of [
    ["0.0.0.0", ["127.0.0.1", "localhost"], [needsUcx]],
    ["::", ["::1"], [needsUcx, needsIpv6]],
  ] as const
) {
  testNeeding(needs, `locations of a server on ${address} name the host that the client requested`, async () => {
    await using server = await serve({
      address,
      datasets: { x: await fromBatches(tripsTable(2).batches) },
      flight: {},
    });
    const own = ownAddress(address === "::");
    for (const host of [...hosts, ...(own === null ? [] : [own])]) {
      const locations = await locationsFor(host, server.flight!.port);
      assertEquals(locations.map(hostOf), [host, host], locations.join(" "));
      let rows = 0;
      for await (using batch of await connect(locations[0])) rows += batch.numRows;
      assertEquals(rows, 2000);
    }
    for (const uri of [...server.datasets[0].uris, server.flight!.location]) {
      assertNotEquals(hostOf(uri), address);
      assertEquals(hostOf(uri), own ?? hostOf(uri));
    }
  });
}

testNeeding([needsUcx], "a wildcard address cannot be advertised, by UCX or by Flight", async () => {
  const datasets = { x: await fromBatches(tripsTable(1).batches) };
  await assertDipcError("invalid_argument", "cannot advertise", () => serve({ datasets, advertise: "0.0.0.0" }));
  await assertDipcError(
    "invalid_argument",
    "cannot advertise",
    () => serve({ datasets, flight: { advertise: "::", ucx: "off" } }),
  );
});

testNeeding([needsUcx], "dipc serve prints no wildcard address", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const { tripsBytes } = await import("../support/cli_data.ts");
    await Deno.writeFile(`${folder}/x.arrows`, tripsBytes("stream"));
    await using server = await serveCommand([`${folder}/x.arrows`, "--address", "0.0.0.0", "--flight-port", "0"]);
    for (const uri of [server.uri("x"), server.info.flight!]) assertNotEquals(hostOf(uri), "0.0.0.0");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
