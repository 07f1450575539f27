/** `--trace FILE`: what Perfetto reads, by the rules of the "Trace Event Format". */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import { serve } from "../../mod.ts";
import { ChromeTrace } from "../../src/telemetry/chrome_trace.ts";
import { parseTraceparent } from "../../src/telemetry/open_telemetry.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { dipc } from "../support/processes.ts";

interface TraceEvent {
  name: string;
  ph: string;
  ts: number;
  dur?: number;
  pid: number;
  tid: number;
  cat: string;
  args: Record<string, unknown>;
}

/** Checks what the format requires of every event, and that the complete events of a row are nested or apart. */
function checkFormat(text: string): TraceEvent[] {
  const events = JSON.parse(text) as TraceEvent[];
  assert(Array.isArray(events));
  for (const event of events) {
    assert(["X", "M", "C"].includes(event.ph), event.ph);
    assertEquals(typeof event.name, "string");
    for (const number of [event.ts, event.pid, event.tid]) assert(Number.isInteger(number) && number >= 0);
    if (event.ph === "X") assert(Number.isInteger(event.dur) && event.dur! >= 0);
    if (event.ph === "C") { for (const value of Object.values(event.args)) assertEquals(typeof value, "number"); }
  }
  const spans = events.filter(({ ph }) => ph === "X");
  for (const one of spans) {
    for (const other of spans) {
      if (one === other || one.tid !== other.tid) continue;
      const [first, second] = one.ts < other.ts || (one.ts === other.ts && one.dur! >= other.dur!)
        ? [one, other]
        : [other, one];
      const isApart = second.ts >= first.ts + first.dur!;
      const isNested = second.ts + second.dur! <= first.ts + first.dur!;
      assert(isApart || isNested, `${first.name} and ${second.name} overlap in row ${first.tid}`);
    }
  }
  return events;
}

testNeeding([needsUcx], "dipc get --trace writes the command, its stream, its calls and its batches", async () => {
  using folder = new TemporaryFolder();
  const file = folder.file("trace.json");
  const trips = tableFromArrays({ n: Int32Array.from({ length: 1000 }, (_, i) => i) });
  await using server = await serve({ datasets: { trips }, flight: {} });
  const { code, stderr } = await dipc(["get", `${server.flight!.location}/trips`, "--limit", "3", "--trace", file]);
  assertEquals(code, 0, stderr);
  const events = checkFormat(Deno.readTextFileSync(file));
  const names = events.filter(({ ph }) => ph === "X").map(({ name }) => name);
  for (const name of ["dipc get", "dipc.stream", "dipc.batch", "arrow.flight.protocol.FlightService/GetFlightInfo"]) {
    assert(names.includes(name), `${name} in ${names}`);
  }
  const command = events.find(({ name }) => name === "dipc get")!;
  assertEquals(new Set(events.filter(({ ph }) => ph === "X").map(({ args }) => args.trace_id)).size, 1);
  // Times are those of the clock, so that the files of two programs fit together.
  assert(Math.abs(command.ts / 1000 - Date.now()) < 600_000, String(command.ts));
  const stream = events.find(({ name }) => name === "dipc.stream")!;
  assertEquals(stream.args.parent_span_id, command.args.span_id);
  assertEquals(events[0].args.name, "dipc get");
});

Deno.test("a trace file that cannot be made is an error that names it", async () => {
  const { code, stderr } = await dipc([
    "get",
    "ucx://127.0.0.1:1/x?want_data=1",
    "--trace",
    "no/such/folder/t.json",
  ]);
  assertEquals(code, 1);
  assertMatch(stderr, /no\/such\/folder\/t\.json/);
});

Deno.test("a trace without spans, with sums, and cut off in the middle", () => {
  let text = "";
  const trace = new ChromeTrace((more) => text += more, "test");
  const instrument = { name: "leased", kind: "upDownCounter", unit: "By", description: "" } as const;
  trace.measure(instrument, 5, {});
  trace.measure(instrument, -2, {});
  const one = trace.start({ name: "one", kind: "client", attributes: { a: 1 } });
  const two = one.run(() => trace.start({ name: "two", kind: "client", attributes: {} }));
  assertEquals(one.run(() => trace.current()), one.traceparent);
  assertEquals(trace.current(), null);
  one.end();
  two.end({ type: "timeout", message: "took too long" });
  const cut = text;
  trace.close();
  const events = checkFormat(text);
  // Viewers take a file without its end.
  assertEquals(checkFormat(`${cut}\n]`), events);
  assertEquals(events.filter(({ ph }) => ph === "C").map(({ args }) => args.all), [5, 3]);
  const [first, second] = events.filter(({ ph }) => ph === "X");
  assertEquals(second.args.parent_span_id, first.args.span_id);
  assertEquals(second.args["error.type"], "timeout");
});

Deno.test("a traceparent of version 00 and of a later one is read, and nothing else", () => {
  const [trace, span] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];
  const expected = { traceId: trace, spanId: span, traceFlags: 1, isRemote: true };
  // The example of W3C's recommendation, 2.2.
  assertEquals(parseTraceparent(`00-${trace}-${span}-01`), expected);
  assertEquals(parseTraceparent(`01-${trace}-${span}-01-more`), expected);
  const wrong = [
    ...["", "00", `00-${trace}-${span}`, `ff-${trace}-${span}-01`, `00-${"0".repeat(32)}-${span}-01`],
    ...[`00-${trace}-${"0".repeat(16)}-01`, `00-${trace.toUpperCase()}-${span}-01`, `00-${trace}-${span}-011`],
    "x".repeat(10_000),
  ];
  for (const text of wrong) assertEquals(parseTraceparent(text), null, text);
});
