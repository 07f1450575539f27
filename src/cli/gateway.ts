/**
 * `dipc gateway`: a gateway to Flight servers, until a signal arrives.
 *
 * @module
 */
import { parseFlightLocation } from "../flight/location.ts";
import type { GatewayOptions } from "../gateway/options.ts";
import type { FlightTlsOptions } from "../grpc/tls.ts";
import { duration, integerOption, type ParsedArgs, size, UsageError } from "./args.ts";
import { EXIT_INTERRUPTED, EXIT_OK } from "./exit_codes.ts";
import { flightUri } from "./flight_options.ts";
import { readText, refuseUcxPorts, serverTlsOf } from "./flight_serving.ts";
import { catchInterrupt, type EndSignal } from "./interrupt.ts";
import { countOf } from "./numbers.ts";
import { print, printError } from "./output.ts";
import { connecting, listening, NATIVE, requireForCommand } from "./permissions.ts";
import { logGateway } from "./server_log.ts";
import { limitsOf } from "./serve.ts";

/** How long running streams may go on after the first signal, in milliseconds. */
const DRAIN_MS = 10_000;
const MAX_PORT = 65_535;

/** Runs `dipc gateway`. @returns exit status */
export async function runGateway(args: ParsedArgs): Promise<number> {
  const { values, flags } = args;
  const engines = enginesOf(args.positional);
  const byName = typeof engines === "string" ? { "": engines } : engines;
  const uris = Object.values(byName);
  refuseUcxPorts(args);
  const port = (name: string): number => integerOption(`--${name}`, values.get(name) ?? "0", 0, MAX_PORT);
  const lifetime = values.get("ticket-lifetime");
  const address = values.get("address") ?? "127.0.0.1";
  const options = {
    ...{ engines, address, port: port("flight-port"), ucxPort: port("port"), advertise: values.get("advertise") },
    ...{ tls: serverTlsOf(args), engineTls: engineTlsOf(args, uris), limits: limitsOf(args) },
    oneFetch: oneFetchOf(args),
    ...{ share: flags.has("share"), trustLocations: flags.has("trust-locations") },
    ucx: flags.has("no-ucx") ? "off" as const : "required" as const,
    tickets: lifetime === undefined ? {} : { lifetimeMs: duration("--ticket-lifetime", lifetime) },
  };
  if (options.share && options.ucx === "off") {
    throw new UsageError("cannot use --share: it and --no-ucx exclude each other; give one");
  }
  const native = options.ucx === "off" ? [] : NATIVE;
  requireForCommand("gateway", [...native, listening(address, options.port), ...uris.flatMap(connecting)]);
  using interrupt = catchInterrupt();
  const { serveGateway } = await import("../../flight.ts");
  const gateway = await serveGateway(options);
  try {
    logGateway(gateway);
    const { location, ucxPort } = gateway;
    if (flags.has("json")) {
      await print(`${JSON.stringify({ pid: Deno.pid, address, flight: location, ucxPort, engines: byName })}\n`);
    } else {
      await print(`${location}\n`);
      if (Deno.stderr.isTerminal()) await printError(`passing calls on to ${uris.join(", ")}, Ctrl-C stops\n`);
    }
    await new Promise<void>((resolve) => {
      if (interrupt.signal.aborted) resolve();
      else interrupt.signal.addEventListener("abort", () => resolve(), { once: true });
    });
  } finally {
    await announceEnd(interrupt.caught, gateway.activeCalls + gateway.stats.activeConnections);
    await gateway.shutdown({ timeoutMs: DRAIN_MS });
  }
  return interrupt.caught === "SIGINT" ? EXIT_INTERRUPTED : EXIT_OK;
}

/** `URI`, or `NAME=URI` for each engine. @throws {UsageError} */
function enginesOf(texts: readonly string[]): string | Record<string, string> {
  const [first, ...others] = texts;
  if (first === undefined || (others.length === 0 && !/^[\w.-]+=/.test(first))) return flightUri(first, "gateway");
  const engines: Record<string, string> = Object.create(null);
  for (const text of texts) {
    const [, name, uri] = /^([\w.-]{1,255})=(.*)$/.exec(text) ?? [];
    if (name === undefined) {
      throw new UsageError(`cannot use "${text}": it does not name its engine; with several, write NAME=URI for each`);
    }
    if (Object.hasOwn(engines, name)) {
      throw new UsageError(`cannot use "${text}": there is an engine "${name}" already; name one of them otherwise`);
    }
    engines[name] = flightUri(uri, "gateway");
  }
  return engines;
}

/** @throws {UsageError} */
function oneFetchOf({ values, flags }: ParsedArgs): GatewayOptions["oneFetch"] {
  const [keep, most] = [values.get("keep-results"), values.get("max-kept")];
  if (!flags.has("one-fetch")) {
    const given = keep !== undefined ? "keep-results" : most !== undefined ? "max-kept" : null;
    if (given !== null) throw new UsageError(`cannot use --${given}: it is for shared fetches; give --one-fetch too`);
    return false;
  }
  return {
    ...(keep === undefined ? {} : { keepMs: duration("--keep-results", keep) }),
    ...(most === undefined ? {} : { maxBytes: size("--max-kept", most) }),
  };
}

function engineTlsOf({ values, flags }: ParsedArgs, uris: readonly string[]): FlightTlsOptions | undefined {
  const [ca, cert, key] = ["engine-ca", "engine-cert", "engine-key"].map((name) => values.get(name));
  if ((cert === undefined) !== (key === undefined)) {
    throw new UsageError("cannot use --engine-cert or --engine-key alone: they go together; give both");
  }
  if (ca === undefined && cert === undefined) return undefined;
  // Engines that may name locations elsewhere may name some with TLS.
  if (!flags.has("trust-locations") && !uris.some((uri) => parseFlightLocation(uri).tls)) {
    const given = ca === undefined ? "engine-cert" : "engine-ca";
    throw new UsageError(
      `cannot use --${given}: it is for TLS, and no engine is reached by that; write grpc+tls: in its URI, or leave the option out`,
    );
  }
  return {
    ...(ca === undefined ? {} : { ca: readText(ca) }),
    ...(cert === undefined ? {} : { cert: readText(cert), key: readText(key!) }),
  };
}

async function announceEnd(caught: EndSignal | null, active: number): Promise<void> {
  if (caught === null || active === 0) return;
  await printError(
    `stopping: ${countOf(active, "stream")} open, waiting up to ${DRAIN_MS / 1000} s (Ctrl-C stops at once)\n`,
  );
}
