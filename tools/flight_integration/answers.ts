/**
 * What the servers of the Flight integration tests make their answers of.
 *
 * @module
 */
import { tableFromArrays } from "apache-arrow";
import { DipcError, type FlightDescriptor, type FlightEndpoint, type FlightInfo } from "../../flight.ts";
import { type Dataset, fromTable } from "../../mod.ts";
import { frameMetadata } from "../../src/ipc/frame.ts";

const NOTHING = new Uint8Array(0);

/** UTF-8 of a text. */
export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Text of UTF-8. */
export function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** The command of a descriptor; empty for a path. */
export function commandOf(descriptor: FlightDescriptor): string {
  return "command" in descriptor ? textOf(descriptor.command) : "";
}

/** One batch with one column, `number`. */
export function numbers(values: Int32Array | Uint32Array): Promise<Dataset> {
  return fromTable(tableFromArrays({ number: values }));
}

/** An endpoint without locations: its data comes from the same server. */
export function endpointOf(ticket: string, more: Partial<FlightEndpoint> = {}): FlightEndpoint {
  return { ticket: utf8(ticket), locations: [], expirationTime: null, appMetadata: NOTHING, ...more };
}

/** A flight whose size is not known. */
export function infoOf(
  schema: Dataset["schema"],
  descriptor: FlightDescriptor,
  endpoints: readonly FlightEndpoint[],
  more: Partial<FlightInfo> = {},
): FlightInfo {
  return {
    schema: frameMetadata(schema),
    descriptor,
    endpoints,
    totalRecords: -1n,
    totalBytes: -1n,
    ordered: false,
    appMetadata: NOTHING,
    ...more,
  };
}

/** An error with a status of gRPC's own choice. */
export function failure(status: number, text: string): DipcError {
  return new DipcError("flight", text, { foreign: { system: "grpc", status, text } });
}
