/**
 * Errors as data, to pass them from one isolate to another. Code, foreign status and class survive: the class decides what a
 * peer may learn (`tell_peer.ts`).
 *
 * @module
 */
import { DipcError, type DipcErrorCode, type ForeignStatus, LocalError } from "../../errors.ts";
import { DatasetError } from "../../tell_peer.ts";
import { textOf } from "../../text.ts";

/** Causes of causes that are passed on. */
const MAX_DEPTH = 4;

/** An error that can be posted. */
export interface PortableError {
  /** Its class; `other` is anything but dipc's own errors. */
  readonly kind: "dipc" | "local" | "dataset" | "other";
  /** Code of one of dipc's errors. */
  readonly code: DipcErrorCode;
  readonly message: string;
  readonly name: string;
  readonly stack?: string;
  readonly foreign?: ForeignStatus;
  readonly batches?: number;
  readonly cause?: PortableError;
}

/** What was thrown, as data. */
export function toPortable(error: unknown, depth = 0): PortableError {
  if (!(error instanceof Error)) return { kind: "other", code: "internal", name: "Error", message: textOf(error) };
  const { name, message, stack } = error;
  const cause = error.cause === undefined || depth >= MAX_DEPTH ? undefined : toPortable(error.cause, depth + 1);
  if (!(error instanceof DipcError)) return { kind: "other", code: "internal", name, message, stack, cause };
  const kind = error instanceof DatasetError ? "dataset" : error instanceof LocalError ? "local" : "dipc";
  const { code, foreign, batches } = error;
  // A foreign status may come from a caller's own object, of which only these fields can be posted for certain.
  const status = foreign && { system: foreign.system, status: foreign.status, text: foreign.text };
  return { kind, code, name, message, stack, foreign: status, batches, cause };
}

/** The error that {@linkcode toPortable} has described. */
export function fromPortable(portable: PortableError): Error {
  const error = make(portable);
  if (portable.stack !== undefined) error.stack = portable.stack;
  return error;
}

function make({ kind, code, name, message, foreign, batches, cause: inner }: PortableError): Error {
  const cause = inner === undefined ? undefined : fromPortable(inner);
  const options = { foreign, batches, cause };
  switch (kind) {
    case "dipc":
      return new DipcError(code, message, options);
    case "local":
      return new LocalError(code, message, options);
    case "dataset":
      return new DatasetError(cause instanceof DipcError ? cause : new LocalError(code, message, options));
    case "other": {
      const error = new Error(message, { cause });
      error.name = name;
      return error;
    }
  }
}
