/** How long a server waits for a client that is quiet, and for one that sends too little. */
import { assertEquals } from "@std/assert";
import { FlightClient } from "../../flight.ts";
import { assertDipcError } from "../support/assert.ts";
import { utf8 } from "../support/bytes.ts";
import { delay } from "../support/time.ts";
import { EMPTY_MESSAGE, impatientServer, METADATA_MESSAGE, statusOf } from "./support/quiet_calls.ts";

Deno.test("an upload, an exchange and a handshake may be quiet before their first message as long as after it", async (t) => {
  await using server = await impatientServer();
  for (const method of ["DoPut", "DoExchange", "Handshake"]) {
    await t.step(method, async () => {
      const message = method === "Handshake" ? EMPTY_MESSAGE : METADATA_MESSAGE;
      assertEquals(await statusOf(server.port, method, [[700, message], [700, message], [700, new Uint8Array()]]), "0");
    });
  }
});

Deno.test("a message that has begun must go on, and a client may not be quiet forever", async (t) => {
  await using server = await impatientServer();
  for (const method of ["DoPut", "DoExchange", "Handshake"]) {
    await t.step(method, async () => {
      const long = Uint8Array.of(0, 0, 0, 0, 9, 0x1a);
      assertEquals(await statusOf(server.port, method, [[700, long], [1000, new Uint8Array(8)]]), "4");
      assertEquals(await statusOf(server.port, method, [[2500, METADATA_MESSAGE]]), "4");
    });
  }
});

Deno.test("a client that thinks before its handshake gets its answer", async () => {
  await using server = await impatientServer();
  await using client = await FlightClient.connect(server.location);
  async function* payloads() {
    await delay(700);
    yield utf8("a");
    await delay(700);
    yield utf8("b");
  }
  const answers: string[] = [];
  for await (const payload of client.handshake(payloads())) answers.push(new TextDecoder().decode(payload));
  assertEquals(answers, ["a", "b"]);
  async function* never() {
    await delay(2500);
    yield utf8("a");
  }
  await assertDipcError("timeout", "", async () => {
    for await (const _ of client.handshake(never()));
  });
});
