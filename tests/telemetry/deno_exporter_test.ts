/** Deno's own exporter: a program without any package of OpenTelemetry sends dipc's spans and metrics to a collector. */
import { assert, assertEquals } from "@std/assert";
import { ROOT } from "../support/paths.ts";

interface Sent {
  readonly path: string;
  readonly body: string;
}

Deno.test("with OTEL_DENO a collector gets the spans of a call, and its metrics", async () => {
  const sent: Sent[] = [];
  await using collector = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
    sent.push({ path: new URL(request.url).pathname, body: await request.text() });
    return Response.json({});
  });
  const program = `
    import { serve } from "${ROOT}/mod.ts";
    import { FlightClient } from "${ROOT}/flight.ts";
    import { tableFromArrays } from "apache-arrow";
    await using server = await serve({ datasets: { t: tableFromArrays({ n: [1] }) }, flight: { ucx: "off" } });
    await using client = await FlightClient.connect(server.flight.location);
    console.log((await client.getFlightInfo({ path: ["t"] })).endpoints.length);
  `;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--quiet", `--config=${ROOT}/deno.json`, "--ext=ts", "-"],
    env: {
      OTEL_DENO: "true",
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.addr.port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const outcome = child.output();
  const stdin = child.stdin.getWriter();
  await stdin.write(new TextEncoder().encode(program));
  await stdin.close();
  const { code, stdout, stderr } = await outcome;
  const decoder = new TextDecoder();
  assertEquals(code, 0, decoder.decode(stderr));
  assertEquals(decoder.decode(stdout).trim(), "1");

  const spans = sent.filter(({ path }) => path === "/v1/traces").flatMap(({ body }) => spansOf(body));
  const method = "arrow.flight.protocol.FlightService/GetFlightInfo";
  const [one, other] = spans.filter(({ name }) => name === method);
  const [called, served] = one.parentSpanId === "" ? [one, other] : [other, one];
  assertEquals(served.parentSpanId, called.spanId);
  assertEquals(served.traceId, called.traceId);
  assert(sent.some(({ path, body }) => path === "/v1/metrics" && body.includes("rpc.client.call.duration")));
});

interface SentSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
}

function spansOf(body: string): SentSpan[] {
  const { resourceSpans } = JSON.parse(body) as { resourceSpans: { scopeSpans: { spans: SentSpan[] }[] }[] };
  return resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans));
}
