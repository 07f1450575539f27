/** One trace across client, gateway, server and stream, and metrics, seen by OpenTelemetry's own SDK. */
import { assert, assertEquals, assertMatch } from "@std/assert";
// deno-lint-ignore no-import-prefix
import { context, metrics, SpanKind, SpanStatusCode, trace } from "npm:@opentelemetry/api@1.9.1";
// deno-lint-ignore no-import-prefix
import { AsyncLocalStorageContextManager } from "npm:@opentelemetry/context-async-hooks@2.12.1";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
  // deno-lint-ignore no-import-prefix
} from "npm:@opentelemetry/sdk-metrics@2.12.1";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
  // deno-lint-ignore no-import-prefix
} from "npm:@opentelemetry/sdk-trace-base@2.12.1";
import { tableFromArrays } from "apache-arrow";
import { FlightClient, serveGateway } from "../../flight.ts";
import { connect, DipcError, serve } from "../../mod.ts";
import { rpcMethod } from "../../src/flight/model.ts";
import { generated } from "../support/generated.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { until } from "../support/time.ts";

const ROWS = 1000;
const table = () => tableFromArrays({ n: Int32Array.from({ length: ROWS }, (_, i) => i) });

/** What the SDK has got of spans and of metrics, by name. */
interface Seen {
  spans(): ReadableSpan[];
  values(name: string): Promise<{ attributes: Record<string, unknown>; value: unknown }[]>;
}

/** Runs with the SDK registered, as a program does it. */
async function withSdk(run: (seen: Seen) => Promise<void>): Promise<void> {
  const exporter = new InMemorySpanExporter();
  const measured = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter: measured, exportIntervalMillis: 3_600_000 });
  const meters = new MeterProvider({ readers: [reader] });
  const tracers = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  trace.setGlobalTracerProvider(tracers);
  metrics.setGlobalMeterProvider(meters);
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  try {
    await run({
      spans: () => exporter.getFinishedSpans(),
      async values(name) {
        measured.reset();
        await meters.forceFlush();
        const all = measured.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics).flatMap((scope) => scope.metrics);
        return all.filter(({ descriptor }) => descriptor.name === name).flatMap(({ dataPoints }) =>
          dataPoints.map(({ attributes, value }) => ({ attributes, value }))
        );
      },
    });
  } finally {
    await tracers.shutdown();
    await meters.shutdown();
    trace.disable();
    metrics.disable();
    context.disable();
  }
}

/** The span that has this one below it. */
function above(span: ReadableSpan, spans: readonly ReadableSpan[]): ReadableSpan | undefined {
  return spans.find((each) => each.spanContext().spanId === span.parentSpanContext?.spanId);
}

testNeeding(
  [needsUcx],
  "client, gateway, server and stream are one trace, down to the batches",
  () =>
    withSdk(async ({ spans, values }) => {
      await using engine = await serve({ datasets: { trips: table() }, flight: { ucx: "off" } });
      await using gateway = await serveGateway({ engines: engine.flight!.location });
      await trace.getTracer("test").startActiveSpan("the user's own", async (own) => {
        await using reader = await connect(gateway.location, { flight: { path: "trips" }, share: false });
        for await (using batch of reader) assertEquals(batch.numRows, ROWS);
        assertEquals(reader.stats.route, "ucx");
        own.end();
      });
      await until(() => spans().filter(({ name }) => name === "dipc.stream").length === 2);
      const all = spans();
      assertEquals(new Set(all.map((span) => span.spanContext().traceId)).size, 1, "all is one trace");
      const only = (name: string, kind: SpanKind, parent?: string): ReadableSpan => {
        const found = all.filter((span) =>
          span.name === name && span.kind === kind && (parent === undefined || above(span, all)?.name === parent)
        );
        assertEquals(found.length, 1, `${name} ${SpanKind[kind]}: ${all.map((each) => each.name)}`);
        return found[0];
      };
      const read = only("dipc.stream", SpanKind.CLIENT);
      assertEquals(above(read, all)?.name, "the user's own");
      assertEquals(read.attributes["dipc.rows"], ROWS);
      assertEquals(read.attributes["dipc.complete"], true);
      assertEquals(above(only("dipc.batch", SpanKind.INTERNAL), all), read);
      const sent = only("dipc.stream", SpanKind.SERVER);
      assertEquals(above(sent, all), read, "the traceparent came over UCX");

      const service = "arrow.flight.protocol.FlightService";
      const described = only(`${service}/GetFlightInfo`, SpanKind.CLIENT, "dipc.stream");
      assertEquals(above(described, all), read);
      const atGateway = all.find((span) => span.kind === SpanKind.SERVER && above(span, all) === described)!;
      const toEngine = all.find((span) => span.kind === SpanKind.CLIENT && above(span, all) === atGateway)!;
      const atEngine = all.find((span) => span.kind === SpanKind.SERVER && above(span, all) === toEngine)!;
      for (const span of [atGateway, toEngine, atEngine]) assertEquals(span.name, `${service}/GetFlightInfo`);
      assertEquals(described.attributes["rpc.system.name"], "grpc");
      assertEquals(described.attributes["rpc.response.status_code"], "OK");
      assertEquals(described.attributes["server.port"], gateway.port);

      const calls = await values("rpc.client.call.duration");
      assert(calls.some(({ attributes }) => attributes["rpc.method"] === `${service}/DoGet`));
      const batches = await values("dipc.stream.batches");
      assertEquals(batches.map(({ attributes, value }) => [attributes["dipc.direction"], value]).sort(), [
        ["received", 1],
        ["sent", 1],
      ]);
      assertEquals((await values("dipc.route")).map(({ attributes }) => attributes), [
        { route: "ucx", reason: "the server offers UCX, and it answered" },
      ]);
      assertEquals((await values("dipc.window.wait")).length, 1);
    }),
);

testNeeding(
  [needsUcx],
  "memory that is lent is counted, and all of it comes back",
  () =>
    withSdk(async ({ spans, values }) => {
      await using server = await serve({ datasets: { trips: { source: generated(3, 65_536), share: true } } });
      {
        await using reader = await connect(server.datasets[0].uris[0]);
        const batches = [];
        for await (const batch of reader) batches.push(batch);
        const [{ value }] = await values("dipc.lease.bytes");
        assert(Number(value) >= ROWS * 4, String(value));
        for (const batch of batches) batch[Symbol.dispose]();
      }
      await until(() => spans().filter(({ name }) => name === "dipc.stream").length === 2);
      let left: unknown;
      for (let i = 0; i < 100 && left !== 0; i++) {
        left = (await values("dipc.lease.bytes"))[0].value;
        if (left !== 0) await new Promise((resolve) => setTimeout(resolve, 50));
      }
      assertEquals(left, 0);
    }),
);

Deno.test("a call that fails has its status, and a client cannot make up names of methods", () =>
  withSdk(async ({ spans, values }) => {
    await using server = await serve({ datasets: { trips: table() }, flight: { ucx: "off" } });
    await using client = await FlightClient.connect(server.flight!.location, {
      headers: { traceparent: "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01" },
    });
    try {
      await client.getFlightInfo({ path: ["nothing"] });
    } catch (error) {
      assert(error instanceof DipcError);
    }
    const made = await values("rpc.server.call.duration");
    assertMatch(String(made[0].attributes["rpc.response.status_code"]), /^NOT_FOUND$/);
    const [served] = spans().filter(({ kind }) => kind === SpanKind.SERVER);
    const [called] = spans().filter(({ kind }) => kind === SpanKind.CLIENT);
    assertEquals(called.status.code, SpanStatusCode.ERROR);
    assertEquals(called.attributes["error.type"], "NOT_FOUND");
    assertEquals(
      served.status.code,
      SpanStatusCode.UNSET,
      "a client that asks for what is not there is not the server's error",
    );
    assertEquals(called.spanContext().traceId, "0123456789abcdef0123456789abcdef");
    assertEquals(called.parentSpanContext?.spanId, "0123456789abcdef");
    // Metrics keep a series for each method.
    assertEquals(rpcMethod("Made up"), "_OTHER");
  }));
