/**
 * The actions of Flight SQL as a server answers them: prepared statements, transactions and savepoints.
 *
 * @module
 */
import { fromBinary } from "@bufbuild/protobuf";
import { DipcError } from "../../errors.ts";
import { FlightInfoSchema } from "../../flight/gen/flight_pb.ts";
import { type CancelStatus, cancelStatusNumber, type FlightInfo, infoFromProto } from "../../flight/model.ts";
import type { FlightContext } from "../../flight/service/context.ts";
import type { FlightHandlers } from "../../flight/service/options.ts";
import { frameMetadata } from "../../ipc/frame.ts";
import { PeerError } from "../../tell_peer.ts";
import { SQL_ACTIONS } from "../actions.ts";
import { packMessage } from "../any.ts";
import * as sql from "../gen/flight_sql_pb.ts";
import type { Executor, StatementText } from "./executor.ts";
import { notOffered, unknownHandle } from "./failure.ts";
import { type Caller, callerOf, HANDLE_BYTES } from "./handles.ts";
import { planOf, readPacked } from "./requests.ts";

/** Stops a query. @returns `undefined` if it is not one of Flight SQL */
type Cancel = (info: FlightInfo, context: FlightContext) => Promise<CancelStatus | undefined>;
type Answer = (body: Uint8Array, caller: Caller, context: FlightContext) => Promise<Uint8Array | void>;

/**
 * The handlers of the actions, by their types.
 *
 * @param executor Executes what they request
 * @param cancel Stops a query
 */
export function actionHandlers(executor: Executor, cancel: Cancel): NonNullable<FlightHandlers["actions"]> {
  return Object.fromEntries(
    Object.entries(answers(executor, cancel)).map(([key, answer]) => {
      const { type, description } = SQL_ACTIONS[key as keyof typeof SQL_ACTIONS];
      return [type, {
        description,
        run: async (body: Uint8Array, context: FlightContext) => {
          const bytes = await answer(body, callerOf(context), context);
          return bytes === undefined ? [] : [bytes];
        },
      }];
    }),
  );
}

/** What each action does. */
function answers(executor: Executor, cancel: Cancel): Record<keyof typeof SQL_ACTIONS, Answer> {
  const { engine: { facts }, handles } = executor;
  return {
    createPreparedStatement: (body, caller, { signal }) => {
      const { query, transactionId } = readPacked(sql.ActionCreatePreparedStatementRequestSchema, body);
      return prepare(executor, { query }, transactionId, caller, signal);
    },
    createPreparedSubstraitPlan: (body, caller, { signal }) => {
      const { plan, transactionId } = readPacked(sql.ActionCreatePreparedSubstraitPlanRequestSchema, body);
      return prepare(executor, planOf(plan), transactionId, caller, signal);
    },
    closePreparedStatement: async (body, caller) => {
      const { preparedStatementHandle: handle } = readPacked(sql.ActionClosePreparedStatementRequestSchema, body);
      executor.prepared(handle, caller);
      await handles.end(handle.toHex(), new PeerError("closed", "cannot use the prepared statement: it was closed"));
    },
    beginTransaction: async (body, caller) => {
      readPacked(sql.ActionBeginTransactionRequestSchema, body);
      if (facts.transactions === "none") throw notOffered("begin a transaction");
      return packMessage(sql.ActionBeginTransactionResultSchema, {
        transactionId: await executor.begin(caller),
      });
    },
    endTransaction: async (body, caller) => {
      const { transactionId, action } = readPacked(sql.ActionEndTransactionRequestSchema, body);
      const end = ending(action, "transaction", ["commit", "rollback"] as const);
      const transaction = executor.transaction(transactionId, caller);
      if (transaction === null) throw unknownHandle("transaction");
      await transaction.end(end).finally(() =>
        handles.end(transactionId.toHex(), new PeerError("closed", "cannot use the transaction: it was ended"))
      );
    },
    beginSavepoint: async (body, caller) => {
      const { transactionId } = readPacked(sql.ActionBeginSavepointRequestSchema, body);
      if (facts.transactions !== "savepoints") throw notOffered("begin a savepoint");
      const transaction = executor.transaction(transactionId, caller);
      if (transaction === null) throw unknownHandle("transaction");
      // The id that the client gets is the handle of its transaction, then as many bytes of its own.
      const id = crypto.getRandomValues(new Uint8Array(HANDLE_BYTES));
      await transaction.beginSavepoint(`s${id.toHex()}`);
      return packMessage(sql.ActionBeginSavepointResultSchema, {
        savepointId: Uint8Array.from([...transactionId, ...id]),
      });
    },
    endSavepoint: async (body, caller) => {
      const { savepointId, action } = readPacked(sql.ActionEndSavepointRequestSchema, body);
      if (facts.transactions !== "savepoints") throw notOffered("end a savepoint");
      const end = ending(action, "savepoint", ["release", "rollback"] as const);
      const transaction = executor.transaction(savepointId.subarray(0, HANDLE_BYTES), caller);
      const name = `s${savepointId.subarray(HANDLE_BYTES).toHex()}`;
      if (transaction === null || !await transaction.endSavepoint(name, end)) throw unknownHandle("savepoint");
    },
    cancelQuery: async (body, _, context) => {
      const { info } = readPacked(sql.ActionCancelQueryRequestSchema, body);
      const status = await cancel(infoFromProto(parseInfo(info)), context) ?? "not cancellable";
      // Flight numbers them alike.
      return packMessage(sql.ActionCancelQueryResultSchema, { result: cancelStatusNumber(status) as number });
    },
  };
}

async function prepare(
  executor: Executor,
  text: StatementText,
  transactionId: Uint8Array | undefined,
  caller: Caller,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const transaction = executor.transaction(transactionId, caller);
  const { handle, prepared } = await executor.prepare({ ...text, place: caller.place }, transaction, caller, signal);
  return packMessage(sql.ActionCreatePreparedStatementResultSchema, {
    preparedStatementHandle: handle,
    datasetSchema: prepared.schema === null ? new Uint8Array(0) : frameMetadata(prepared.schema),
    parameterSchema: frameMetadata(prepared.parameterSchema),
    isUpdate: prepared.schema === null,
  });
}

function parseInfo(info: Uint8Array) {
  try {
    return fromBinary(FlightInfoSchema, info);
  } catch (cause) {
    throw new DipcError("invalid_argument", "cannot cancel the query: the request holds no FlightInfo", { cause });
  }
}

/** How something is ended: the first or the second way. @throws {DipcError} `invalid_argument` */
function ending<T extends string>(action: number, what: string, ways: readonly [T, T]): T {
  if (action === 1 || action === 2) return ways[action - 1];
  throw new DipcError(
    "invalid_argument",
    `cannot end the ${what}: the request does not say how; ${ways.join(" or ")} it`,
  );
}
