/** Clocks for a peer stand still while this process does, so that it looks at what has arrived before it judges. */
import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { patientNow, patientTimeout, PatientTimer } from "../../src/patience.ts";
import { delay } from "../support/time.ts";

/** Keeps the event loop from running, as a suspended process or a long computation does. */
function block(milliseconds: number): void {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}

Deno.test("a wait ends once, not before its time", async () => {
  const start = performance.now();
  const ends: number[] = [];
  patientTimeout(60, () => ends.push(performance.now()));
  while (ends.length === 0) await delay(5);
  assertGreater(ends[0] - start, 55);
  await delay(150);
  assertEquals(ends.length, 1);
});

Deno.test("a wait that was paused or stopped does not end; one that begins anew has all of its time", async () => {
  const ends: string[] = [];
  const paused = new PatientTimer(() => ends.push("paused"));
  paused.start(30);
  paused.pause();
  const stopped = patientTimeout(30, () => ends.push("stopped"));
  stopped.stop();
  stopped.stop();
  const start = performance.now();
  const renewed = new PatientTimer(() => ends.push(`renewed after ${performance.now() - start >= 895}`));
  renewed.start(600);
  await delay(300);
  renewed.start(600);
  const shortened = new PatientTimer(() => ends.push("shortened"));
  shortened.start(10_000);
  shortened.start(20);
  while (ends.length < 2) await delay(20);
  await delay(100);
  assertEquals(ends, ["shortened", "renewed after true"]);
});

Deno.test("time in which the process does not run is not the peer's", async () => {
  let endedMs = 0;
  const timer = patientTimeout(1000, () => endedMs = performance.now());
  await delay(10);
  const before = patientNow();
  block(1700);
  const resumedMs = performance.now();
  assertLess(patientNow() - before, 500);
  assertEquals(endedMs, 0);
  while (endedMs === 0) await delay(5);
  // Some 790 ms of the 1000 were left.
  assertGreater(endedMs - resumedMs, 150);
  timer.stop();
});

Deno.test("what arrived while the process did not run comes before the end of a wait", async () => {
  const events: string[] = [];
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const client = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  const server = await listener.accept();
  const read = client.read(new Uint8Array(1)).then(() => events.push("bytes"));
  const timer = patientTimeout(150, () => events.push("time is up"));
  await server.write(Uint8Array.of(1));
  block(240); // too short for the clock to stand still
  await read;
  assertEquals(events[0], "bytes");
  timer.stop();
  for (const each of [client, server, listener]) each.close();
});

Deno.test("a clock that no wait uses runs on", async () => {
  const before = patientNow();
  await delay(400);
  assert(patientNow() - before >= 395);
});
