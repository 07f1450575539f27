/**
 * The answers of metadata calls: what an engine has, as far as a client has requested it.
 *
 * @module
 */
import type { Table } from "apache-arrow";
import { frameMetadata } from "../../ipc/frame.ts";
import type { EngineForeignKey, EngineInfoValue, EngineTableName, EngineTypeInfo, SqlEngine } from "../engine.ts";
import { unpackMessage } from "../any.ts";
import * as sql from "../gen/flight_sql_pb.ts";
import { RESULT_SCHEMAS } from "../result_schemas.ts";
import { fromEngine, unknownHandle } from "./failure.ts";
import { infoTable, tableOf } from "./rows.ts";

/** What the answers are made of. */
export interface MetadataParts {
  readonly engine: SqlEngine;
  readonly info: ReadonlyMap<number, EngineInfoValue>;
}

type Answer = (parts: MetadataParts, command: Uint8Array) => Promise<Table>;

/** Answers by the names of commands. */
const ANSWERS: Readonly<Record<string, Answer>> = {
  CommandGetSqlInfo: sqlInfo,
  CommandGetCatalogs: catalogs,
  CommandGetDbSchemas: schemas,
  CommandGetTables: tables,
  CommandGetTableTypes: tableTypes,
  CommandGetPrimaryKeys: primaryKeys,
  CommandGetExportedKeys: exportedKeys,
  CommandGetImportedKeys: importedKeys,
  CommandGetCrossReference: crossReference,
  CommandGetXdbcTypeInfo: typeInfo,
};

/** Whether a command is a metadata call. */
export function isMetadata(name: string): boolean {
  return Object.hasOwn(ANSWERS, name);
}

/**
 * Answers a metadata call.
 *
 * @param name Name of the command
 * @throws {DipcError} `not_found` for a number of SqlInfo that nobody has; what the engine throws
 */
export function metadata(parts: MetadataParts, name: string, command: Uint8Array): Promise<Table> {
  return fromEngine(() => ANSWERS[name](parts, command));
}

function sqlInfo({ info }: MetadataParts, command: Uint8Array): Promise<Table> {
  // Each once: a short request may name one millions of times.
  const requested = [...new Set(unpackMessage(sql.CommandGetSqlInfoSchema, command)?.info)];
  const unknown = requested.find((number) => !info.has(number));
  if (unknown !== undefined) throw unknownHandle(`SqlInfo ${unknown}`);
  const numbers = requested.length === 0 ? [...info.keys()].sort((one, other) => one - other) : requested;
  return Promise.resolve(infoTable(RESULT_SCHEMAS.sqlInfo, numbers.map((number) => [number, info.get(number)!])));
}

async function catalogs({ engine: { catalog } }: MetadataParts): Promise<Table> {
  const rows = (await catalog.catalogs()).map((catalog_name) => ({ catalog_name }));
  return tableOf(RESULT_SCHEMAS.catalogs, rows);
}

async function schemas({ engine: { catalog } }: MetadataParts, command: Uint8Array): Promise<Table> {
  const request = unpackMessage(sql.CommandGetDbSchemasSchema, command);
  const isWanted = like(request?.dbSchemaFilterPattern);
  const rows = (await catalog.schemas()).filter(({ catalog, schema }) =>
    isSame(request?.catalog, catalog) && isWanted(schema)
  );
  return tableOf(
    RESULT_SCHEMAS.schemas,
    rows.map(({ catalog, schema }) => ({ catalog_name: catalog, db_schema_name: schema })),
  );
}

async function tables({ engine: { catalog: source } }: MetadataParts, command: Uint8Array): Promise<Table> {
  const request = unpackMessage(sql.CommandGetTablesSchema, command);
  const [isSchema, isTable] = [like(request?.dbSchemaFilterPattern), like(request?.tableNameFilterPattern)];
  const types = new Set(request?.tableTypes ?? []);
  const found = (await source.tables()).filter(({ catalog, schema, table, type }) =>
    isSame(request?.catalog, catalog) && isSchema(schema) && isTable(table) && (types.size === 0 || types.has(type))
  );
  const rows: Record<string, unknown>[] = [];
  for (const each of found) {
    const { catalog, schema, table, type } = each;
    const row = { catalog_name: catalog, db_schema_name: schema, table_name: table, table_type: type };
    rows.push(request?.includeSchema ? { ...row, table_schema: frameMetadata(await source.schemaOf(each)) } : row);
  }
  return tableOf(request?.includeSchema ? RESULT_SCHEMAS.tablesWithSchema : RESULT_SCHEMAS.tables, rows);
}

async function tableTypes({ engine: { catalog } }: MetadataParts): Promise<Table> {
  return tableOf(RESULT_SCHEMAS.tableTypes, (await catalog.tableTypes()).map((table_type) => ({ table_type })));
}

async function primaryKeys({ engine: { catalog: source } }: MetadataParts, command: Uint8Array): Promise<Table> {
  const isWanted = tableOfRequest(unpackMessage(sql.CommandGetPrimaryKeysSchema, command));
  const rows = (await source.primaryKeys()).filter(isWanted).flatMap(({ catalog, schema, table, name, columns }) =>
    columns.map((column_name, i) => ({
      ...{ catalog_name: catalog, db_schema_name: schema, table_name: table, column_name },
      ...{ key_sequence: i + 1, key_name: name },
    }))
  );
  return tableOf(RESULT_SCHEMAS.primaryKeys, rows);
}

function exportedKeys(parts: MetadataParts, command: Uint8Array): Promise<Table> {
  const isWanted = tableOfRequest(unpackMessage(sql.CommandGetExportedKeysSchema, command));
  return references(parts, ({ target }) => isWanted(target));
}

function importedKeys(parts: MetadataParts, command: Uint8Array): Promise<Table> {
  return references(parts, tableOfRequest(unpackMessage(sql.CommandGetImportedKeysSchema, command)));
}

function crossReference(parts: MetadataParts, command: Uint8Array): Promise<Table> {
  const request = unpackMessage(sql.CommandGetCrossReferenceSchema, command);
  const isTarget = tableOfRequest(
    request && { catalog: request.pkCatalog, dbSchema: request.pkDbSchema, table: request.pkTable },
  );
  const isOwn = tableOfRequest(
    request && { catalog: request.fkCatalog, dbSchema: request.fkDbSchema, table: request.fkTable },
  );
  return references(parts, (key) => isTarget(key.target) && isOwn(key));
}

async function references(
  { engine: { catalog: source } }: MetadataParts,
  isWanted: (key: EngineForeignKey) => boolean,
): Promise<Table> {
  const rows = (await source.foreignKeys()).filter(isWanted).flatMap((key) =>
    key.columns.map((fk_column_name, i) => ({
      ...{ pk_catalog_name: key.target.catalog, pk_db_schema_name: key.target.schema, pk_table_name: key.target.table },
      ...{ pk_column_name: key.target.columns[i], pk_key_name: key.target.name },
      ...{ fk_catalog_name: key.catalog, fk_db_schema_name: key.schema, fk_table_name: key.table },
      ...{ fk_column_name, fk_key_name: key.name, key_sequence: i + 1 },
      ...{ update_rule: key.updateRule, delete_rule: key.deleteRule },
    }))
  );
  return tableOf(RESULT_SCHEMAS.references, rows);
}

function typeInfo({ engine: { facts } }: MetadataParts, command: Uint8Array): Promise<Table> {
  const wanted = unpackMessage(sql.CommandGetXdbcTypeInfoSchema, command)?.dataType;
  const rows = (facts.types ?? []).filter(({ dataType }) => wanted === undefined || dataType === wanted).map(typeRow);
  rows.sort((one, other) => (one.data_type as number) - (other.data_type as number));
  return Promise.resolve(tableOf(RESULT_SCHEMAS.xdbcTypeInfo, rows));
}

function typeRow(type: EngineTypeInfo): Record<string, unknown> {
  const { quote = null, createParams = null, isUnsigned = null, maximumScale = null, datetimeSubcode = null } = type;
  const isTime = datetimeSubcode !== null;
  return {
    ...{ type_name: type.name, data_type: type.dataType, column_size: type.columnSize ?? null },
    ...{ literal_prefix: quote, literal_suffix: quote, create_params: createParams },
    nullable: sql.Nullable.NULLABILITY_NULLABLE,
    case_sensitive: type.dataType === sql.XdbcDataType.XDBC_VARCHAR,
    searchable: sql.Searchable.FULL,
    ...{ unsigned_attribute: isUnsigned, fixed_prec_scale: false, auto_increment: false, local_type_name: type.name },
    ...{ minimum_scale: maximumScale === null ? null : 0, maximum_scale: maximumScale },
    sql_data_type: isTime ? sql.XdbcDataType.XDBC_DATETIME : type.dataType,
    ...{ datetime_subcode: datetimeSubcode, num_prec_radix: type.radix ?? null, interval_precision: null },
  };
}

/** Whether a name is the one that was requested: any if none was; none at all if that is empty. */
function isSame(requested: string | undefined, name: string | null): boolean {
  return requested === undefined || requested === (name ?? "");
}

function tableOfRequest(
  request: { catalog?: string; dbSchema?: string; table: string } | null,
): (name: EngineTableName) => boolean {
  return ({ catalog, schema, table }) =>
    request !== null && table === request.table && isSame(request.catalog, catalog) && isSame(request.dbSchema, schema);
}

/** Whether a name matches a pattern of LIKE. */
function like(pattern: string | undefined): (name: string | null) => boolean {
  if (pattern === undefined) return () => true;
  // Without expressions, whose time may grow with the pattern: a position of the pattern for each start of a "%".
  const wanted = [...pattern];
  return (name) => matches([...name ?? ""], wanted);
}

function matches(name: readonly string[], pattern: readonly string[]): boolean {
  let at = 0, k = 0, star = -1, mark = 0;
  while (at < name.length) {
    const escaped = pattern[k] === "\\" && k + 1 < pattern.length;
    const wanted = escaped ? pattern[k + 1] : pattern[k];
    if (wanted === "%" && !escaped) {
      star = k++;
      mark = at;
    } else if (k < pattern.length && (wanted === name[at] || (wanted === "_" && !escaped))) {
      at++;
      k += escaped ? 2 : 1;
    } else if (star >= 0) {
      k = star + 1;
      at = ++mark;
    } else {
      return false;
    }
  }
  while (pattern[k] === "%") k++;
  return k === pattern.length;
}
