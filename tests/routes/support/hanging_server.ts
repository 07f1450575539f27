/**
 * A server that stops itself, as SIGSTOP does to it, at a step of the one stream that it serves:
 *
 *     hanging_server.ts FILE STEP
 *
 * serves the file as `x`, by UCX and by Flight, and prints the URIs of both as one line of JSON. The steps are those of
 * {@linkcode STEPS}.
 *
 * @module
 */
import { type Dataset, openPath, serve } from "../../../mod.ts";

/** The steps at which a server may stop. */
export const STEPS = ["connection", "info", "request", "first", "middle", "last", "end"] as const;

/** One of them. */
export type Step = typeof STEPS[number];

/** A dataset that stops this process before its message of a number; the end is the one after the last. */
function stopping(inner: Dataset, step: Step, messages: number): Dataset {
  const at = { first: 0, middle: messages >> 1, last: messages - 1, end: messages }[step as string];
  return {
    schema: inner.schema,
    rows: inner.rows,
    batches: inner.batches,
    readOnce: false,
    async open(options) {
      if (step === "request") stop();
      const stream = await inner.open(options);
      let count = 0;
      return {
        next() {
          if (count++ === at) stop();
          return stream.next();
        },
        close: () => stream.close(),
      };
    },
    close: () => inner.close(),
  };
}

function stop(): void {
  Deno.kill(Deno.pid, "SIGSTOP");
}

if (import.meta.main) {
  const [file, step] = Deno.args as [string, Step];
  const inner = await openPath(file);
  const server = await serve({
    datasets: { x: stopping(inner, step, inner.batches!) },
    flight: {
      ucx: "optional",
      handlers: {
        onCall({ method }) {
          if (step === "info" && method === "GetFlightInfo") stop();
        },
      },
    },
  });
  server.addEventListener("connection", () => step === "connection" && stop());
  console.log(JSON.stringify({ ucx: server.datasets[0].uris[0], flight: `${server.flight!.location}/x` }));
}
