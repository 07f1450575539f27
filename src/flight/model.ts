/**
 * Flight's messages as plain objects, for users of the client and of the server, and their conversion to protobuf and back.
 *
 * @module
 */
import { create } from "@bufbuild/protobuf";
import { type Timestamp, timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import { DipcError } from "../errors.ts";
import * as proto from "./gen/flight_pb.ts";

/** Prefix of the path of every method of Flight. */
export const SERVICE_PATH = "/arrow.flight.protocol.FlightService/";

/** The methods of the service. */
const METHODS: ReadonlySet<string> = new Set([
  ...[
    "Handshake",
    "ListFlights",
    "GetFlightInfo",
    "PollFlightInfo",
    "GetSchema",
    "DoGet",
    "DoPut",
    "DoExchange",
    "DoAction",
  ],
  "ListActions",
]);

/** Service and method of a call for telemetry, in which a client must not make up names. */
export function rpcMethod(method: string): string {
  return METHODS.has(method) ? SERVICE_PATH.slice(1) + method : "_OTHER";
}
/** Header of an upload by dipc: bytes of all its bodies, so that a server can refuse it before they are sent. */
export const UPLOAD_BYTES_HEADER = "dipc-upload-bytes";

/** The name of a data set: the segments of a path, or a command in the server's own format. */
export type FlightDescriptor = { readonly path: readonly string[] } | { readonly command: Uint8Array };

/** The name that a descriptor stands for: the steps of its path, joined by `/`, or its command as text. */
export function descriptorName(descriptor: FlightDescriptor): string {
  return "path" in descriptor ? descriptor.path.join("/") : new TextDecoder().decode(descriptor.command);
}

/** The name of a descriptor for logs and messages; `null` for a command in binary, such as a statement of Flight SQL. */
export function readableName(descriptor: FlightDescriptor): string | null {
  const name = descriptorName(descriptor);
  // deno-lint-ignore no-control-regex -- these are what is looked for
  return "command" in descriptor && /[\u0000-\u001f\ufffd]/.test(name) ? null : name;
}

/** What is accepted as a descriptor: one segment instead of a list, text instead of bytes. */
export type FlightDescriptorInit =
  | { readonly path: string | readonly string[] }
  | { readonly command: string | Uint8Array };

/** One part of a flight. */
export interface FlightEndpoint {
  /** Argument of DoGet. */
  readonly ticket: Uint8Array;
  /** URIs of servers that have the data, any of which will do; if empty, the server that returned the endpoint. */
  readonly locations: readonly string[];
  /** When the ticket expires; `null` if that is not known. */
  readonly expirationTime: Date | null;
  /** Application metadata; empty if there is none. */
  readonly appMetadata: Uint8Array;
}

/** Where and how a data set can be fetched. */
export interface FlightInfo {
  /** The schema as an encapsulated IPC message; empty if the server does not send it. */
  readonly schema: Uint8Array;
  /** The descriptor of the flight; `null` if the server does not send it. */
  readonly descriptor: FlightDescriptor | null;
  /** The parts, which together make up the data set. */
  readonly endpoints: readonly FlightEndpoint[];
  /** Number of rows, -1 if not known. */
  readonly totalRecords: bigint;
  /** Size in bytes, -1 if not known. */
  readonly totalBytes: bigint;
  /** Whether the order of the endpoints is that of the data. */
  readonly ordered: boolean;
  /** Application metadata; empty if there is none. */
  readonly appMetadata: Uint8Array;
}

/** The progress of a long-running query. */
export interface PollInfo {
  /** What can be fetched so far; `null` if there is nothing yet. */
  readonly info: FlightInfo | null;
  /** Descriptor for the next poll; `null` once the query is complete. */
  readonly descriptor: FlightDescriptor | null;
  /** From 0 to 1; `null` if not known. */
  readonly progress: number | null;
  /** When the query can no longer be polled; `null` if that is not known. */
  readonly expirationTime: Date | null;
}

/** An action that a server offers. */
export interface ActionType {
  /** Name of the action. */
  readonly type: string;
  /** Human-readable description. */
  readonly description: string;
}

/** Result of an attempt to cancel a query. */
export type CancelStatus = "unspecified" | "cancelled" | "cancelling" | "not cancellable";

/** Result of an attempt to close a session. */
export type CloseSessionStatus = "unspecified" | "closed" | "closing" | "not closeable";

/** Why an option of a session could not be set. */
export type SessionOptionError = "unspecified" | "invalid name" | "invalid value" | "error";

/** Value of an option of a session; a `bigint` is Flight's int64, a `number` its double, `null` removes the option. */
export type SessionValue = string | boolean | bigint | number | readonly string[] | null;

/** Farthest time from 1970 that a Date can hold, in milliseconds. */
const MAX_DATE_MS = 8.64e15;

const CANCEL: readonly CancelStatus[] = ["unspecified", "cancelled", "cancelling", "not cancellable"];
const CLOSE: readonly CloseSessionStatus[] = ["unspecified", "closed", "closing", "not closeable"];
const OPTION_ERRORS: readonly SessionOptionError[] = ["unspecified", "invalid name", "invalid value", "error"];

/** The number of a status in Flight's definition. */
export function cancelStatusNumber(status: CancelStatus): proto.CancelStatus {
  return CANCEL.indexOf(status);
}

/** The status of a number in Flight's definition; unknown ones count as unspecified. */
export function cancelStatusOf(number: number): CancelStatus {
  return CANCEL[number] ?? "unspecified";
}

/** The number of a status in Flight's definition. */
export function closeStatusNumber(status: CloseSessionStatus): proto.CloseSessionResult_Status {
  return CLOSE.indexOf(status);
}

/** The status of a number in Flight's definition; unknown ones count as unspecified. */
export function closeStatusOf(number: number): CloseSessionStatus {
  return CLOSE[number] ?? "unspecified";
}

/** The number of an error in Flight's definition. */
export function optionErrorNumber(error: SessionOptionError): proto.SetSessionOptionsResult_ErrorValue {
  return OPTION_ERRORS.indexOf(error);
}

/** The error of a number in Flight's definition; unknown ones count as unspecified. */
export function optionErrorOf(number: number): SessionOptionError {
  return OPTION_ERRORS[number] ?? "unspecified";
}

/**
 * A descriptor as protobuf.
 *
 * @throws {DipcError} `invalid_argument`
 */
export function descriptorToProto(descriptor: FlightDescriptorInit): proto.FlightDescriptor {
  if ("path" in descriptor) {
    const { path } = descriptor;
    return create(proto.FlightDescriptorSchema, {
      type: proto.FlightDescriptor_DescriptorType.PATH,
      path: typeof path === "string" ? [path] : [...path],
    });
  }
  if (!("command" in descriptor)) {
    throw new DipcError("invalid_argument", "cannot use the descriptor: it has neither path nor command");
  }
  return create(proto.FlightDescriptorSchema, {
    type: proto.FlightDescriptor_DescriptorType.CMD,
    cmd: bytesOf(descriptor.command),
  });
}

/** A descriptor from protobuf; `null` if it is of neither type. */
export function descriptorFromProto(descriptor: proto.FlightDescriptor | undefined): FlightDescriptor | null {
  if (descriptor?.type === proto.FlightDescriptor_DescriptorType.PATH) return { path: descriptor.path };
  if (descriptor?.type === proto.FlightDescriptor_DescriptorType.CMD) return { command: descriptor.cmd };
  return null;
}

/** An endpoint as protobuf. */
export function endpointToProto(endpoint: FlightEndpoint): proto.FlightEndpoint {
  return create(proto.FlightEndpointSchema, {
    ticket: { ticket: endpoint.ticket },
    location: endpoint.locations.map((uri) => ({ uri })),
    expirationTime: timeToProto(endpoint.expirationTime),
    appMetadata: endpoint.appMetadata,
  });
}

/** An endpoint from protobuf. */
export function endpointFromProto(endpoint: proto.FlightEndpoint): FlightEndpoint {
  return {
    ticket: endpoint.ticket?.ticket ?? new Uint8Array(0),
    locations: endpoint.location.map(({ uri }) => uri),
    expirationTime: timeFromProto(endpoint.expirationTime),
    appMetadata: endpoint.appMetadata,
  };
}

/** What `GetFlightInfo` answers, as protobuf. */
export function infoToProto(info: FlightInfo): proto.FlightInfo {
  return create(proto.FlightInfoSchema, {
    schema: info.schema,
    flightDescriptor: info.descriptor === null ? undefined : descriptorToProto(info.descriptor),
    endpoint: info.endpoints.map(endpointToProto),
    totalRecords: info.totalRecords,
    totalBytes: info.totalBytes,
    ordered: info.ordered,
    appMetadata: info.appMetadata,
  });
}

/** What `GetFlightInfo` answers, from protobuf. */
export function infoFromProto(info: proto.FlightInfo): FlightInfo {
  return {
    schema: info.schema,
    descriptor: descriptorFromProto(info.flightDescriptor),
    endpoints: info.endpoint.map(endpointFromProto),
    totalRecords: info.totalRecords,
    totalBytes: info.totalBytes,
    ordered: info.ordered,
    appMetadata: info.appMetadata,
  };
}

/** What `PollFlightInfo` answers, as protobuf. */
export function pollToProto(poll: PollInfo): proto.PollInfo {
  return create(proto.PollInfoSchema, {
    info: poll.info === null ? undefined : infoToProto(poll.info),
    flightDescriptor: poll.descriptor === null ? undefined : descriptorToProto(poll.descriptor),
    progress: poll.progress ?? undefined,
    expirationTime: timeToProto(poll.expirationTime),
  });
}

/** What `PollFlightInfo` answers, from protobuf. */
export function pollFromProto(poll: proto.PollInfo): PollInfo {
  return {
    info: poll.info === undefined ? null : infoFromProto(poll.info),
    descriptor: descriptorFromProto(poll.flightDescriptor),
    progress: poll.progress ?? null,
    expirationTime: timeFromProto(poll.expirationTime),
  };
}

/** The value of an option as protobuf. */
export function sessionValueToProto(value: SessionValue): proto.SessionOptionValue {
  return create(proto.SessionOptionValueSchema, { optionValue: sessionCase(value) });
}

/** The value of an option from protobuf. */
export function sessionValueFromProto({ optionValue }: proto.SessionOptionValue): SessionValue {
  if (optionValue.case === undefined) return null;
  return optionValue.case === "stringListValue" ? optionValue.value.values : optionValue.value;
}

function sessionCase(value: SessionValue): proto.SessionOptionValue["optionValue"] {
  if (value === null) return { case: undefined };
  if (typeof value === "string") return { case: "stringValue", value };
  if (typeof value === "boolean") return { case: "boolValue", value };
  if (typeof value === "bigint") return { case: "int64Value", value };
  if (typeof value === "number") return { case: "doubleValue", value };
  return {
    case: "stringListValue",
    value: create(proto.SessionOptionValue_StringListValueSchema, { values: [...value] }),
  };
}

/** Text as UTF-8, bytes unchanged. */
export function bytesOf(value: string | Uint8Array): Uint8Array {
  return typeof value === "string" ? new TextEncoder().encode(value) : value;
}

function timeToProto(time: Date | null): Timestamp | undefined {
  return time === null ? undefined : timestampFromDate(time);
}

function timeFromProto(time: Timestamp | undefined): Date | null {
  // Beyond what a Date can hold it would be an invalid one, which throws when it is written or printed.
  return time === undefined ? null : new Date(Math.min(MAX_DATE_MS, Math.max(-MAX_DATE_MS, timestampMs(time))));
}
