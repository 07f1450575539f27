/**
 * What the failure of one attempt to fetch an endpoint says: whether another one could make the server do the same thing twice.
 *
 * @module
 */
import { DipcError, LocalError } from "../errors.ts";
import { UntakenError } from "../grpc/untaken_error.ts";
import { GrpcStatus } from "../grpc/status.ts";
import { AnswerError } from "../protocol/envelope.ts";
import type { RouteName } from "./stats.ts";

/** Longest reason that is shown, in characters. */
const REASON_CHARACTERS = 300;

/** An attempt that has failed. */
export interface FailedAttempt {
  readonly route: RouteName;
  readonly location: string;
  /** Whether the location is the server that was asked, which has named others. */
  readonly isFallback: boolean;
  readonly error: unknown;
}

/**
 * Whether nothing was done for an attempt, so that another one can do no harm, whatever its ticket stands for.
 *
 * @param attempt The attempt
 * @param wasRequested Whether the request had been sent
 */
export function isUntouched({ error, isFallback }: FailedAttempt, wasRequested: boolean): boolean {
  if (error instanceof AnswerError) return error.outcome === "refused";
  if (!wasRequested || error instanceof UntakenError) return true;
  // A server that has named others need not know their tickets.
  return isFallback && error instanceof DipcError && error.foreign?.status === GrpcStatus.notFound;
}

/**
 * Whether an attempt has failed with the answer of what produces the data, which no other route can change. That a server is UNAVAILABLE
 * may be all that a proxy knows.
 */
export function isAnswer({ route, error }: Pick<FailedAttempt, "route" | "error">): boolean {
  if (!(error instanceof DipcError) || error.foreign?.system !== "grpc") return false;
  return route === "ucx" || error.foreign.status !== GrpcStatus.unavailable;
}

/** Whether an error is one of reaching a server, not of the server. */
export function isUnreached(error: unknown): boolean {
  const codes: readonly string[] = [
    ...["unreachable", "busy", "timeout", "connection_lost", "permission_denied", "invalid_uri"],
  ];
  return error instanceof DipcError && !(error instanceof AnswerError) && error.foreign === undefined &&
    codes.includes(error.code);
}

/** Whether an error says that a location does not answer at all, so that other endpoints need not wait for it. */
export function isDeadly(error: unknown): boolean {
  return isUnreached(error) && ["unreachable", "timeout"].includes((error as DipcError).code);
}

/** Errors that no other candidate can help with. */
export function isFinal(error: unknown): boolean {
  return error instanceof DipcError && (error.code === "cancelled" || error.code === "closed") &&
    error.foreign === undefined && !(error instanceof AnswerError);
}

/** An error in one line. */
export function reasonOf(error: unknown): string {
  const text = (error instanceof DipcError ? `${error.code}: ${error.message}` : String(error)).replace(/\s+/g, " ");
  return text.length > REASON_CHARACTERS ? `${text.slice(0, REASON_CHARACTERS)}…` : text;
}

/**
 * The error of an endpoint that no attempt has fetched: the answer of what produces the data, or what kept the first location from
 * being reached.
 *
 * @param attempts All of them, in order, at least one
 */
export function failureOf(attempts: readonly FailedAttempt[]): unknown {
  const last = attempts.at(-1)!;
  const byUcx = attempts.filter(({ route }) => route === "ucx");
  const byFlight = attempts.filter(({ route }) => route === "flight");
  const told = byUcx.find(hasAnswered) ?? (isAnswer(last) ? last : byFlight[0] ?? byUcx[0]);
  const { error } = told;
  if (!(error instanceof DipcError) || attempts.length === 1) return error;
  // Both say the same, one of them with the status of gRPC.
  if (told !== last && error instanceof AnswerError && codeOf(last) === error.code) return last.error;
  const before = attempts.slice(0, attempts.indexOf(told));
  const after = attempts.slice(attempts.indexOf(told) + 1);
  const others = [
    ...before.map(({ route, location, error }) =>
      `before that ${route === "ucx" ? "UCX failed" : location}: ${reasonOf(error)}`
    ),
    ...after.map(({ location, error }) => `then ${location}: ${reasonOf(error)}`),
  ];
  if (others.length === 0) return error;
  const message = `${error.message} (${others.join("; ")})`;
  return new LocalError(error.code, message, { cause: error.cause ?? error, foreign: error.foreign });
}

/** Whether a server has answered by UCX: what a second request meets may be no more than that it came second. */
function hasAnswered({ error }: FailedAttempt): boolean {
  return error instanceof AnswerError && error.outcome !== "refused";
}

function codeOf({ error }: FailedAttempt): string {
  return error instanceof DipcError && error.foreign !== undefined ? error.code : "";
}
