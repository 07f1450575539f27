/**
 * The actions that Flight defines itself, as methods of the client.
 *
 * @module
 */
import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { LocalError } from "../errors.ts";
import type { FlightCallOptions } from "./client_options.ts";
import * as proto from "./gen/flight_pb.ts";
import type { FlightLocation } from "./location.ts";
import {
  type CancelStatus,
  cancelStatusOf,
  type CloseSessionStatus,
  closeStatusOf,
  endpointFromProto,
  endpointToProto,
  type FlightEndpoint,
  type FlightInfo,
  infoToProto,
  optionErrorOf,
  type SessionOptionError,
  type SessionValue,
  sessionValueFromProto,
  sessionValueToProto,
} from "./model.ts";

/** Flight's own actions, for a client that can run actions. */
export abstract class PredefinedActions {
  /** Address of the server. */
  abstract readonly location: FlightLocation;

  /**
   * Runs an action and iterates over its answers.
   *
   * @param type Name of the action
   * @param body Argument of the action
   * @param call Options of this call
   */
  abstract doAction(
    type: string,
    body?: string | Uint8Array,
    call?: FlightCallOptions,
  ): AsyncGenerator<Uint8Array, undefined>;

  /**
   * The action CancelFlightInfo: requests that a query be stopped.
   *
   * @param info Result of `getFlightInfo` or `pollFlightInfo`
   * @param call Options of this call
   */
  async cancelFlightInfo(info: FlightInfo, call: FlightCallOptions = {}): Promise<CancelStatus> {
    const request = create(proto.CancelFlightInfoRequestSchema, { info: infoToProto(info) });
    const body = toBinary(proto.CancelFlightInfoRequestSchema, request);
    return cancelStatusOf(
      (await this.#action("CancelFlightInfo", body, proto.CancelFlightInfoResultSchema, call)).status,
    );
  }

  /**
   * The action RenewFlightEndpoint: requests a later expiration of an endpoint.
   *
   * @param endpoint Endpoint to renew
   * @param call Options of this call
   * @returns The endpoint to use from now on
   */
  async renewFlightEndpoint(endpoint: FlightEndpoint, call: FlightCallOptions = {}): Promise<FlightEndpoint> {
    const request = create(proto.RenewFlightEndpointRequestSchema, { endpoint: endpointToProto(endpoint) });
    const body = toBinary(proto.RenewFlightEndpointRequestSchema, request);
    return endpointFromProto(await this.#action("RenewFlightEndpoint", body, proto.FlightEndpointSchema, call));
  }

  /**
   * The action SetSessionOptions.
   *
   * @param options Values by name; `null` removes an option
   * @param call Options of this call
   * @returns The options that could not be set, and why
   */
  async setSessionOptions(
    options: Record<string, SessionValue>,
    call: FlightCallOptions = {},
  ): Promise<Record<string, SessionOptionError>> {
    const request = create(proto.SetSessionOptionsRequestSchema, {
      sessionOptions: mapValues(options, sessionValueToProto),
    });
    const body = toBinary(proto.SetSessionOptionsRequestSchema, request);
    const { errors } = await this.#action("SetSessionOptions", body, proto.SetSessionOptionsResultSchema, call);
    return mapValues(errors, ({ value }) => optionErrorOf(value));
  }

  /**
   * The action GetSessionOptions.
   *
   * @param call Options of this call
   * @returns The values by name
   */
  async getSessionOptions(call: FlightCallOptions = {}): Promise<Record<string, SessionValue>> {
    const { sessionOptions } = await this.#action(
      "GetSessionOptions",
      new Uint8Array(0),
      proto.GetSessionOptionsResultSchema,
      call,
    );
    return mapValues(sessionOptions, sessionValueFromProto);
  }

  /**
   * The action CloseSession.
   *
   * @param call Options of this call
   */
  async closeSession(call: FlightCallOptions = {}): Promise<CloseSessionStatus> {
    return closeStatusOf(
      (await this.#action("CloseSession", new Uint8Array(0), proto.CloseSessionResultSchema, call)).status,
    );
  }

  /** Runs an action that has one answer. */
  async #action<Desc extends DescMessage>(
    type: string,
    body: Uint8Array,
    schema: Desc,
    call: FlightCallOptions,
  ): Promise<MessageShape<Desc>> {
    const answers: Uint8Array[] = [];
    for await (const answer of this.doAction(type, body, call)) answers.push(answer);
    if (answers.length !== 1) {
      throw new LocalError(
        "protocol",
        `cannot complete the action ${type} at ${this.location.uri}: the server sent ${answers.length} answers, expected 1`,
      );
    }
    try {
      return fromBinary(schema, answers[0]);
    } catch (error) {
      throw new LocalError(
        "protocol",
        `cannot decode the answer of the action ${type} at ${this.location.uri}: it is malformed`,
        { cause: error },
      );
    }
  }
}

function mapValues<A, B>(record: Record<string, A>, map: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]));
}
