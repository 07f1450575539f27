/**
 * The server's part of the scenarios of Flight SQL: an engine that answers what the clients of the other implementations expect. Their
 * ids are fixed, those of dipc's server are not: the first ones are exchanged for the others on the way.
 *
 * @module
 */
import type { DescMessage } from "@bufbuild/protobuf";
import type { Schema } from "apache-arrow";
import type { EngineConnection, EngineStatement, SqlEngine } from "../../flight_sql.ts";
import type { FlightDescriptor, FlightHandlers } from "../../flight.ts";
import { packMessage, unpackMessage } from "../../src/flight_sql/any.ts";
import * as sql from "../../src/flight_sql/gen/flight_sql_pb.ts";
import { encodeSchema } from "../../src/ipc/encode.ts";
import { SqlPlane } from "../../src/serving/sql_plane.ts";
import { Tickets } from "../../src/serving/tickets.ts";
import { INGEST, QUERY, QUERY_IN_TRANSACTION, ROWS_CHANGED, SAVEPOINT, TRANSACTION } from "./sql_scenarios.ts";

const encoder = new TextEncoder();
const ID = sql.SqlInfo;

/** Messages that name a transaction or a savepoint. */
const NAMING: readonly DescMessage[] = [
  ...[sql.CommandStatementQuerySchema, sql.CommandStatementUpdateSchema, sql.CommandStatementSubstraitPlanSchema],
  ...[sql.CommandStatementIngestSchema, sql.ActionCreatePreparedStatementRequestSchema],
  ...[sql.ActionCreatePreparedSubstraitPlanRequestSchema, sql.ActionEndTransactionRequestSchema],
  ...[sql.ActionBeginSavepointRequestSchema, sql.ActionEndSavepointRequestSchema],
];

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(`the client has sent another ${what}`);
}

/** The engine. */
class ScenarioEngine implements SqlEngine {
  readonly facts = {
    name: "scenario",
    version: "1",
    isReadOnly: false,
    transactions: "savepoints",
    canIngest: true,
    canRunPlans: true,
    info: new Map<number, string | boolean | number>([
      [ID.FLIGHT_SQL_SERVER_SQL, false],
      [ID.FLIGHT_SQL_SERVER_SUBSTRAIT_MIN_VERSION, "min_version"],
      [ID.FLIGHT_SQL_SERVER_SUBSTRAIT_MAX_VERSION, "max_version"],
      [ID.FLIGHT_SQL_SERVER_STATEMENT_TIMEOUT, 42],
      [ID.FLIGHT_SQL_SERVER_TRANSACTION_TIMEOUT, 7],
    ]),
  } as const;

  readonly catalog = {
    catalogs: () => Promise.resolve([]),
    schemas: () => Promise.resolve([]),
    tables: () => Promise.resolve([]),
    tableTypes: () => Promise.resolve([]),
    schemaOf: () => Promise.reject(new Error("there are no tables")),
    primaryKeys: () => Promise.resolve([]),
    foreignKeys: () => Promise.resolve([]),
  };

  /** Whether a plan is being prepared, rather than executed at once. */
  isPreparing = false;

  connect(): Promise<EngineConnection> {
    let isTransaction = false;
    const ok = (): Promise<void> => Promise.resolve();
    const savepoint = (): Promise<void> => ok();
    return Promise.resolve({
      prepare: (text) => Promise.resolve(statement(text, isTransaction, /PREPARED/.test(text))),
      preparePlan: (plan, version) => {
        check(new TextDecoder().decode(plan) === "plan" && version === "version", "plan");
        return Promise.resolve(statement("plan", isTransaction, this.isPreparing));
      },
      begin: () => {
        isTransaction = true;
        return ok();
      },
      commit: ok,
      rollback: ok,
      savepoints: { begin: savepoint, release: savepoint, rollback: savepoint },
      async ingest({ table, ifExists, ifMissing, isTemporary, options }, rows) {
        const wanted = [INGEST.catalog, INGEST.dbSchema, INGEST.table, "replace", "create", true, INGEST.options];
        const found = [table.catalog, table.schema, table.table, ifExists, ifMissing, isTemporary, options];
        check(JSON.stringify(found) === JSON.stringify(wanted), "ingest");
        let count = 0;
        for await (const { header, body } of rows.messages()) {
          count += header.rows;
          body?.release();
        }
        return count;
      },
      close: ok,
    });
  }
}

function statement(text: string, isTransaction: boolean, isPrepared: boolean): EngineStatement {
  const schema = encodeSchema(isTransaction ? QUERY_IN_TRANSACTION : QUERY);
  const { statement, statementInTransaction, prepared, preparedInTransaction } = ROWS_CHANGED;
  const [plain, inTransaction] = isPrepared ? [prepared, preparedInTransaction] : [statement, statementInTransaction];
  return {
    schema: text.startsWith("UPDATE") ? null : schema,
    parameterSchema: encodeSchema(QUERY as Schema),
    isOrdered: true,
    query: () => Promise.resolve({ schema, next: () => null, close() {} }),
    update: () => Promise.resolve(isTransaction ? inTransaction : plain),
    close: () => Promise.resolve(),
  };
}

/** Starts what answers the scenarios. */
export async function sqlHandlers(): Promise<FlightHandlers> {
  const engine = new ScenarioEngine();
  const plane = new SqlPlane(engine, undefined, await Tickets.open());
  const own = plane.handlersWith({});
  /** Ids of the server by those of the scenario. */
  const ids = new Map<string, Uint8Array>();
  const exchanged = (bytes: Uint8Array): Uint8Array => {
    for (const schema of NAMING) {
      const message = unpackMessage(schema, bytes) as Record<string, unknown> | null;
      if (message === null) continue;
      for (const field of ["transactionId", "savepointId"]) {
        const id = message[field] as Uint8Array | undefined;
        // What is ingested is said to be in a transaction that nobody has begun.
        if (id !== undefined) message[field] = ids.get(new TextDecoder().decode(id));
      }
      return packMessage(schema, message as never);
    }
    return bytes;
  };
  const described = (descriptor: FlightDescriptor): FlightDescriptor =>
    "command" in descriptor ? { command: exchanged(descriptor.command) } : descriptor;
  const answering = (type: string, answer: Uint8Array): Uint8Array => {
    if (type === "BeginTransaction") {
      ids.set(TRANSACTION, unpackMessage(sql.ActionBeginTransactionResultSchema, answer)!.transactionId);
      return packMessage(sql.ActionBeginTransactionResultSchema, { transactionId: encoder.encode(TRANSACTION) });
    }
    if (type === "BeginSavepoint") {
      ids.set(SAVEPOINT.id, unpackMessage(sql.ActionBeginSavepointResultSchema, answer)!.savepointId);
      return packMessage(sql.ActionBeginSavepointResultSchema, { savepointId: encoder.encode(SAVEPOINT.id) });
    }
    return answer;
  };
  return {
    ...own,
    getFlightInfo: (descriptor, context) => own.getFlightInfo!(described(descriptor), context),
    getSchema: (descriptor, context) => own.getSchema!(described(descriptor), context),
    doPut: (upload, context) => {
      const descriptor = upload.descriptor && described(upload.descriptor);
      const seen = new Proxy(upload, {
        get(target, key) {
          const value = key === "descriptor" ? descriptor : Reflect.get(target, key, target);
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
      return own.doPut!(seen, context);
    },
    actions: Object.fromEntries(
      Object.entries(own.actions!).map(([type, action]) => [type, {
        ...action,
        run: async (body, context) => {
          engine.isPreparing = type === "CreatePreparedSubstraitPlan";
          const answers: Uint8Array[] = [];
          for await (const answer of await action.run(exchanged(body), context) ?? []) {
            answers.push(answering(type, answer));
          }
          return answers;
        },
      }]),
    ),
  };
}
