/**
 * Runs the actions of Flight SQL at a server.
 *
 * @module
 */
import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { LocalError } from "../errors.ts";
import type { FlightClient } from "../flight/client.ts";
import type { FlightCallOptions } from "../flight/client_options.ts";
import { packMessage, unpackMessage } from "./any.ts";

/** The answer of an action: nothing for one that has no answer. */
type Answer<Result> = Result extends DescMessage ? MessageShape<Result> : void;

/**
 * Runs an action.
 *
 * @param client The server
 * @param action The action, one of `SQL_ACTIONS`
 * @param request Its argument
 * @param call Options of this call
 * @throws {DipcError} `protocol` if the answer is not what the action has; and what the server answers
 */
export async function runAction<Request extends DescMessage, Result extends DescMessage | null>(
  client: FlightClient,
  action: { readonly type: string; readonly request: Request; readonly result: Result },
  request: MessageInitShape<Request>,
  call: FlightCallOptions = {},
): Promise<Answer<Result>> {
  const answers: Uint8Array[] = [];
  for await (const answer of client.doAction(action.type, packMessage(action.request, request), call)) {
    answers.push(answer);
    // More than one is wrong already, and there may be no end to them.
    if (answers.length > 1) break;
  }
  // Some servers answer with an empty message what has no answer.
  if (action.result === null) return undefined as Answer<Result>;
  const message = answers.length === 1 ? unpackMessage(action.result, answers[0]) : null;
  if (message !== null) return message as Answer<Result>;
  const found = answers.length === 1 ? "another message" : answers.length === 0 ? "no answer" : "several answers";
  throw new LocalError(
    "protocol",
    `cannot complete the action ${action.type} at ${client.location.uri}: the server sent ${found}, expected one ` +
      action.result.name,
  );
}
