/**
 * Reads streams to their end in one or several ways, closes the client, and has nothing more to do. Run with a location and
 * the ways, separated by commas; prints "closed".
 *
 * @module
 */
import { FlightClient } from "../../../flight.ts";

const [location, ways] = Deno.args;
const client = await FlightClient.connect(location, { timeoutMs: 30_000 });
for (const way of ways.split(",")) await read(way);
await client.close();
console.log("closed");

async function read(way: string): Promise<void> {
  if (way === "iterate") { for await (const { batch } of await client.doGet("x")) void batch; }
  if (way === "table") await (await client.doGet("x")).toTable();
  if (way === "messages") { for await (const { body } of (await client.doGet("x")).messages()) body?.release(); }
  if (way === "next") {
    const reader = await client.doGet("x");
    while (!(await reader.next()).done);
  }
  if (way === "exchange") {
    const exchange = await client.doExchange({ path: "x" });
    await exchange.writeMetadata(new Uint8Array(1));
    await exchange.doneWriting();
    for await (const _ of exchange.reader);
  }
  if (way === "failure") await client.doGet("none").catch(() => {});
  if (way === "action") { for await (const _ of client.doAction("x")); }
}
