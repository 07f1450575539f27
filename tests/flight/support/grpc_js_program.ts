/**
 * Reads flights with the client that grpc-js gives by default, which takes messages of up to 4 MiB. Run with the folder of
 * grpc-js, a folder for results, an address and paths; writes what has come for each path as an Arrow stream, and prints one
 * line of JSON, with the stream's file or the error.
 *
 * @module
 */
import { createRequire } from "node:module";
import { Buffer } from "node:buffer";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import * as proto from "../../../src/flight/gen/flight_pb.ts";
import { join } from "../../support/bytes.ts";

const [modules, folder, address, ...paths] = Deno.args;
const grpc = createRequire(`${modules}/`)("@grpc/grpc-js");
const client = new grpc.Client(address, grpc.credentials.createInsecure());
const SERVICE = "/arrow.flight.protocol.FlightService/";
/** Longest time for a call, in milliseconds. */
const CALL_MS = 60_000;

const asIs = (bytes: Uint8Array): Uint8Array => bytes;
const deadline = () => ({ deadline: Date.now() + CALL_MS });

function flightInfo(path: string): Promise<proto.FlightInfo> {
  const descriptor = create(proto.FlightDescriptorSchema, {
    type: proto.FlightDescriptor_DescriptorType.PATH,
    path: [path],
  });
  const request = Buffer.from(toBinary(proto.FlightDescriptorSchema, descriptor));
  return new Promise((resolve, reject) => {
    const onAnswer = (error: Error | null, bytes: Uint8Array): void => {
      if (error === null) resolve(fromBinary(proto.FlightInfoSchema, bytes));
      else reject(error);
    };
    client.makeUnaryRequest(`${SERVICE}GetFlightInfo`, asIs, asIs, request, new grpc.Metadata(), deadline(), onAnswer);
  });
}

/** A message of an Arrow stream: metadata and body, as the format has them outside Flight. */
function encapsulated({ dataHeader, dataBody }: proto.FlightData): Uint8Array {
  const padding = -dataHeader.byteLength & 7;
  const prefix = new Uint8Array(new Int32Array([-1, dataHeader.byteLength + padding]).buffer);
  return join(prefix, dataHeader, new Uint8Array(padding), dataBody);
}

async function read(path: string): Promise<{ file: string }> {
  const { endpoint } = await flightInfo(path);
  const ticket = Buffer.from(toBinary(proto.TicketSchema, endpoint[0].ticket!));
  const stream = client.makeServerStreamRequest(`${SERVICE}DoGet`, asIs, asIs, ticket, new grpc.Metadata(), deadline());
  const messages: Uint8Array[] = [];
  for await (const bytes of stream) messages.push(encapsulated(fromBinary(proto.FlightDataSchema, bytes)));
  const file = `${folder}/${path}.arrows`;
  await Deno.writeFile(file, join(...messages));
  return { file };
}

for (const path of paths) {
  const outcome = await read(path).catch((error: Error) => ({ error: error.message }));
  console.log(JSON.stringify(outcome));
}
client.close();
