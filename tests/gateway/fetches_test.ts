/** The fetches that clients of a gateway share, as long as somebody may read them. */
import { assertEquals } from "@std/assert";
import { serveFlight } from "../../flight.ts";
import { parseFlightLocation } from "../../src/flight/location.ts";
import { Engine } from "../../src/gateway/engine.ts";
import { Fetches } from "../../src/gateway/fetches.ts";
import type { FetchReader } from "../../src/gateway/shared_fetch.ts";
import { generated } from "../support/generated.ts";
import { delay } from "../support/time.ts";

const BATCHES = 3;

/** Reads to the end. @returns how many messages there were */
async function readAll(reader: FetchReader): Promise<number> {
  let count = 0;
  for (let item; (item = await reader.nextItem()) !== null; count++) item.message?.body?.release();
  return count;
}

Deno.test("a reader that leaves while a message is on the way to it takes nothing from those that come later", async () => {
  await using server = await serveFlight({ handlers: { doGet: () => generated(BATCHES, 8192) } });
  const engine = new Engine("", parseFlightLocation(server.location), { trustLocations: false });
  const fetches = new Fetches({ maxBytes: 2 ** 30, keepMs: 2000 });
  const join = () => fetches.of({ engine, ticket: new Uint8Array([1]), places: [null], headers: new Headers() }).join();
  try {
    const first = await join();
    assertEquals(await readAll(first), BATCHES);
    const leaving = await join();
    await first.close();
    const reading = leaving.nextItem();
    void leaving.close();
    (await reading)?.message?.body?.release();
    await delay(1500);
    const late = await join();
    // What counted down since the other one left must not end this one's.
    await delay(800);
    assertEquals(await readAll(late), BATCHES);
    await late.close();
  } finally {
    fetches.close();
    assertEquals(fetches.bytes, 0);
    await engine.close();
  }
});
