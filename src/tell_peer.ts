/**
 * Decides what a peer may learn of an error, for UCX and for Flight.
 *
 * A peer learns the code and, if the error is about its own request, the text. Texts about this process's files, libraries,
 * memory or other connections stay here; its own log has them.
 *
 * @module
 */
import { DipcError, type DipcErrorCode, engineLimitError, LocalError } from "./errors.ts";

/** Codes whose texts name paths, addresses or other details of this process, whichever code made the error. */
const LOCAL_CODES: readonly DipcErrorCode[] = [
  ...["io", "internal", "ucx", "cuda", "adbc", "duckdb", "library_not_found", "out_of_memory"] as const,
  ...["unreachable", "connection_lost"] as const,
];

/** An error of a dataset while it is read: about the server's file or source, not about the request. */
export class DatasetError extends LocalError {
  /** @param cause What the dataset threw; code and message are kept for the server's own log */
  constructor(cause: DipcError) {
    super(cause.code, cause.message, { cause, foreign: cause.foreign, batches: cause.batches });
  }
}

/**
 * An error whose text was written for the peer, also if it comes while a dataset is read: what is wrong with a statement is often found
 * only then.
 */
export class PeerError extends DipcError {}

/** A {@linkcode PeerError} of a dataset that has done nothing for the request: another route may have the data. */
export class RefusedError extends PeerError {}

/** Ends a stream that is complete, but has neither rows nor a schema. */
export class NoSchemaError extends PeerError {}

/**
 * Calls a dataset. What it throws becomes a {@linkcode DatasetError}, also if it rejects later.
 *
 * @param ask Calls the dataset
 */
export function fromDataset<T>(ask: () => T | Promise<T>): T | Promise<T> {
  try {
    const answer = ask();
    return answer instanceof Promise ? answer.catch(rethrow) : answer;
  } catch (error) {
    rethrow(error);
  }
}

/** What a dataset threw as a {@linkcode DatasetError}; a {@linkcode PeerError}, and errors of others, stay as they are. */
export function datasetError(cause: unknown): unknown {
  return cause instanceof DipcError && !(cause instanceof PeerError) ? new DatasetError(cause) : cause;
}

function rethrow(cause: unknown): never {
  throw datasetError(cause);
}

/**
 * The code and text that a peer may see of an error.
 *
 * @param thrown What was thrown
 * @returns A code of dipc's list, and a text without details of this process
 */
export function tellPeer(thrown: unknown): { code: DipcErrorCode; text: string } {
  const error = engineLimitError(thrown) ?? thrown;
  if (!(error instanceof DipcError)) {
    return { code: "internal", text: "the server failed to answer; its own log says why" };
  }
  const { code, foreign } = error;
  if (error instanceof DatasetError) {
    const text = code === "busy"
      ? "the dataset can be read only once, and was"
      : `reading the dataset failed on the server (${code}); its own log says why`;
    return { code, text };
  }
  const isLocal = error instanceof LocalError;
  // A handler that names a gRPC status writes its text for the client; the text of another server is not meant for it.
  if (foreign?.system === "grpc" && !isLocal) return { code, text: foreign.text };
  if (isLocal || LOCAL_CODES.includes(code) || foreign !== undefined) {
    return { code, text: `the server failed to answer (${code}); its own log says why` };
  }
  return { code, text: error.message };
}
