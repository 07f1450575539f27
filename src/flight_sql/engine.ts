/**
 * What a server of Flight SQL needs of an engine: connections that prepare statements, and what there is to be queried.
 *
 * @module
 */
import type { RecordBatch } from "apache-arrow";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import type { MessageStream } from "../sources/dataset.ts";

/**
 * An engine behind `serve({ flight: { sql } })`. Its methods may throw a `DipcError`: the client gets its text and the status of its
 * code; everything else becomes INTERNAL without a text.
 */
export interface SqlEngine {
  /** What clients learn about it. */
  readonly facts: EngineFacts;
  /** What there is to be queried. */
  readonly catalog: EngineCatalog;
  /** Opens a connection. Each transaction has one, and each statement outside of one. */
  connect(): Promise<EngineConnection>;
  /**
   * Whether there is such a place. An engine without this takes none: then the options `catalog` and `schema` of a client's session have
   * no effect.
   *
   * @returns which part of it there is not; `null` if it is there
   */
  missingIn?(place: EnginePlace): Promise<keyof EnginePlace | null>;
}

/** The place of names without a catalog or a schema; `null` stands for the engine's default. */
export interface EnginePlace {
  /** Name of the catalog. */
  readonly catalog: string | null;
  /** Name of the schema. */
  readonly schema: string | null;
}

/** What an engine tells of itself. */
export interface EngineFacts {
  /** Name, such as `"DuckDB"`. */
  readonly name: string;
  /** Version, such as `"1.5.6"`. */
  readonly version: string;
  /** Whether nothing can be changed. */
  readonly isReadOnly: boolean;
  /** Whether it has transactions, and savepoints in them. */
  readonly transactions: "none" | "transactions" | "savepoints";
  /** Whether the rows of an upload can become those of a table. */
  readonly canIngest: boolean;
  /** Whether a connection prepares plans of Substrait. */
  readonly canRunPlans?: boolean;
  /** Further values of SqlInfo, by number. */
  readonly info?: ReadonlyMap<number, EngineInfoValue>;
  /** The types that columns may have. */
  readonly types?: readonly EngineTypeInfo[];
}

/** A value of SqlInfo: a text, a truth, an int64 (bigint), an int32 with bits (number), texts, or lists of int32 by int32. */
export type EngineInfoValue =
  | string
  | boolean
  | bigint
  | number
  | readonly string[]
  | ReadonlyMap<number, readonly number[]>;

/** A type of columns, as XDBC describes it; see `CommandGetXdbcTypeInfo`. */
export interface EngineTypeInfo {
  /** Its name, such as `"VARCHAR"`. */
  readonly name: string;
  /** XDBC's number of it. */
  readonly dataType: number;
  /** Largest precision or length, if there is one. */
  readonly columnSize?: number;
  /** What values in statements begin and end with, such as `'`. */
  readonly quote?: string;
  /** What is given when a column is made, such as `["precision", "scale"]`. */
  readonly createParams?: readonly string[];
  /** Whether its numbers have no sign. */
  readonly isUnsigned?: boolean;
  /** Most digits after the point. */
  readonly maximumScale?: number;
  /** 2 or 10 for numbers. */
  readonly radix?: number;
  /** XDBC's number of the part of a date or a time. */
  readonly datetimeSubcode?: number;
}

/** The name of a table. */
export interface EngineTableName {
  /** Its catalog. */
  readonly catalog: string | null;
  /** Its schema. */
  readonly schema: string | null;
  /** Its own name. */
  readonly table: string;
}

/** A table. */
export interface EngineTable extends EngineTableName {
  /** Such as `"TABLE"` or `"VIEW"`. */
  readonly type: string;
}

/** A primary key. */
export interface EnginePrimaryKey extends EngineTableName {
  /** Name of the constraint. */
  readonly name: string | null;
  /** Its columns, in order. */
  readonly columns: readonly string[];
}

/** What becomes of the rows that refer to one that is changed or deleted, as Flight SQL numbers it. */
export type EngineKeyRule = 0 | 1 | 2 | 3 | 4;

/** A foreign key. */
export interface EngineForeignKey extends EngineTableName {
  /** Name of the constraint. */
  readonly name: string | null;
  /** Its columns, in order. */
  readonly columns: readonly string[];
  /** The table that it refers to, and the columns there. */
  readonly target: EngineTableName & { readonly name: string | null; readonly columns: readonly string[] };
  /** 0 cascade, 1 restrict, 2 set null, 3 no action, 4 set default. */
  readonly updateRule: EngineKeyRule;
  /** The same for a row that is deleted. */
  readonly deleteRule: EngineKeyRule;
}

/** What there is to be queried: everything, for the server chooses what a client has requested. */
export interface EngineCatalog {
  /** Names of the catalogs. */
  catalogs(): Promise<readonly string[]>;
  /** The schemas of all catalogs. */
  schemas(): Promise<readonly { readonly catalog: string | null; readonly schema: string }[]>;
  /** The tables of all schemas. */
  tables(): Promise<readonly EngineTable[]>;
  /** Kinds of tables that there can be. */
  tableTypes(): Promise<readonly string[]>;
  /** The schema of a table. */
  schemaOf(table: EngineTableName): Promise<MessageHeader>;
  /** The primary keys of all tables. */
  primaryKeys(): Promise<readonly EnginePrimaryKey[]>;
  /** The foreign keys of all tables. */
  foreignKeys(): Promise<readonly EngineForeignKey[]>;
}

/** What holds for a call. */
export interface EngineCallOptions {
  /** Ends the call. */
  readonly signal?: AbortSignal;
}

/** What holds for an execution. */
export interface EngineExecuteOptions extends EngineCallOptions {
  /** Whether `progress` of the connection will be asked meanwhile. Default false. */
  readonly isWatched?: boolean;
}

/** What holds for a call that names tables. */
export interface EnginePlaceOptions extends EngineCallOptions {
  /** Where names are looked for, of the statement also when it is executed. Default: the engine's default. */
  readonly place?: EnginePlace;
}

/** A connection to an engine. Calls may come before earlier ones are over; they take turns. */
export interface EngineConnection {
  /** Prepares one statement. */
  prepare(sql: string, options: EnginePlaceOptions): Promise<EngineStatement>;
  /** Prepares a plan of Substrait. */
  preparePlan?(plan: Uint8Array, version: string, options: EnginePlaceOptions): Promise<EngineStatement>;
  /** Begins a transaction; called once, before anything else. */
  begin(): Promise<void>;
  /** Commits the transaction. */
  commit(): Promise<void>;
  /** Rolls the transaction back. */
  rollback(): Promise<void>;
  /** Savepoints of the transaction, by a name that the server chooses. */
  readonly savepoints?: {
    begin(name: string): Promise<void>;
    release(name: string): Promise<void>;
    rollback(name: string): Promise<void>;
  };
  /**
   * Writes rows into a table.
   *
   * @returns their number
   */
  ingest(target: EngineIngest, rows: EngineRowSource, options: EnginePlaceOptions): Promise<number>;
  /** How much of the statement that runs is done, from 0 to 1; `null` if that is not known. */
  progress?(): number | null;
  /** Ends everything of it; a transaction that is open is rolled back. Idempotent. */
  close(): Promise<void>;
}

/** Where uploaded rows go. */
export interface EngineIngest {
  /** The table; without catalog and schema it is where statements find it. */
  readonly table: EngineTableName;
  /** What to do if the table is not there. */
  readonly ifMissing: "create" | "fail";
  /** What to do if it is. */
  readonly ifExists: "append" | "replace" | "fail";
  /** Whether it is there for the transaction alone. */
  readonly isTemporary: boolean;
  /** Options of the engine's own. */
  readonly options: Readonly<Record<string, string>>;
}

/** Rows of an upload. */
export interface EngineRowSource {
  /** The schema message. */
  readonly schemaHeader: MessageHeader;
  /** Dictionaries and batches; the taker releases the bodies. */
  messages(): AsyncGenerator<IpcMessage, undefined>;
}

/** The values of the parameters of one execution: a row of a batch. */
export interface EngineParameters {
  /** The batch. */
  readonly batch: RecordBatch;
  /** Number of the row, from 0. */
  readonly row: number;
}

/** A statement that was prepared. */
export interface EngineStatement {
  /** The schema of its rows; `null` if it has none, but changes something. */
  readonly schema: MessageHeader | null;
  /** The schema of its parameters. */
  readonly parameterSchema: MessageHeader;
  /** Whether its rows have an order, so that they must not come in parts. */
  readonly isOrdered: boolean;
  /**
   * Executes it. The signal ends it at any time, also while its rows are read.
   *
   * @param parameters Values of its parameters; `null` if it has none
   */
  query(parameters: EngineParameters | null, options: EngineExecuteOptions): Promise<EngineRows>;
  /**
   * Executes it to its end.
   *
   * @returns the rows that were changed
   */
  update(parameters: EngineParameters | null, options: EngineExecuteOptions): Promise<number>;
  /** Idempotent. */
  close(): Promise<void>;
}

/** The rows of an execution. */
export interface EngineRows extends MessageStream {
  /** The schema message. */
  readonly schema: MessageHeader;
}
