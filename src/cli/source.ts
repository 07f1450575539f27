/**
 * The source that `get` and `schema` fetch from.
 *
 * @module
 */
import type { ConnectOptions } from "../connect.ts";
import { isFlightUri } from "../flight/location.ts";
import { choice, type ParsedArgs, UsageError } from "./args.ts";
import { flightOptionsOf, locationOptionsOf, refuseFlightOptions, timeoutOf } from "./flight_options.ts";

const ROUTES = ["auto", "ucx", "flight"] as const;

/** Arguments of `connect`. */
export interface Source {
  /** URI of a Flight server, of both streams, or of the metadata if `options.bodyUri` is set. */
  readonly uri: string;
  /** Options of `connect`. */
  readonly options: ConnectOptions & { readonly timeoutMs: number };
}

/**
 * Reads `URI [TICKET]` and the options.
 *
 * @throws {UsageError}
 * @throws {DipcError} if a file that an option names cannot be read
 */
export function sourceOf(args: ParsedArgs, command: string): Source {
  const [uri, ticket, ...more] = args.positional;
  if (uri === undefined) {
    throw new UsageError(
      `cannot run dipc ${command}: it needs a URI; give what "dipc serve" prints, such as ucx://HOST:PORT/NAME?want_data=N`,
    );
  }
  if (more.length > 0) {
    throw new UsageError(
      `cannot run dipc ${command}: it takes a URI and a ticket, but was also given "${more[0]}"; ` +
        `quote the URI, or the shell takes its "?" and "&" apart`,
    );
  }
  if (isFlightUri(uri)) {
    const { timeoutMs, ...call } = flightOptionsOf(args);
    const { route, flight } = flightOf(args, ticket);
    return { uri, options: { route, flight: { ...flight, ...call }, timeoutMs } };
  }
  refuseFlightOptions(args, ["command", "route", "via"]);
  return {
    uri,
    options: {
      ...(ticket === undefined ? {} : { ticket }),
      ...(args.values.has("body-uri") ? { bodyUri: args.values.get("body-uri") } : {}),
      timeoutMs: timeoutOf(args),
    },
  };
}

/** Which flight, by which route. */
function flightOf(args: ParsedArgs, name: string | undefined): Pick<ConnectOptions, "route" | "flight"> {
  const { values } = args;
  if (values.has("body-uri")) {
    throw new UsageError("cannot use --body-uri: it is for a ucx: URI, and a Flight server names its locations itself");
  }
  const command = values.get("command");
  if (command !== undefined && name !== undefined) {
    throw new UsageError(`cannot use --command: it and the name "${name}" exclude each other; give one`);
  }
  const route = choice(args, "route", ROUTES, { option: "via" });
  return {
    ...(route === undefined ? {} : { route }),
    flight: {
      ...(command === undefined ? {} : { command }),
      ...(name === undefined ? {} : { path: name }),
      ...locationOptionsOf(args),
    },
  };
}
