/**
 * The actions of every server: those that Flight defines (cancelling flights, renewing endpoints, sessions), and a health check.
 *
 * @module
 */
import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { DipcError } from "../../errors.ts";
import * as proto from "../gen/flight_pb.ts";
import {
  type ActionType,
  type CancelStatus,
  cancelStatusNumber,
  closeStatusNumber,
  endpointFromProto,
  endpointToProto,
  infoFromProto,
  optionErrorNumber,
  type SessionOptionError,
  type SessionValue,
  sessionValueFromProto,
  sessionValueToProto,
} from "../model.ts";
import type { ServerCall } from "../../grpc/server_call.ts";
import type { FlightContext } from "./context.ts";
import type { FlightHandlers } from "./options.ts";
import type { FlightCatalog } from "./parts.ts";
import { type Sessions, setOptions } from "./sessions.ts";

/** What the pre-defined actions need. */
export interface ActionParts {
  /** The server's datasets; `null` if it has none. */
  catalog: FlightCatalog | null;
  sessions: Sessions;
  handlers: FlightHandlers;
}

type Run = (parts: ActionParts, body: Uint8Array, call: ServerCall, context: FlightContext) => Promise<Uint8Array>;

/** Descriptions and functions by name. */
const ACTIONS: Readonly<Record<string, readonly [description: string, run: Run]>> = {
  CancelFlightInfo: ["rejects the tickets of a flight from now on", cancelFlightInfo],
  RenewFlightEndpoint: ["returns an endpoint with a ticket that expires later", renewFlightEndpoint],
  SetSessionOptions: ["sets options for all later calls of the client", setSessionOptions],
  GetSessionOptions: ["returns the options of the client's session", getSessionOptions],
  CloseSession: ["ends the client's session", closeSession],
  healthcheck: ["answers ok while the server runs", healthcheck],
};

/** What ListActions answers for them. */
export const PREDEFINED: readonly ActionType[] = Object.entries(ACTIONS).map(([type, [description]]) => ({
  type,
  description,
}));

/**
 * Runs a pre-defined action.
 *
 * @returns Its only result, or `null` if there is no such action
 * @throws {DipcError} `invalid_argument` for a malformed body, and what the action throws
 */
export async function runPredefined(
  type: string,
  parts: ActionParts,
  body: Uint8Array,
  call: ServerCall,
  context: FlightContext,
): Promise<Uint8Array | null> {
  if (!Object.hasOwn(ACTIONS, type)) return null;
  return await ACTIONS[type][1](parts, body, call, context);
}

/**
 * Decodes a protobuf message of a request.
 *
 * @throws {DipcError} `invalid_argument`
 */
export function parse<T extends DescMessage>(schema: T, bytes: Uint8Array): MessageShape<T> {
  try {
    return fromBinary(schema, bytes);
  } catch (cause) {
    throw new DipcError("invalid_argument", `cannot read the request: it is not a ${schema.name}`, { cause });
  }
}

async function cancelFlightInfo(
  { catalog, handlers }: ActionParts,
  body: Uint8Array,
  _: ServerCall,
  context: FlightContext,
) {
  const { info } = parse(proto.CancelFlightInfoRequestSchema, body);
  if (info === undefined) throw new DipcError("invalid_argument", "cannot cancel the flight: the request names none");
  const flight = infoFromProto(info);
  let status: CancelStatus | undefined = await handlers.cancelFlightInfo?.(flight, context);
  status ??= await catalog?.cancel(flight) === true ? "cancelled" : "not cancellable";
  return toBinary(
    proto.CancelFlightInfoResultSchema,
    create(proto.CancelFlightInfoResultSchema, { status: cancelStatusNumber(status) }),
  );
}

async function renewFlightEndpoint(
  { catalog, handlers }: ActionParts,
  body: Uint8Array,
  _: ServerCall,
  context: FlightContext,
) {
  const { endpoint } = parse(proto.RenewFlightEndpointRequestSchema, body);
  if (endpoint === undefined) {
    throw new DipcError("invalid_argument", "cannot renew the endpoint: the request names none");
  }
  const current = endpointFromProto(endpoint);
  const renewed = await handlers.renewFlightEndpoint?.(current, context) ?? await catalog?.renew(current);
  if (renewed === undefined) {
    throw new DipcError("unsupported", "cannot renew the endpoint: this server does not renew endpoints");
  }
  return toBinary(proto.FlightEndpointSchema, endpointToProto(renewed));
}

async function setSessionOptions(
  { sessions, handlers }: ActionParts,
  body: Uint8Array,
  call: ServerCall,
  context: FlightContext,
) {
  const { sessionOptions } = parse(proto.SetSessionOptionsRequestSchema, body);
  const session = sessions.begin(call, context.user);
  const options = new Map<string, SessionValue>();
  const result = create(proto.SetSessionOptionsResultSchema);
  const refuse = (error: SessionOptionError, name: string): void => {
    result.errors[name] = create(proto.SetSessionOptionsResult_ErrorSchema, { value: optionErrorNumber(error) });
  };
  for (const [name, sent] of Object.entries(sessionOptions)) {
    const value = sessionValueFromProto(sent);
    const error = handlers.checkSessionOption?.(name, value, context) ?? null;
    if (error === null) options.set(name, value);
    else refuse(error, name);
  }
  const change = await handlers._changeSession?.(options, session.options);
  change?.errors.forEach(refuse);
  setOptions(session, change?.changes ?? options);
  return toBinary(proto.SetSessionOptionsResultSchema, result);
}

function getSessionOptions({ sessions }: ActionParts, body: Uint8Array, call: ServerCall, context: FlightContext) {
  parse(proto.GetSessionOptionsRequestSchema, body);
  const session = sessions.begin(call, context.user);
  const result = create(proto.GetSessionOptionsResultSchema);
  for (const [name, value] of session.options) result.sessionOptions[name] = sessionValueToProto(value);
  return Promise.resolve(toBinary(proto.GetSessionOptionsResultSchema, result));
}

function closeSession({ sessions }: ActionParts, body: Uint8Array, call: ServerCall, context: FlightContext) {
  parse(proto.CloseSessionRequestSchema, body);
  // Drivers close one whenever they leave, though most never had any.
  const session = sessions.find(call, context.user);
  if (session !== null) sessions.close(call, session);
  return Promise.resolve(
    toBinary(
      proto.CloseSessionResultSchema,
      create(proto.CloseSessionResultSchema, { status: closeStatusNumber("closed") }),
    ),
  );
}

/** Not one of Flight's own, but what monitoring tools call: it takes anything, and needs nothing but a server that answers. */
function healthcheck(): Promise<Uint8Array> {
  return Promise.resolve(new TextEncoder().encode("ok"));
}
