/**
 * What there is to be queried in DuckDB.
 *
 * @module
 */
import type { StructRowProxy } from "apache-arrow";
import type {
  EngineCatalog,
  EngineForeignKey,
  EngineKeyRule,
  EnginePrimaryKey,
  EngineTable,
  EngineTableName,
} from "../flight_sql/engine.ts";
import type { MessageHeader } from "../ipc/message.ts";
import type { DuckDbDatabase } from "../duckdb/database.ts";
import { identifier } from "../duckdb/identifiers.ts";

/** DuckDB does nothing else, and says NO ACTION. */
const NO_ACTION: EngineKeyRule = 3;

/** Databases that clients see; that of DuckDB's own in memory is not used. */
const OWN = "database_name not in ('system', 'temp', 'memory')";

/** The catalog of a database. */
export class DuckDbCatalog implements EngineCatalog {
  readonly #database: DuckDbDatabase;

  constructor(database: DuckDbDatabase) {
    this.#database = database;
  }

  async catalogs(): Promise<string[]> {
    return (await this.#rows(`select database_name from duckdb_databases() where ${OWN} order by 1`)).map((row) =>
      row.database_name
    );
  }

  async schemas(): Promise<{ catalog: string; schema: string }[]> {
    const sql = `select database_name, schema_name from duckdb_schemas() where ${OWN}
      and schema_name not in ('information_schema', 'pg_catalog') order by all`;
    return (await this.#rows(sql)).map((row) => ({ catalog: row.database_name, schema: row.schema_name }));
  }

  async tables(): Promise<EngineTable[]> {
    // The datasets are views, which is nobody's concern.
    const sql =
      `select database_name, schema_name, table_name, 'TABLE' as kind from duckdb_tables() where ${OWN} union all
      select database_name, schema_name, view_name, if(database_name = 'datasets', 'TABLE', 'VIEW') from duckdb_views()
      where ${OWN} and not internal order by all`;
    return (await this.#rows(sql)).map((row) => ({ ...tableName(row), type: row.kind }));
  }

  tableTypes(): Promise<string[]> {
    return Promise.resolve(["TABLE", "VIEW"]);
  }

  async schemaOf({ catalog, schema, table }: EngineTableName): Promise<MessageHeader> {
    const parts = [catalog, schema, table].filter((part) => part !== null).map(identifier);
    await using connection = await this.#database.connect();
    return await connection.schemaOf(`from ${parts.join(".")}`);
  }

  /** Reserved words. */
  async keywords(): Promise<string[]> {
    const sql =
      "select upper(keyword_name) as word from duckdb_keywords() where keyword_category = 'reserved' order by 1";
    return (await this.#rows(sql)).map((row) => row.word);
  }

  async primaryKeys(): Promise<EnginePrimaryKey[]> {
    const rows = await this.#constraints("PRIMARY KEY");
    return rows.map((row) => ({ ...tableName(row), name: row.constraint_name, columns: textList(row.columns) }));
  }

  async foreignKeys(): Promise<EngineForeignKey[]> {
    const primary = await this.primaryKeys();
    return (await this.#constraints("FOREIGN KEY")).map((row) => {
      const own = tableName(row);
      // They refer to tables of the same schema.
      const target = { ...own, table: row.referenced_table };
      const key = primary.find(({ schema, catalog, table }) =>
        schema === own.schema && catalog === own.catalog && table === target.table
      );
      return {
        ...own,
        name: row.constraint_name,
        columns: textList(row.columns),
        target: { ...target, name: key?.name ?? null, columns: textList(row.referenced) },
        updateRule: NO_ACTION,
        deleteRule: NO_ACTION,
      };
    });
  }

  #constraints(type: string): Promise<StructRowProxy[]> {
    // Lists as texts with a character that no name should have.
    return this.#rows(
      `select database_name, schema_name, table_name, constraint_name, referenced_table,
      array_to_string(constraint_column_names, chr(31)) as columns,
      array_to_string(referenced_column_names, chr(31)) as referenced
      from duckdb_constraints() where ${OWN} and constraint_type = '${type}' order by all`,
    );
  }

  async #rows(sql: string): Promise<StructRowProxy[]> {
    await using connection = await this.#database.connect();
    const rows: StructRowProxy[] = [];
    for await (const batch of await connection.query(sql)) {
      for (const row of batch) rows.push(row.toJSON() as StructRowProxy);
    }
    return rows;
  }
}

function tableName(row: StructRowProxy): EngineTableName & { readonly table: string } {
  return { catalog: row.database_name, schema: row.schema_name, table: row.table_name };
}

function textList(text: string | null): string[] {
  return text === null || text === "" ? [] : text.split("\x1f");
}
