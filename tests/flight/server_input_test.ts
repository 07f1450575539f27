/** The messages of a call as its server reads them. */
import { assertEquals, assertLess, assertRejects } from "@std/assert";
import { CallInput } from "../../src/grpc/server_input.ts";
import type { ServerStream } from "../../src/http2/server_stream.ts";

/** A call whose bytes come in these chunks; nothing follows unless it is whole. */
function inputOf(chunks: Uint8Array[], isReadToEnd: boolean, signal: AbortSignal): CallInput {
  const stream = { onReadable: null, read: () => chunks.shift() ?? null, isReadToEnd, isClosed: false };
  return new CallInput(stream as unknown as ServerStream, signal);
}

/** The prefix of a message of so many bytes. */
function prefixOf(length: number): Uint8Array {
  const prefix = new Uint8Array(5);
  new DataView(prefix.buffer).setUint32(1, length);
  return prefix;
}

Deno.test("a message takes memory as it comes, whatever length it announces", async () => {
  const abort = new AbortController();
  const before = Deno.memoryUsage().external;
  const input = inputOf([prefixOf(2 ** 30), new Uint8Array(10)], false, abort.signal);
  const reading = assertRejects(() => input.message(2 ** 31 - 1, 60_000), Error, "enough");
  await new Promise((resolve) => setTimeout(resolve));
  assertLess(Deno.memoryUsage().external - before, 2 ** 26);
  abort.abort(new Error("enough"));
  await reading;
});

Deno.test("long messages are read whole, one after the other", async () => {
  for (const length of [0, 1, 4 * 2 ** 20, 4 * 2 ** 20 + 1, 20_000_000]) {
    const message = new Uint8Array(length).map((_, i) => i * 31);
    const bytes = new Uint8Array(5 + length + 6);
    bytes.set(prefixOf(length));
    bytes.set(message, 5);
    bytes.set([...prefixOf(1), 7], 5 + length);
    const chunks: Uint8Array[] = [];
    for (let at = 0; at < bytes.byteLength; at += 1_000_003) chunks.push(bytes.subarray(at, at + 1_000_003));
    const input = inputOf(chunks, true, new AbortController().signal);
    const read = await input.message(2 ** 31 - 1, 60_000);
    assertEquals(read!.byteLength, length);
    assertEquals(read!.every((value, i) => value === message[i]), true);
    assertEquals(await input.message(10, 60_000), Uint8Array.of(7));
    assertEquals(await input.message(10, 60_000), null);
  }
});
