/**
 * A trace as a file that Perfetto and Chrome's `about:tracing` show: the JSON of the "Trace Event Format".
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Attributes, Backend, Instrument, Span, SpanStart } from "./backend.ts";
import { parseTraceparent } from "./open_telemetry.ts";

/** An event of the format. */
interface TraceEvent {
  readonly name: string;
  readonly cat: string;
  /** `X` a complete event, `M` metadata, `C` a counter. */
  readonly ph: "X" | "M" | "C";
  /** Microseconds since 1970, so that files of several programs fit together. */
  readonly ts: number;
  /** Microseconds. */
  readonly dur?: number;
  readonly pid: number;
  /** Number of the row; complete events in one row must be nested, so that each span that has none above it gets its own. */
  readonly tid: number;
  readonly args: Attributes;
}

/** Takes the text of a trace. */
export type TraceSink = (text: string) => void;

/** Writes a trace while it happens. What is written is valid once it was closed; viewers also take a file that was cut off. */
export class ChromeTrace implements Backend {
  readonly #write: TraceSink;
  readonly #running = new AsyncLocalStorage<TraceSpan>();
  readonly #sums = new Map<string, number>();
  /** Rows that no span uses, to be used again. */
  readonly #freeRows: number[] = [];
  #rows = 0;
  #isFirst = true;

  /**
   * @param write Takes the text, piece by piece
   * @param name What the process is called
   */
  constructor(write: TraceSink, name: string) {
    this.#write = write;
    this.#event({ name: "process_name", cat: "", ph: "M", ts: 0, pid: Deno.pid, tid: 0, args: { name } });
  }

  start(span: SpanStart): Span {
    const parent = span.parent ?? this.#running.getStore();
    return new TraceSpan(this, span, parent as TraceSpan | string | undefined);
  }

  current(): string | null {
    return this.#running.getStore()?.traceparent ?? null;
  }

  bind<A extends unknown[], T>(run: (...args: A) => T): (...args: A) => T {
    return AsyncLocalStorage.bind(run);
  }

  measure({ name, kind }: Instrument, value: number, attributes: Attributes): void {
    // A distribution of durations is in the spans.
    if (kind === "histogram") return;
    const series = `${name} ${JSON.stringify(attributes)}`;
    const sum = (this.#sums.get(series) ?? 0) + value;
    this.#sums.set(series, sum);
    const label = Object.values(attributes).join(", ") || "all";
    this.#event({ name, cat: "", ph: "C", ts: nowUs(), pid: Deno.pid, tid: 0, args: { [label]: sum } });
  }

  /** Ends the file. */
  close(): void {
    this.#write(this.#isFirst ? "[]\n" : "\n]\n");
  }

  /** @ignore */
  run<T>(span: TraceSpan, run: () => T): T {
    return this.#running.run(span, run);
  }

  /** @ignore A row for spans. */
  takeRow(): number {
    return this.#freeRows.pop() ?? ++this.#rows;
  }

  /** @ignore */
  end(row: number | null, event: Omit<TraceEvent, "pid">): void {
    if (row !== null) this.#freeRows.push(row);
    this.#event({ ...event, pid: Deno.pid });
  }

  #event(event: TraceEvent): void {
    this.#write(`${this.#isFirst ? "[\n" : ",\n"}${JSON.stringify(event)}`);
    this.#isFirst = false;
  }
}

/** A span, written when it ends. */
class TraceSpan implements Span {
  readonly #trace: ChromeTrace;
  readonly #start: SpanStart;
  readonly #startedUs: number;
  readonly #row: number;
  readonly #ownsRow: boolean;
  readonly #traceId: string;
  readonly #spanId = randomHex(8);
  readonly #parentId: string | null;
  #attributes: Attributes;
  readonly isRecording = true;

  constructor(trace: ChromeTrace, start: SpanStart, parent: TraceSpan | string | undefined) {
    this.#trace = trace;
    this.#start = start;
    this.#attributes = start.attributes;
    this.#startedUs = start.startedMs === undefined ? nowUs() : usOf(start.startedMs);
    const remote = typeof parent === "string" ? parseTraceparent(parent) : null;
    const above = parent instanceof TraceSpan ? parent : null;
    // What is done for another program, or by calls that may overlap, has a row of its own.
    this.#ownsRow = above === null || start.kind !== "internal";
    this.#row = this.#ownsRow ? trace.takeRow() : above!.#row;
    this.#traceId = (above === null ? undefined : above.#traceId) ?? remote?.traceId ?? randomHex(16);
    this.#parentId = (above === null ? undefined : above.#spanId) ?? remote?.spanId ?? null;
  }

  get traceparent(): string {
    return `00-${this.#traceId}-${this.#spanId}-01`;
  }

  set(attributes: Attributes): void {
    this.#attributes = { ...this.#attributes, ...attributes };
  }

  run<T>(run: () => T): T {
    return this.#trace.run(this, run);
  }

  end(failure?: { readonly type: string; readonly message: string }): void {
    this.#trace.end(this.#ownsRow ? this.#row : null, {
      name: this.#start.name,
      cat: this.#start.kind,
      ph: "X",
      ts: this.#startedUs,
      dur: Math.max(0, nowUs() - this.#startedUs),
      tid: this.#row,
      args: {
        ...this.#attributes,
        ...(failure === undefined ? {} : { "error.type": failure.type, error: failure.message }),
        trace_id: this.#traceId,
        span_id: this.#spanId,
        ...(this.#parentId === null ? {} : { parent_span_id: this.#parentId }),
      },
    });
  }
}

function usOf(ms: number): number {
  return Math.round((performance.timeOrigin + ms) * 1000);
}

function nowUs(): number {
  return usOf(performance.now());
}

function randomHex(bytes: number): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, "0")).join(
    "",
  );
}
