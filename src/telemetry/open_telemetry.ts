/**
 * Spans and measurements by OpenTelemetry's API.
 *
 * The package `@opentelemetry/api` keeps what a program has registered in one global object, by which all of its copies and Deno's own
 * exporter (`OTEL_DENO=true`) find each other. It is read from there, so that this library neither loads the package nor asks for
 * a version of it, and does nothing in a program that has none.
 *
 * @module
 */
import type { Attributes, Backend, Instrument, Span, SpanKind, SpanStart } from "./backend.ts";

/** Where version 1 of the API keeps what is registered: `opentelemetry.js.api.` and the major version. */
const REGISTRY = Symbol.for("opentelemetry.js.api.1");
/** The key of the span in a context: `createContextKey` of the API, with the name that its trace part uses. */
const SPAN_KEY = Symbol.for("OpenTelemetry Context Key SPAN");
/** Name of what makes the spans, and of the meter. */
const SCOPE = "@arrow-ucx/dipc";
/** Kinds of spans and status codes as the API numbers them. */
const KINDS: Readonly<Record<SpanKind, number>> = { internal: 0, server: 1, client: 2 };
const STATUS_ERROR = 2;
/** Flag of `traceparent`: the trace is recorded. */
const SAMPLED = 1;
/** Version 00 of W3C's `traceparent`; a later one begins alike. */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:$|-)/;

interface ApiSpanContext {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceFlags: number;
  readonly isRemote?: boolean;
}

interface ApiSpan {
  spanContext(): ApiSpanContext;
  setAttributes(attributes: Attributes): unknown;
  setStatus(status: { code: number; message?: string }): unknown;
  isRecording(): boolean;
  end(): void;
}

interface ApiContext {
  getValue(key: symbol): unknown;
  setValue(key: symbol, value: unknown): ApiContext;
  deleteValue(key: symbol): ApiContext;
}

interface ApiInstrument {
  add?(value: number, attributes: Attributes): void;
  record?(value: number, attributes: Attributes): void;
}

type CreateInstrument = (name: string, options: Record<string, unknown>) => ApiInstrument;

interface ApiMeter {
  createCounter: CreateInstrument;
  createUpDownCounter: CreateInstrument;
  createHistogram: CreateInstrument;
}

/** What programs register. */
interface Api {
  trace?: {
    getTracer(name: string, version?: string): {
      startSpan(name: string, options: Record<string, unknown>, context: ApiContext): ApiSpan;
    };
  };
  metrics?: { getMeter(name: string, version?: string): ApiMeter };
  context?: {
    active(): ApiContext;
    with<T>(context: ApiContext, run: () => T): T;
    bind<F>(context: ApiContext, run: F): F;
  };
}

/** A context of ours, for a program that has registered nothing that makes some. */
class OwnContext implements ApiContext {
  readonly #values: ReadonlyMap<symbol, unknown>;

  constructor(values: ReadonlyMap<symbol, unknown> = new Map()) {
    this.#values = values;
  }

  getValue(key: symbol): unknown {
    return this.#values.get(key);
  }

  setValue(key: symbol, value: unknown): ApiContext {
    return new OwnContext(new Map(this.#values).set(key, value));
  }

  deleteValue(key: symbol): ApiContext {
    const values = new Map(this.#values);
    values.delete(key);
    return new OwnContext(values);
  }
}

const ROOT = new OwnContext();

/** A span of another program. */
class RemoteSpan implements ApiSpan {
  readonly #context: ApiSpanContext;

  constructor(context: ApiSpanContext) {
    this.#context = context;
  }

  spanContext(): ApiSpanContext {
    return this.#context;
  }

  setAttributes(): this {
    return this;
  }

  setStatus(): this {
    return this;
  }

  /** For those that do not know that it belongs to another program. */
  setAttribute(): this {
    return this;
  }

  /** As above. */
  addEvent(): this {
    return this;
  }

  /** As above. */
  addLink(): this {
    return this;
  }

  /** As above. */
  addLinks(): this {
    return this;
  }

  /** As above. */
  updateName(): this {
    return this;
  }

  /** As above. */
  recordException(): void {}

  isRecording(): boolean {
    return false;
  }

  end(): void {}
}

class OpenSpan implements Span {
  readonly #api: Api;
  readonly #span: ApiSpan;
  readonly context: ApiContext;
  readonly traceparent: string;
  readonly isRecording: boolean;

  constructor(api: Api, span: ApiSpan, above: ApiContext) {
    this.#api = api;
    this.#span = span;
    this.context = above.setValue(SPAN_KEY, span);
    this.traceparent = formatTraceparent(span.spanContext());
    this.isRecording = span.isRecording();
  }

  set(attributes: Attributes): void {
    this.#span.setAttributes(attributes);
  }

  run<T>(run: () => T): T {
    return this.#api.context === undefined ? run() : this.#api.context.with(this.context, run);
  }

  end(failure?: { readonly type: string; readonly message: string }): void {
    if (failure !== undefined) {
      this.#span.setAttributes({ "error.type": failure.type });
      this.#span.setStatus({ code: STATUS_ERROR, message: failure.message });
    }
    this.#span.end();
  }
}

function formatTraceparent({ traceId, spanId, traceFlags }: ApiSpanContext): string {
  return `00-${traceId}-${spanId}-0${traceFlags & SAMPLED}`;
}

/** The span that a `traceparent` names; `null` if it is malformed, which is ignored as W3C wants it. */
export function parseTraceparent(text: string): ApiSpanContext | null {
  const found = TRACEPARENT.exec(text);
  if (found === null) return null;
  const [, traceId, spanId, flags] = found;
  return { traceId, spanId, traceFlags: parseInt(flags, 16), isRemote: true };
}

/** What a program has registered; `null` if it has registered nothing. */
export function openTelemetry(): OpenTelemetry | null {
  const api = (globalThis as Record<symbol, unknown>)[REGISTRY] as Api | undefined;
  if (api === undefined || (api.trace === undefined && api.metrics === undefined)) return null;
  if (known === null || known.api !== api) known = new OpenTelemetry(api);
  return known;
}

let known: OpenTelemetry | null = null;

/** OpenTelemetry as a program has registered it. */
export class OpenTelemetry implements Backend {
  /** What is registered, now or later. */
  readonly api: Api;
  /** Instruments of the provider of meters that is registered. */
  #instruments = new Map<string, ApiInstrument>();
  #meters: Api["metrics"];

  constructor(api: Api) {
    this.api = api;
  }

  start({ name, kind, attributes, parent, startedMs }: SpanStart): Span | null {
    const { api } = this;
    if (api.trace === undefined) return null;
    const above = this.#above(parent);
    const startTime = startedMs === undefined ? undefined : performance.timeOrigin + startedMs;
    const options = { kind: KINDS[kind], attributes, ...(startTime === undefined ? {} : { startTime }) };
    const span = api.trace.getTracer(SCOPE).startSpan(name, options, above);
    // Without a provider the API makes spans without a trace.
    return /^0*$/.test(span.spanContext().traceId) ? null : new OpenSpan(api, span, above);
  }

  current(): string | null {
    const span = this.api.context?.active().getValue(SPAN_KEY) as ApiSpan | undefined;
    const context = span?.spanContext();
    return context === undefined || /^0*$/.test(context.traceId) ? null : formatTraceparent(context);
  }

  bind<A extends unknown[], T>(run: (...args: A) => T): (...args: A) => T {
    const { context } = this.api;
    return context === undefined ? run : context.bind(context.active(), run);
  }

  measure(instrument: Instrument, value: number, attributes: Attributes): void {
    const { metrics } = this.api;
    if (metrics === undefined) return;
    if (metrics !== this.#meters) {
      this.#meters = metrics;
      this.#instruments = new Map();
    }
    let found = this.#instruments.get(instrument.name);
    if (found === undefined) {
      this.#instruments.set(instrument.name, found = create(metrics.getMeter(SCOPE), instrument));
    }
    if (instrument.kind === "histogram") found.record!(value, attributes);
    else found.add!(value, attributes);
  }

  #above(parent: Span | string | undefined): ApiContext {
    if (parent instanceof OpenSpan) return parent.context;
    if (typeof parent === "string") {
      const remote = parseTraceparent(parent);
      return remote === null ? ROOT : ROOT.setValue(SPAN_KEY, new RemoteSpan(remote));
    }
    return this.api.context?.active() ?? ROOT;
  }
}

function create(meter: ApiMeter, { name, kind, unit, description, boundaries }: Instrument): ApiInstrument {
  if (kind === "counter") return meter.createCounter(name, { unit, description });
  if (kind === "upDownCounter") return meter.createUpDownCounter(name, { unit, description });
  const advice = boundaries && { explicitBucketBoundaries: [...boundaries] };
  return meter.createHistogram(name, { unit, description, advice });
}
