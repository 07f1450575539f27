/**
 * Messages of Flight SQL as they travel: each in a `google.protobuf.Any`, which names its type.
 *
 * @module
 */
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { type Any, anyPack, AnySchema, anyUnpack } from "@bufbuild/protobuf/wkt";
import { LocalError } from "../errors.ts";

/** Beginning of the names of Flight SQL's messages. */
const PACKAGE = "arrow.flight.protocol.sql.";

/**
 * A message as the bytes of a command, a ticket, or the body or answer of an action.
 *
 * @param schema Type of the message
 * @param message Its fields
 */
export function packMessage<Desc extends DescMessage>(schema: Desc, message: MessageInitShape<Desc>): Uint8Array {
  return toBinary(AnySchema, anyPack(schema, create(schema, message)));
}

/**
 * The type of a packed message, without the package of Flight SQL, such as `CommandStatementQuery`.
 *
 * @param bytes A command, a ticket, or the body or answer of an action
 * @returns `null` if the bytes are not a message of Flight SQL: another kind of command may be anything
 */
export function packedName(bytes: Uint8Array): string | null {
  const name = packed(bytes)?.typeUrl.split("/").at(-1) ?? "";
  return name.startsWith(PACKAGE) ? name.slice(PACKAGE.length) : null;
}

/**
 * Reads a packed message of a known type.
 *
 * @param schema Type of the message
 * @param bytes A command, a ticket, or the body or answer of an action
 * @returns `null` if the bytes are not a message of this type, or are malformed
 */
export function unpackMessage<Desc extends DescMessage>(schema: Desc, bytes: Uint8Array): MessageShape<Desc> | null {
  const any = packed(bytes);
  try {
    return any === null ? null : anyUnpack(any, schema) ?? null;
  } catch {
    return null;
  }
}

/**
 * Reads a message that is not packed: the answers of DoPut are sent as they are.
 *
 * @param schema Type of the message
 * @param bytes The answer
 * @param peer Name of the server in the error's message
 * @throws {DipcError} `protocol` if it is malformed
 */
export function readAnswer<Desc extends DescMessage>(
  schema: Desc,
  bytes: Uint8Array,
  peer: string,
): MessageShape<Desc> {
  try {
    return fromBinary(schema, bytes);
  } catch (cause) {
    throw new LocalError("protocol", `cannot decode an answer of ${peer}: it is not a ${schema.name}`, { cause });
  }
}

function packed(bytes: Uint8Array): Any | null {
  try {
    return fromBinary(AnySchema, bytes);
  } catch {
    return null;
  }
}
