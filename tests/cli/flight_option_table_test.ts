/** Every option of one entry to Flight is an option of the others, if it can count there. */
import { assertEquals } from "@std/assert";
import type { FlightClientOptions } from "../../flight.ts";
import type { ConnectFlightOptions, ConnectOptions } from "../../mod.ts";
import { commands } from "../../src/cli/commands.ts";
import { checkOptions } from "../../src/routes/options.ts";
import { printTable } from "../support/table.ts";

/** The commands that call a Flight server. */
const COMMANDS = ["get", "schema", "ls", "put", "action"] as const;

/** Options of the command for one of the library, or why it has none. */
type OfCommand = readonly string[] | { readonly none: string };

interface Row {
  /** The option as `connect` takes it; empty if it cannot count there. */
  readonly connect: Partial<ConnectOptions>;
  readonly command: OfCommand;
  /** The commands that it can count for. Default: all. */
  readonly of?: readonly string[];
}

/** Every option of `FlightClient`: the compiler asks for a row for each. */
const CLIENT: Record<keyof FlightClientOptions, Row> = {
  signal: { connect: { signal: new AbortController().signal }, command: { none: "Ctrl-C" } },
  timeoutMs: { connect: { timeoutMs: 1 }, command: ["timeout"] },
  tls: {
    connect: { flight: { tls: { serverName: "x", insecureSkipVerify: true } } },
    command: ["tls-ca", "tls-cert", "tls-key", "tls-server-name", "tls-skip-verify"],
  },
  headers: { connect: { flight: { headers: {} } }, command: ["header"] },
  token: { connect: { flight: { token: "x" } }, command: ["token-file"] },
  user: { connect: { flight: { user: "x" } }, command: ["user"] },
  password: { connect: { flight: { password: "x" } }, command: ["user"] },
  cookies: { connect: { flight: { cookies: false } }, command: ["no-cookies"] },
  middleware: { connect: { flight: { middleware: [] } }, command: { none: "functions of a program" } },
  limits: {
    connect: { limits: {} },
    command: ["max-metadata", "max-body", "max-rows"],
    of: ["get", "schema", "put"],
  },
  maxMessageBytes: { connect: { flight: { maxMessageBytes: 1 } }, command: ["max-message"] },
  // Only uploads are cut.
  maxBatchBytes: { connect: {}, command: ["max-batch"], of: ["put"] },
  pool: { connect: { pool: undefined }, command: { none: "memory of a program" } },
};

/** Options of `connect` for what it alone does: it follows the locations of a flight. `dipc get` is its command. */
const CONNECT: Record<Exclude<keyof ConnectFlightOptions, keyof FlightClientOptions>, OfCommand> = {
  path: { none: "an argument" },
  command: ["command"],
  ucxTimeoutMs: ["ucx-timeout"],
  locationTimeoutMs: ["location-timeout"],
  parallelEndpoints: ["parallel-endpoints"],
  trustLocations: ["trust-locations"],
};

function missing(name: string, of: OfCommand): string[] {
  const { flags, values, lists = [] } = commands.find((each) => each.name === name)!;
  return "none" in of ? [] : of.filter((option) => ![...flags, ...values, ...lists].includes(option));
}

const shown = (of: OfCommand): string => "none" in of ? `(${of.none})` : of.map((option) => `--${option}`).join(" ");

Deno.test("FlightClient, connect and every command for a Flight server take the same options", () => {
  const rows: string[][] = [];
  const lacks: string[] = [];
  for (const [option, { connect, command, of = COMMANDS }] of Object.entries(CLIENT)) {
    checkOptions("flight", connect);
    for (const name of of) lacks.push(...missing(name, command).map((each) => `${name} --${each}`));
    const [place = "(uploads only)"] = Object.keys(connect);
    rows.push([option, place === "flight" ? `flight.${option}` : place, shown(command), of.join(" ")]);
  }
  for (const [option, command] of Object.entries(CONNECT)) {
    lacks.push(...missing("get", command).map((each) => `get --${each}`));
    rows.push(["", `flight.${option}`, shown(command), "get"]);
  }
  printTable("Options for a Flight server", ["FlightClient", "connect", "command", "of"], rows);
  assertEquals(lacks, []);
});
