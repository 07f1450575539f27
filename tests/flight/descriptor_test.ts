/**
 * Our `flight.proto` next to the descriptors that installed Flight libraries carry: the same names, numbers and types.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { fromBinary } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FieldDescriptorProto,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import { file_flight } from "../../src/flight/gen/flight_pb.ts";
import { peerTest } from "../support/peers.ts";

/** `name` (field 1) of a FileDescriptorProto, then `package` (field 2), as protoc writes them into a library. */
const START = new TextEncoder().encode("\n\x0cFlight.proto\x12\x15arrow.flight.protocol");
/** Fields of a FileDescriptorProto: what follows it in the library's memory is none of them. */
const LAST_FIELD = 14;
/** More than any descriptor of Flight has. */
const MAX_BYTES = 1 << 20;

function find(bytes: Uint8Array, start: Uint8Array): number {
  for (let at = bytes.indexOf(start[0]); at >= 0; at = bytes.indexOf(start[0], at + 1)) {
    if (start.every((byte, index) => bytes[at + index] === byte)) return at;
  }
  return -1;
}

/** Offsets of the ends of the fields of a FileDescriptorProto: all are length-delimited, but for `edition` at the end. */
function endOf(bytes: Uint8Array, from: number): number {
  let at = from;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0;; shift += 7) {
      const byte = bytes[at++];
      value += (byte & 0x7F) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  for (;;) {
    const start = at;
    const tag = varint();
    const isField = (tag & 7) === 2 && tag >> 3 >= 1 && tag >> 3 <= LAST_FIELD;
    if (!isField) return start;
    const length = varint();
    if (length > MAX_BYTES || at + length > bytes.byteLength) return start;
    at += length;
    // `syntax`, the last one that these files have.
    if (tag >> 3 === 12) return at;
  }
}

/** The descriptor of Flight.proto inside a program or shared library. */
async function descriptorIn(path: string): Promise<FileDescriptorProto> {
  const bytes = await Deno.readFile(path);
  const from = find(bytes, START);
  assert(from >= 0, `${path} carries no descriptor of Flight.proto`);
  return fromBinary(FileDescriptorProtoSchema, bytes.subarray(from, endOf(bytes, from)));
}

function fieldText(message: DescriptorProto, field: FieldDescriptorProto): string {
  // `oneofIndex` of a field that is `optional` names a oneof of its own, which is not part of the wire format.
  const oneof = field.proto3Optional || !Object.hasOwn(field, "oneofIndex") || message.oneofDecl.length === 0
    ? ""
    : ` in ${message.oneofDecl[field.oneofIndex]?.name}`;
  const optional = field.proto3Optional ? " optional" : "";
  return `${field.name} = ${field.number}: type ${field.type} ${field.typeName}, label ${field.label}${optional}${oneof}`;
}

/** Everything that decides about bytes on the wire and names of calls, as sorted lines. */
function wireFormat(file: FileDescriptorProto): string[] {
  const lines: string[] = [`package ${file.package}`, `syntax ${file.syntax}`];
  const enums = (prefix: string, all: readonly EnumDescriptorProto[]): void => {
    for (const { name, value } of all) {
      for (const each of value) lines.push(`${prefix}${name}.${each.name} = ${each.number}`);
    }
  };
  const messages = (prefix: string, all: readonly DescriptorProto[]): void => {
    for (const message of all) {
      const name = `${prefix}${message.name}`;
      lines.push(`message ${name}${message.options?.mapEntry ? " (map entry)" : ""}`);
      for (const field of message.field) lines.push(`${name}.${fieldText(message, field)}`);
      messages(`${name}.`, message.nestedType);
      enums(`${name}.`, message.enumType);
    }
  };
  messages("", file.messageType);
  enums("", file.enumType);
  for (const { name, method } of file.service) {
    for (const { name: call, inputType, outputType, clientStreaming, serverStreaming } of method) {
      const stream = (is: boolean): string => is ? "stream " : "";
      lines.push(`${name}.${call}: ${stream(clientStreaming)}${inputType} -> ${stream(serverStreaming)}${outputType}`);
    }
  }
  return lines.sort();
}

peerTest(
  ["python"],
  "flight.proto is the one inside pyarrow's library, by name, number and type",
  async ({ python }) => {
    const { stdout } = await new Deno.Command(python, {
      args: [
        "-c",
        "import pyarrow as p; print([f'{d}/libarrow_flight.so.{p.cpp_version_info.major}00' for d in p.get_library_dirs()][0])",
      ],
    }).output();
    const theirs = await descriptorIn(new TextDecoder().decode(stdout).trim());
    const ours = wireFormat(file_flight.proto);
    assert(ours.length > 100, "the comparison covers the whole file");
    assertEquals(ours, wireFormat(theirs));
  },
);

peerTest(["flightGo"], "flight.proto is the one inside arrow-go's programs", async ({ flightGo }) => {
  assertEquals(wireFormat(file_flight.proto), wireFormat(await descriptorIn(flightGo.client)));
});
