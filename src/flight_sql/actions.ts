/**
 * The actions of Flight SQL, each with the types of its argument and of its answer.
 *
 * @module
 */
import type { DescMessage } from "@bufbuild/protobuf";
import * as sql from "./gen/flight_sql_pb.ts";

/** An action whose argument and answer are packed messages; `null` if it has no answer. */
interface SqlAction {
  readonly type: string;
  readonly description: string;
  readonly request: DescMessage;
  readonly result: DescMessage | null;
}

/** Flight SQL's own actions. Cancelling and sessions are Flight's. */
export const SQL_ACTIONS = {
  createPreparedStatement: {
    type: "CreatePreparedStatement",
    description: "prepares a statement, and returns its handle and schemas",
    request: sql.ActionCreatePreparedStatementRequestSchema,
    result: sql.ActionCreatePreparedStatementResultSchema,
  },
  createPreparedSubstraitPlan: {
    type: "CreatePreparedSubstraitPlan",
    description: "prepares a plan of Substrait, and returns its handle and schemas",
    request: sql.ActionCreatePreparedSubstraitPlanRequestSchema,
    result: sql.ActionCreatePreparedStatementResultSchema,
  },
  closePreparedStatement: {
    type: "ClosePreparedStatement",
    description: "closes a prepared statement",
    request: sql.ActionClosePreparedStatementRequestSchema,
    result: null,
  },
  beginTransaction: {
    type: "BeginTransaction",
    description: "begins a transaction, and returns its id",
    request: sql.ActionBeginTransactionRequestSchema,
    result: sql.ActionBeginTransactionResultSchema,
  },
  endTransaction: {
    type: "EndTransaction",
    description: "commits a transaction, or rolls it back",
    request: sql.ActionEndTransactionRequestSchema,
    result: null,
  },
  beginSavepoint: {
    type: "BeginSavepoint",
    description: "begins a savepoint in a transaction, and returns its id",
    request: sql.ActionBeginSavepointRequestSchema,
    result: sql.ActionBeginSavepointResultSchema,
  },
  endSavepoint: {
    type: "EndSavepoint",
    description: "releases a savepoint, or rolls back to it",
    request: sql.ActionEndSavepointRequestSchema,
    result: null,
  },
  cancelQuery: {
    type: "CancelQuery",
    description: "stops a query; CancelFlightInfo is its newer form",
    request: sql.ActionCancelQueryRequestSchema,
    result: sql.ActionCancelQueryResultSchema,
  },
} as const satisfies Record<string, SqlAction>;
