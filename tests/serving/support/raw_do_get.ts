/**
 * A DoGet over nothing but HTTP/2: what a client receives at its end, field by field.
 *
 * @module
 */
import * as http2 from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { TicketSchema } from "../../../src/flight/gen/flight_pb.ts";
import { endLater } from "../../support/session_end.ts";

/** The end of a call. */
export interface RawEnd {
  /** gRPC's status. */
  readonly status: number;
  /** All headers and trailers, as JSON; texts are percent-encoded. */
  readonly fields: string;
}

/**
 * Fetches a ticket and drops its data.
 *
 * @param location Of the server, such as `grpc://127.0.0.1:8815`
 * @param ticket What to fetch
 */
export async function rawDoGet(location: string, ticket: string): Promise<RawEnd> {
  const session = http2.connect(location.replace(/^grpc:/, "http:"));
  endLater(session);
  try {
    const stream = session.request({
      ":method": "POST",
      ":path": "/arrow.flight.protocol.FlightService/DoGet",
      "content-type": "application/grpc",
      te: "trailers",
    });
    const message = toBinary(TicketSchema, create(TicketSchema, { ticket: new TextEncoder().encode(ticket) }));
    const prefixed = new Uint8Array(5 + message.byteLength);
    new DataView(prefixed.buffer).setUint32(1, message.byteLength);
    prefixed.set(message, 5);
    const fields: Record<string, unknown> = {};
    stream.on("response", (headers) => Object.assign(fields, headers));
    stream.on("trailers", (trailers) => Object.assign(fields, trailers));
    stream.resume();
    stream.end(prefixed);
    await new Promise<void>((resolve, reject) => {
      stream.on("close", resolve);
      stream.on("error", reject);
    });
    return { status: Number(fields["grpc-status"]), fields: JSON.stringify(fields) };
  } finally {
    session.close();
  }
}
