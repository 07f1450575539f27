/**
 * What a server says of its database: catalogs, schemas, tables, keys, types, and itself.
 *
 * @module
 */
import type { RecordBatch } from "apache-arrow";
import { DipcError } from "../errors.ts";
import { readEncapsulatedSchema } from "../flight/schema_bytes.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { type PlainValue, plainValue } from "../ipc/plain_value.ts";
import { packMessage } from "./any.ts";
import { SqlExecutor } from "./executor.ts";
import * as sql from "./gen/flight_sql_pb.ts";
import type { SqlCallOptions } from "./options.ts";
import { infoId, infoName, infoValue, type SqlInfoMap } from "./sql_info.ts";

/** A schema of the database. */
export interface SqlDbSchema {
  /** The catalog that it is in; `null` without one. */
  readonly catalog: string | null;
  /** Its name. */
  readonly name: string;
}

/** A table. */
export interface SqlTable {
  /** The catalog that it is in; `null` without one. */
  readonly catalog: string | null;
  /** The schema of the database that it is in; `null` without one. */
  readonly dbSchema: string | null;
  /** Its name. */
  readonly name: string;
  /** Its type, such as `"TABLE"` or `"VIEW"`. */
  readonly type: string;
  /** The Arrow schema of its rows; `null` unless requested. */
  readonly schema: MessageHeader | null;
}

/** What names a table. */
export interface SqlTableName {
  /** Its catalog; `""` for what has none. Default: any. */
  readonly catalog?: string;
  /** The schema of the database that it is in; `""` for what has none. Default: any. */
  readonly dbSchema?: string;
  /** Its name. */
  readonly table: string;
}

/** What `tables` looks for. Texts but the catalog are patterns of LIKE, with `%` and `_`. */
export interface SqlTableFilter {
  /** Catalog; `""` for what has none. */
  readonly catalog?: string;
  /** Schema of the database. */
  readonly dbSchema?: string;
  /** Name of the table. */
  readonly table?: string;
  /** Types of tables; default: all. */
  readonly tableTypes?: readonly string[];
  /** Whether each table has the Arrow schema of its rows. */
  readonly includeSchema?: boolean;
}

/** A column of a primary key. */
export interface SqlPrimaryKey {
  /** Catalog of its table; `null` without one. */
  readonly catalog: string | null;
  /** Schema of the database that its table is in; `null` without one. */
  readonly dbSchema: string | null;
  /** Name of its table. */
  readonly table: string;
  /** Name of the column. */
  readonly column: string;
  /** Place of the column in the key, as the server counts. */
  readonly keySequence: number;
  /** Name of the key; `null` without one. */
  readonly keyName: string | null;
}

/** What becomes of a foreign key when its primary key changes. */
export type SqlKeyRule = "cascade" | "restrict" | "set null" | "no action" | "set default";

/** A column of a foreign key, and the one that it refers to. */
export interface SqlForeignKey {
  /** The column that is referred to. */
  readonly primary: Omit<SqlPrimaryKey, "keySequence">;
  /** The column that refers to it. */
  readonly foreign: Omit<SqlPrimaryKey, "keySequence">;
  /** Place of the column in the key, as the server counts. */
  readonly keySequence: number;
  /** When the primary key is changed; `null` if the server does not say. */
  readonly updateRule: SqlKeyRule | null;
  /** When its row is deleted; `null` if the server does not say. */
  readonly deleteRule: SqlKeyRule | null;
}

const RULES: readonly SqlKeyRule[] = ["cascade", "restrict", "set null", "no action", "set default"];

/** Requests what a server says of its database. */
export abstract class SqlMetadata extends SqlExecutor {
  /** Names of the catalogs. @throws {DipcError} What the server answers */
  async catalogs(options: SqlCallOptions = {}): Promise<string[]> {
    const rows = await this.#rows(packMessage(sql.CommandGetCatalogsSchema, {}), options);
    return rows.map((row) => textIn(row, "catalog_name") ?? "");
  }

  /**
   * The schemas of the database.
   *
   * @param filter Their catalog (`""` for those without one), and a pattern of LIKE for their names
   * @param options Cancellation
   * @throws {DipcError} What the server answers
   */
  async dbSchemas(
    filter: Omit<SqlTableFilter, "table" | "tableTypes" | "includeSchema"> = {},
    options: SqlCallOptions = {},
  ): Promise<SqlDbSchema[]> {
    const { catalog, dbSchema: dbSchemaFilterPattern } = filter;
    const rows = await this.#rows(
      packMessage(sql.CommandGetDbSchemasSchema, { catalog, dbSchemaFilterPattern }),
      options,
    );
    return rows.map((row) => ({ catalog: textIn(row, "catalog_name"), name: textIn(row, "db_schema_name") ?? "" }));
  }

  /**
   * The tables.
   *
   * @param filter What to look for
   * @param options Cancellation
   * @throws {DipcError} What the server answers
   */
  async tables(filter: SqlTableFilter = {}, options: SqlCallOptions = {}): Promise<SqlTable[]> {
    const { catalog, dbSchema, table, tableTypes = [], includeSchema = false } = filter;
    const command = packMessage(sql.CommandGetTablesSchema, {
      catalog,
      dbSchemaFilterPattern: dbSchema,
      tableNameFilterPattern: table,
      tableTypes: [...tableTypes],
      includeSchema,
    });
    const rows = await this.#rows(command, options);
    return rows.map((row) => ({
      ...placeIn(row, ""),
      name: textIn(row, "table_name") ?? "",
      type: textIn(row, "table_type") ?? "",
      schema: schemaIn(row),
    }));
  }

  /** The types that tables have, such as `"TABLE"` and `"VIEW"`. @throws {DipcError} What the server answers */
  async tableTypes(options: SqlCallOptions = {}): Promise<string[]> {
    const rows = await this.#rows(packMessage(sql.CommandGetTableTypesSchema, {}), options);
    return rows.map((row) => textIn(row, "table_type") ?? "");
  }

  /** The columns of a table's primary key. @throws {DipcError} What the server answers */
  async primaryKeys(table: SqlTableName, options: SqlCallOptions = {}): Promise<SqlPrimaryKey[]> {
    const rows = await this.#rows(packMessage(sql.CommandGetPrimaryKeysSchema, { ...table }), options);
    return rows.map((row) => ({
      ...columnIn(row, ""),
      keySequence: numberIn(row, "key_sequence") ?? 0,
      keyName: textIn(row, "key_name"),
    }));
  }

  /** Foreign keys of other tables that refer to this one. @throws {DipcError} What the server answers */
  async exportedKeys(table: SqlTableName, options: SqlCallOptions = {}): Promise<SqlForeignKey[]> {
    return await this.#foreignKeys(packMessage(sql.CommandGetExportedKeysSchema, { ...table }), options);
  }

  /** Foreign keys of this table. @throws {DipcError} What the server answers */
  async importedKeys(table: SqlTableName, options: SqlCallOptions = {}): Promise<SqlForeignKey[]> {
    return await this.#foreignKeys(packMessage(sql.CommandGetImportedKeysSchema, { ...table }), options);
  }

  /**
   * Foreign keys of one table that refer to another.
   *
   * @param primary The table that is referred to
   * @param foreign The table that refers to it
   * @param options Cancellation
   * @throws {DipcError} What the server answers
   */
  async crossReference(
    primary: SqlTableName,
    foreign: SqlTableName,
    options: SqlCallOptions = {},
  ): Promise<SqlForeignKey[]> {
    const command = packMessage(sql.CommandGetCrossReferenceSchema, {
      ...{ pkCatalog: primary.catalog, pkDbSchema: primary.dbSchema, pkTable: primary.table },
      ...{ fkCatalog: foreign.catalog, fkDbSchema: foreign.dbSchema, fkTable: foreign.table },
    });
    return await this.#foreignKeys(command, options);
  }

  /**
   * The data types of the database, as JDBC and ODBC describe types.
   *
   * @param dataType Only this type, by XDBC's number
   * @param options Cancellation
   * @returns One object for each type, with the columns of Flight SQL's result, such as `type_name` and `column_size`
   * @throws {DipcError} What the server answers
   */
  async typeInfo(
    dataType?: number,
    options: SqlCallOptions = {},
  ): Promise<Readonly<Record<string, PlainValue>>[]> {
    const rows = await this.#rows(packMessage(sql.CommandGetXdbcTypeInfoSchema, { dataType }), options);
    return rows.map((row) => Object.fromEntries(row) as Record<string, PlainValue>);
  }

  /**
   * What the server says of itself and of its SQL.
   *
   * @param names Names such as `"FLIGHT_SQL_SERVER_NAME"`, or ids; default: everything
   * @param options Cancellation
   * @returns Values by name. Numbers that stand for words are those words; for masks of bits, lists of words
   * @throws {DipcError} `invalid_argument` for a name that Flight SQL does not have; what the server answers
   */
  async info(names: readonly (string | number)[] = [], options: SqlCallOptions = {}): Promise<SqlInfoMap> {
    const ids = names.map((name) => {
      const id = infoId(name);
      if (id !== undefined) return id;
      throw new DipcError(
        "invalid_argument",
        `cannot read what the server says of itself: Flight SQL has no information ${JSON.stringify(name)}`,
      );
    });
    const rows = await this.#rows(packMessage(sql.CommandGetSqlInfoSchema, { info: ids }), options);
    return new Map(rows.map((row) => {
      const id = numberIn(row, "info_name") ?? 0;
      return [infoName(id), infoValue(id, row.get("value") as PlainValue)];
    }));
  }

  async #foreignKeys(command: Uint8Array, options: SqlCallOptions): Promise<SqlForeignKey[]> {
    const rows = await this.#rows(command, options);
    return rows.map((row) => ({
      primary: { ...columnIn(row, "pk_"), keyName: textIn(row, "pk_key_name") },
      foreign: { ...columnIn(row, "fk_"), keyName: textIn(row, "fk_key_name") },
      keySequence: numberIn(row, "key_sequence") ?? 0,
      updateRule: ruleIn(row, "update_rule"),
      deleteRule: ruleIn(row, "delete_rule"),
    }));
  }

  async #rows(command: Uint8Array, options: SqlCallOptions): Promise<Row[]> {
    const { signal, timeoutMs } = options;
    const info = await this._session.info(command, { signal, timeoutMs });
    await using reader = await this._session.open(info, { signal });
    const rows: Row[] = [];
    for await (using batch of reader) rows.push(...rowsOf(batch));
    return rows;
  }
}

/** Values of a row by the names of their columns: servers differ in what they add and leave out. */
type Row = ReadonlyMap<string, PlainValue | Uint8Array>;

function rowsOf(batch: RecordBatch): Row[] {
  const columns = batch.schema.fields.map(({ name }, i) => [name, batch.getChildAt(i)!] as const);
  // What refers to the memory of the batch is copied: that is released.
  return Array.from(
    { length: batch.numRows },
    (_, row) =>
      new Map(columns.map(([name, vector]): [string, PlainValue | Uint8Array] => {
        const value = vector.get(row);
        return [name, value instanceof Uint8Array ? value.slice() : plainValue(value)];
      })),
  );
}

function textIn(row: Row, name: string): string | null {
  const value = row.get(name);
  return typeof value === "string" ? value : null;
}

function numberIn(row: Row, name: string): number | null {
  const value = row.get(name);
  return typeof value === "number" || typeof value === "bigint" ? Number(value) : null;
}

function ruleIn(row: Row, name: string): SqlKeyRule | null {
  return RULES[numberIn(row, name) ?? -1] ?? null;
}

function placeIn(row: Row, prefix: string): { catalog: string | null; dbSchema: string | null } {
  return { catalog: textIn(row, `${prefix}catalog_name`), dbSchema: textIn(row, `${prefix}db_schema_name`) };
}

function columnIn(row: Row, prefix: string) {
  const table = textIn(row, `${prefix}table_name`) ?? "";
  return { ...placeIn(row, prefix), table, column: textIn(row, `${prefix}column_name`) ?? "" };
}

function schemaIn(row: Row): MessageHeader | null {
  const bytes = row.get("table_schema");
  return bytes instanceof Uint8Array && bytes.byteLength > 0 ? readEncapsulatedSchema(bytes) : null;
}
