/**
 * The schemas of what Flight SQL's metadata calls answer with.
 *
 * @module
 */
import {
  Binary,
  Bool,
  type DataType,
  DenseUnion,
  Field,
  Int32,
  Int64,
  List,
  Map_,
  Schema,
  Struct,
  Uint32,
  Uint8,
  Utf8,
} from "apache-arrow";

const text: DataType = new Utf8();
const integer: DataType = new Int32();

/** A column that has a value in every row. */
function column(name: string, type: DataType): Field {
  return new Field(name, type, false);
}

/** A column that may have none. */
function optional(name: string, type: DataType): Field {
  return new Field(name, type, true);
}

function map(key: DataType, value: DataType): Map_ {
  return new Map_(column("entries", new Struct([column("key", key), optional("value", value)])) as never);
}

const tables: readonly Field[] = [
  optional("catalog_name", text),
  optional("db_schema_name", text),
  column("table_name", text),
  column("table_type", text),
];

const references: readonly Field[] = [
  optional("pk_catalog_name", text),
  optional("pk_db_schema_name", text),
  column("pk_table_name", text),
  column("pk_column_name", text),
  optional("fk_catalog_name", text),
  optional("fk_db_schema_name", text),
  column("fk_table_name", text),
  column("fk_column_name", text),
  column("key_sequence", integer),
  optional("fk_key_name", text),
  optional("pk_key_name", text),
  column("update_rule", new Uint8()),
  column("delete_rule", new Uint8()),
];

/** The value of an SqlInfo, which has one of six types; the type ids are the positions. No field is nullable, as in arrow-go. */
const infoValue: DataType = new DenseUnion([0, 1, 2, 3, 4, 5], [
  column("string_value", text),
  column("bool_value", new Bool()),
  column("bigint_value", new Int64()),
  column("int32_bitmask", integer),
  column("string_list", new List(optional("item", text))),
  column("int32_to_int32_list_map", map(integer, new List(optional("item", integer)))),
]);

/** The metadata calls of Flight SQL, by what their rows are about; tables with and without their schemas are two. */
export type SqlMetadataCall =
  | "sqlInfo"
  | "catalogs"
  | "schemas"
  | "tables"
  | "tablesWithSchema"
  | "tableTypes"
  | "primaryKeys"
  | "references"
  | "xdbcTypeInfo";

/** Schema of each call's rows. */
export const RESULT_SCHEMAS: Readonly<Record<SqlMetadataCall, Schema>> = {
  sqlInfo: new Schema([column("info_name", new Uint32()), column("value", infoValue)]),
  catalogs: new Schema([column("catalog_name", text)]),
  schemas: new Schema([optional("catalog_name", text), column("db_schema_name", text)]),
  tables: new Schema([...tables]),
  /** With `include_schema`: each table's own schema as an encapsulated IPC message. */
  tablesWithSchema: new Schema([...tables, column("table_schema", new Binary())]),
  tableTypes: new Schema([column("table_type", text)]),
  primaryKeys: new Schema([
    optional("catalog_name", text),
    optional("db_schema_name", text),
    column("table_name", text),
    column("column_name", text),
    column("key_sequence", integer),
    optional("key_name", text),
  ]),
  /** Of exported and imported keys, and of cross-references. */
  references: new Schema([...references]),
  xdbcTypeInfo: new Schema([
    column("type_name", text),
    column("data_type", integer),
    optional("column_size", integer),
    optional("literal_prefix", text),
    optional("literal_suffix", text),
    optional("create_params", new List(column("item", text))),
    column("nullable", integer),
    column("case_sensitive", new Bool()),
    column("searchable", integer),
    optional("unsigned_attribute", new Bool()),
    column("fixed_prec_scale", new Bool()),
    optional("auto_increment", new Bool()),
    optional("local_type_name", text),
    optional("minimum_scale", integer),
    optional("maximum_scale", integer),
    column("sql_data_type", integer),
    optional("datetime_subcode", integer),
    optional("num_prec_radix", integer),
    optional("interval_precision", integer),
  ]),
};
