/**
 * Errors of ADBC drivers as those of dipc.
 *
 * @module
 */
import { ADBC_LAYOUT, ADBC_STATUS, ADBC_VENDOR_CODE_PRIVATE_DATA } from "../../ffi/adbc.ts";
import { cStringAt } from "../../ffi/c_string.ts";
import { callPointer } from "../../ffi/raw_memory.ts";
import { type DipcErrorCode, type ForeignDetail, LocalError } from "../errors.ts";
import { printable } from "../text.ts";
import { copyOf } from "../c_data/arena.ts";

const AT = ADBC_LAYOUT.AdbcError;
/** Most details that are read of an error, and most bytes of each that a message shows. */
const MAX_DETAILS = 256, MAX_SHOWN = 200;

/** Codes of dipc for statuses, by number. */
const CODES: readonly DipcErrorCode[] = [
  "adbc", // OK
  "adbc", // UNKNOWN
  "unsupported", // NOT_IMPLEMENTED
  "not_found",
  "adbc", // ALREADY_EXISTS
  "invalid_argument",
  "adbc", // INVALID_STATE
  "invalid_data",
  "invalid_data", // INTEGRITY
  "adbc", // INTERNAL
  "io",
  "cancelled",
  "timeout",
  "permission_denied", // UNAUTHENTICATED
  "permission_denied", // UNAUTHORIZED
];

/** What a driver says of a failure. */
export interface AdbcFacts {
  readonly message: string;
  readonly sqlState: string | null;
  readonly vendorCode: number | null;
  readonly details: readonly ForeignDetail[];
}

/** The functions of a driver for the details of an error; `null` if it has none. */
export interface DetailFunctions {
  readonly count: (error: bigint) => number;
  /** `struct AdbcErrorDetail`. */
  readonly get: (error: bigint, index: number) => Uint8Array<ArrayBuffer>;
}

/** Writes what an error begins as. @param is1_1 Whether the driver knows the fields of ADBC 1.1.0 */
export function emptyAdbcError(is1_1: boolean): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(AT.size);
  if (is1_1) new DataView(bytes.buffer).setInt32(AT.vendor_code, ADBC_VENDOR_CODE_PRIVATE_DATA, true);
  return bytes;
}

/** Reads an error that a driver has filled. */
export function readAdbcError(address: bigint, functions: DetailFunctions | null): AdbcFacts {
  const view = new DataView(copyOf(address, AT.size).buffer);
  const message = cStringAt(view.getBigUint64(AT.message, true)) ?? "";
  const vendorCode = view.getInt32(AT.vendor_code, true);
  const is1_1 = vendorCode === ADBC_VENDOR_CODE_PRIVATE_DATA;
  const state = new TextDecoder().decode(new Uint8Array(view.buffer, AT.sqlstate, 5));
  const hasDetails = is1_1 && view.getBigUint64(AT.private_data, true) !== 0n;
  return {
    message: message.trim(),
    sqlState: /^[0-9A-Z]{5}$/.test(state) ? state : null,
    vendorCode: is1_1 || vendorCode === 0 ? null : vendorCode,
    details: hasDetails && functions !== null ? readDetails(address, functions) : [],
  };
}

/** Releases what a driver has put into an error, if it has put something there. */
export function releaseAdbcError(address: bigint): void {
  const view = new DataView(copyOf(address, AT.size).buffer);
  const release = view.getBigUint64(AT.release, true);
  if (release !== 0n) callPointer(release, address, address);
}

function readDetails(error: bigint, { count, get }: DetailFunctions): ForeignDetail[] {
  const details: ForeignDetail[] = [];
  const AT = ADBC_LAYOUT.AdbcErrorDetail;
  for (let i = 0; i < Math.min(count(error), MAX_DETAILS); i++) {
    const view = new DataView(get(error, i).slice().buffer);
    const key = cStringAt(view.getBigUint64(AT.key, true));
    const value = view.getBigUint64(AT.value, true);
    if (key === null) continue;
    const byteLength = value === 0n ? 0 : Number(view.getBigUint64(AT.value_length, true));
    details.push({ key, value: copyOf(value, byteLength) });
  }
  return details;
}

/**
 * The error for a status that a driver returned.
 *
 * @param action What was being done, as it follows "cannot"
 * @param status The status
 * @param facts What the driver says
 */
export function adbcError(action: string, status: number, facts: AdbcFacts): LocalError {
  const { message, sqlState, vendorCode, details } = facts;
  const marks: string[] = [ADBC_STATUS[status] ?? `status ${status}`];
  if (sqlState !== null) marks.push(`SQLSTATE ${sqlState}`);
  if (vendorCode !== null) marks.push(`vendor code ${vendorCode}`);
  marks.push(...details.map(detailText));
  const reason = CODES[status] === "unsupported" ? "the driver does not support it" : "the driver does not say why";
  const text = message === "" ? reason : message;
  return new LocalError(
    CODES[status] ?? "adbc",
    `cannot ${action}: ${printable(text)} (${printable(marks.join(", "))})`,
    {
      foreign: {
        system: "adbc",
        status,
        text: message,
        ...(sqlState === null ? {} : { sqlState }),
        ...(vendorCode === null ? {} : { vendorCode }),
        ...(details.length === 0 ? {} : { details }),
      },
    },
  );
}

/** Keys that end in `-bin` have values in binary, as gRPC's have. */
function detailText({ key, value }: ForeignDetail): string {
  if (key.endsWith("-bin")) return `${key} of ${value.byteLength} bytes`;
  const text = new TextDecoder().decode(value.subarray(0, MAX_SHOWN));
  return `${key} ${text}${value.byteLength > MAX_SHOWN ? "…" : ""}`;
}
