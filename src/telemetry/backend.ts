/**
 * What telemetry is written to: spans and measurements.
 *
 * @module
 */

/** Values that say more about a span or a measurement, by their names. */
export type Attributes = Readonly<Record<string, string | number | boolean>>;

/** How a span is related to others, in OpenTelemetry's words. */
export type SpanKind = "internal" | "server" | "client";

/** What begins with a span. */
export interface SpanStart {
  /** Its name. */
  readonly name: string;
  /** How it is related to others. */
  readonly kind: SpanKind;
  /** What is known at the start. */
  readonly attributes: Attributes;
  /** The span above it: one of this program, a `traceparent` of another, or `undefined` for the one that runs now. */
  readonly parent?: Span | string;
  /** When it began, of `performance.now()`; default: now. */
  readonly startedMs?: number;
}

/** A piece of work with a beginning and an end, as a part of a trace. */
export interface Span {
  /** Value of the W3C header by which another program goes on with the trace. */
  readonly traceparent: string;
  /** Whether somebody wants to see it; if not, only its `traceparent` is of use. */
  readonly isRecording: boolean;
  /** Adds what has become known. */
  set(attributes: Attributes): void;
  /** Runs a function, and what it starts, with this as the span that runs. */
  run<T>(run: () => T): T;
  /**
   * Ends it. Called once.
   *
   * @param failure Why it failed: a code without a blank, and a text
   */
  end(failure?: { readonly type: string; readonly message: string }): void;
}

/** How a value is measured. */
export interface Instrument {
  /** Its name. */
  readonly name: string;
  /** Sums that grow, sums that also fall, or a distribution. */
  readonly kind: "counter" | "upDownCounter" | "histogram";
  /** Its unit in UCUM, such as `"s"` or `"By"`. */
  readonly unit: string;
  /** What it tells, for people. */
  readonly description: string;
  /** Limits of the buckets of a histogram. */
  readonly boundaries?: readonly number[];
}

/** Takes spans and measurements. */
export interface Backend {
  /** Begins a span; `null` if nobody wants any. */
  start(span: SpanStart): Span | null;
  /** `traceparent` of the span that runs; `null` if there is none. */
  current(): string | null;
  /** Makes a function that runs with the span that runs now. */
  bind<A extends unknown[], T>(run: (...args: A) => T): (...args: A) => T;
  /** Adds or records a value. */
  measure(instrument: Instrument, value: number, attributes: Attributes): void;
}
