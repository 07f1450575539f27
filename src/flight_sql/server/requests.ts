/**
 * The requests of clients of Flight SQL: commands, and the bodies of actions.
 *
 * @module
 */
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { DipcError } from "../../errors.ts";
import type { FlightDescriptor } from "../../flight/model.ts";
import { unpackMessage } from "../any.ts";
import type { EngineIngest } from "../engine.ts";
import * as sql from "../gen/flight_sql_pb.ts";
import type { StatementText } from "./executor.ts";
import { notOffered } from "./failure.ts";

/** The command of a descriptor; `null` if it is a path. */
export function commandOf(descriptor: FlightDescriptor): Uint8Array | null {
  return "command" in descriptor ? descriptor.command : null;
}

/** Reads a packed message. @throws {DipcError} `invalid_argument` if it is of another type, or malformed */
export function readPacked<T extends DescMessage>(schema: T, packed: Uint8Array): MessageShape<T> {
  const message = unpackMessage(schema, packed);
  if (message !== null) return message;
  throw new DipcError("invalid_argument", `cannot read the request: it is not a ${schema.name}`);
}

/**
 * The statement in a command, and the transaction that it is for, if there is one.
 *
 * @param name Name of the command
 * @throws {DipcError} `unsupported` for a command without a statement, `invalid_argument`
 */
export function statementOf(
  name: string,
  command: Uint8Array,
): { readonly text: StatementText; readonly transactionId: Uint8Array | undefined } {
  if (name === "CommandStatementQuery" || name === "CommandStatementUpdate") {
    const schema = name === "CommandStatementQuery"
      ? sql.CommandStatementQuerySchema
      : sql.CommandStatementUpdateSchema;
    const { query, transactionId } = readPacked(schema, command);
    return { text: { query }, transactionId };
  }
  if (name === "CommandStatementSubstraitPlan") {
    const { plan, transactionId } = readPacked(sql.CommandStatementSubstraitPlanSchema, command);
    return { text: planOf(plan), transactionId };
  }
  throw notOffered(`answer ${name}`);
}

/** The plan of a request. @throws {DipcError} `invalid_argument` if there is none */
export function planOf(plan: sql.SubstraitPlan | undefined): StatementText {
  if (plan !== undefined) return { plan: plan.plan, version: plan.version };
  throw new DipcError("invalid_argument", "cannot execute the plan: the request has none");
}

/** Where uploaded rows go. */
export function ingestOf(request: sql.CommandStatementIngest): EngineIngest {
  const { tableDefinitionOptions: rules, table, schema, catalog, temporary, options } = request;
  const { TableNotExistOption, TableExistsOption } = {
    TableNotExistOption: sql.CommandStatementIngest_TableDefinitionOptions_TableNotExistOption,
    TableExistsOption: sql.CommandStatementIngest_TableDefinitionOptions_TableExistsOption,
  };
  const ifExists = rules?.ifExists === TableExistsOption.APPEND
    ? "append"
    : rules?.ifExists === TableExistsOption.REPLACE
    ? "replace"
    : "fail";
  return {
    table: { catalog: catalog ?? null, schema: schema ?? null, table },
    ifMissing: rules?.ifNotExist === TableNotExistOption.FAIL ? "fail" : "create",
    ifExists,
    isTemporary: temporary,
    options,
  };
}
