/**
 * The schema in Flight's control messages: an encapsulated IPC message.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { HeaderReader } from "../ipc/header.ts";
import type { MessageHeader } from "../ipc/message.ts";
import type { ReaderLimits } from "../limits.ts";

/** Marks the start of a message (Arrow's "Encapsulated message format"); writers before Arrow 0.15 omit it. */
const CONTINUATION = 0xFFFFFFFF;

/**
 * Reads the schema of a FlightInfo or SchemaResult.
 *
 * @param bytes The field as received
 * @param limits Limits of what the peer may send
 * @throws {DipcError} `invalid_data`, `limit_exceeded`, `unsupported`
 */
export function readEncapsulatedSchema(bytes: Uint8Array, limits: Partial<ReaderLimits> = {}): MessageHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = bytes.byteLength >= 4 && view.getUint32(0, true) === CONTINUATION ? 4 : 0;
  const length = bytes.byteLength >= start + 4 ? view.getUint32(start, true) : 0;
  if (length === 0) throw new DipcError("invalid_data", "cannot read the server's schema: it sent none");
  if (length > bytes.byteLength - start - 4) {
    throw new DipcError(
      "invalid_data",
      `cannot read the server's schema: it announces ${length} bytes, but ${bytes.byteLength - start - 4} follow`,
    );
  }
  const header = new HeaderReader(limits).read(bytes.subarray(start + 4, start + 4 + length));
  if (header.kind !== "schema") {
    throw new DipcError("invalid_data", `cannot read the server's schema: it is a ${header.kind} message`);
  }
  return header;
}
