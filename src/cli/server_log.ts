/**
 * The log of `dipc serve` on standard error: what has failed, on which connection, for which dataset, and why. Each failure that
 * sends a client to "the server's own log" is in it.
 *
 * @module
 */
import { DipcError, LocalError } from "../errors.ts";
import type { TypedEventTarget } from "../events.ts";
import type { FlightServerEventDetail, FlightServerEvents } from "../flight/service/flight_server.ts";
import type { Server } from "../serving/server.ts";
import { DatasetError } from "../tell_peer.ts";
import { printable, textOf } from "../text.ts";
import { asFailure, failureLine } from "./failure.ts";
import { countOf } from "./numbers.ts";
import { printError } from "./output.ts";

/** Causes that one line names. */
const MAX_CAUSES = 5;

/** The place of a failure, from the outside to the inside. */
type Place = readonly (string | false | undefined)[];

/** Logs the failures of a server, of both of its sides; it goes on. */
export function logFailures(server: Server): void {
  logStreams(server);
  server.flight?.addEventListener("error", ({ detail }) => logCall(detail));
}

/** A client that leaves early (`get --limit`, `schema`, Ctrl-C) is mentioned, but is not a failure. */
function logStreams(server: Server): void {
  server.addEventListener("error", ({ detail: { connection, dataset, totals, error = unknown() } }) => {
    logStream([`connection ${connection}`, dataset !== undefined && `dataset ${dataset}`], error, totals?.batches);
  });
}

function logStream(place: Place, error: DipcError, batches: number | undefined): void {
  // What a dataset throws is not the client's doing, whatever its code.
  if (!isOfPeer(error) || error instanceof DatasetError) return log(place, error);
  const after = batches === undefined ? "" : ` after ${countOf(batches, "batch", "batches")}`;
  printError(`${placeText(place)}: the client left${after}\n`);
}

/** Logs the failures of a gateway that its clients are not told: not what an engine has answered. */
export function logGateway(gateway: TypedEventTarget<FlightServerEvents>): void {
  gateway.addEventListener("error", ({ detail }) => {
    const { connection, method, dataset, batches, error = unknown() } = detail;
    // Only a stream by UCX has an engine, and no method.
    if (method === "" && dataset !== undefined) {
      logStream([`connection ${connection}`, dataset !== "" && `engine ${dataset}`], error, batches);
    } else if (method === "" || error.foreign?.system !== "grpc") logCall(detail);
  });
}

/** Logs a call that has failed. */
function logCall({ connection, method, dataset, error = unknown() }: FlightServerEventDetail): void {
  // Errors about the server's own connections and datasets have these codes too.
  if (isOfPeer(error) && !(error instanceof LocalError)) return;
  log(["Flight", connection > 0 && `connection ${connection}`, method, dataset && `dataset ${dataset}`], error);
}

function isOfPeer({ code }: DipcError): boolean {
  return code === "connection_lost" || code === "cancelled";
}

function log(place: Place, error: DipcError): void {
  const { code, message } = asFailure(error);
  printError(failureLine({ code, message: `${placeText(place)}: ${message}${causesOf(error)}` }));
}

function placeText(place: Place): string {
  // Names are the clients' own: they must not look like other lines of the log.
  return printable(place.filter((part) => typeof part === "string" && part !== "").join(", "));
}

/** What led to an error, as far as its text does not say it already; and where, if that is a defect. */
function causesOf(error: DipcError): string {
  let text = error.message;
  const added: string[] = [];
  let cause = error.cause;
  for (let count = 0; count < MAX_CAUSES && cause !== undefined && cause !== null; count++) {
    const why = textOf(cause);
    if (!text.includes(why)) added.push(`caused by: ${why}`);
    text += why;
    const isOurs = cause instanceof DipcError;
    if (error.code === "internal" && !isOurs) added.push(...placeOf(cause));
    cause = cause instanceof Error ? cause.cause : null;
  }
  return added.map((line) => `\n${line}`).join("");
}

/** The line of code that threw a value, if the value has it. */
function placeOf(thrown: unknown): string[] {
  const stack = thrown instanceof Error ? thrown.stack : undefined;
  const at = typeof stack === "string" ? stack.split("\n").find((line) => /^ +at /.test(line)) : undefined;
  return at === undefined ? [] : [at.trim()];
}

function unknown(): DipcError {
  return new DipcError("internal", "cannot serve the connection: the error is not known");
}
