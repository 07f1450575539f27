/**
 * Traces and metrics of this library: they go to a trace file if there is one, otherwise to what the program has registered with
 * OpenTelemetry, otherwise nowhere.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { printable, textOf } from "../text.ts";
import type { Attributes, Backend, Instrument, Span, SpanStart } from "./backend.ts";
import { openTelemetry } from "./open_telemetry.ts";

/** A trace file, which takes everything. */
let file: Backend | null = null;

/** Writes everything to a backend from now on; to OpenTelemetry again with `null`. */
export function setTelemetry(backend: Backend | null): void {
  file = backend;
}

/** Begins a span; `null` if nobody wants any. */
export function startSpan(span: SpanStart): Span | null {
  return (file ?? openTelemetry())?.start(span) ?? null;
}

/** `traceparent` of the span that runs; `null` if there is none. */
export function currentTraceparent(): string | null {
  return (file ?? openTelemetry())?.current() ?? null;
}

/** Makes a function that runs with the span that runs now. */
export function bound<A extends unknown[], T>(run: (...args: A) => T): (...args: A) => T {
  return (file ?? openTelemetry())?.bind(run) ?? run;
}

/** Adds or records a value. */
export function measure(instrument: Instrument, value: number, attributes: Attributes = {}): void {
  (file ?? openTelemetry())?.measure(instrument, value, attributes);
}

/** What a span or a metric says of an error. */
export function failureOf(error: unknown): { type: string; message: string } {
  const type = error instanceof DipcError ? error.code : error instanceof Error ? error.name : "_OTHER";
  return { type, message: printable(textOf(error)) };
}
