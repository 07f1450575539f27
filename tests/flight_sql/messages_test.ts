/**
 * The messages of Flight SQL, against bytes that arrow-go 18.8.0 wrote.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { DipcError } from "../../src/errors.ts";
import { packedName, packMessage, readAnswer, unpackMessage } from "../../src/flight_sql/any.ts";
import * as sql from "../../src/flight_sql/gen/flight_sql_pb.ts";
import { RESULT_SCHEMAS } from "../../src/flight_sql/result_schemas.ts";

const TYPE_URL = "type.googleapis.com/arrow.flight.protocol.sql.";

/** The bytes of an Any: its type as text, its value in hexadecimal digits. */
function any(name: string, value: string): Uint8Array {
  const url = new TextEncoder().encode(TYPE_URL + name);
  const body = Uint8Array.fromHex(value);
  return new Uint8Array([0x0a, url.length, ...url, 0x12, body.length, ...body]);
}

Deno.test("messages are packed as arrow-go packs them", () => {
  const pairs: [Uint8Array, Uint8Array][] = [
    [
      packMessage(sql.CommandGetTablesSchema, {
        catalog: "",
        tableNameFilterPattern: "t%",
        tableTypes: ["VIEW"],
        includeSchema: true,
      }),
      any("CommandGetTables", "0a001a0274252204564945572801"),
    ],
    [packMessage(sql.CommandGetSqlInfoSchema, { info: [0, 500] }), any("CommandGetSqlInfo", "0a0300f403")],
    [
      packMessage(sql.CommandGetCrossReferenceSchema, { pkTable: "a", fkCatalog: "c", fkTable: "b" }),
      any("CommandGetCrossReference", "1a0161220163320162"),
    ],
    [
      packMessage(sql.ActionEndTransactionRequestSchema, {
        transactionId: new Uint8Array([7]),
        action: sql.ActionEndTransactionRequest_EndTransaction.ROLLBACK,
      }),
      any("ActionEndTransactionRequest", "0a01071002"),
    ],
    [
      packMessage(sql.CommandStatementIngestSchema, {
        tableDefinitionOptions: { ifNotExist: 1, ifExists: 3 },
        table: "t",
        temporary: true,
        options: { k: "v" },
      }),
      any("CommandStatementIngest", "0a04080110031201742801c23e060a016b120176"),
    ],
  ];
  for (const [ours, theirs] of pairs) {
    assertEquals(ours, theirs);
    assertEquals(TYPE_URL + packedName(theirs), new TextDecoder().decode(theirs.subarray(2, 2 + theirs[1])));
  }
});

Deno.test("what is not a message of Flight SQL has no name and is not unpacked", () => {
  const query = packMessage(sql.CommandStatementQuerySchema, { query: "select 1" });
  assertEquals(packedName(query), "CommandStatementQuery");
  assertEquals(unpackMessage(sql.CommandStatementQuerySchema, query)?.query, "select 1");
  assertEquals(unpackMessage(sql.CommandGetTablesSchema, query), null);
  const others = ["select 1", "", "\n\xff\xff\xff\xff\xff", "\n\x0bexample.org"].map((text) =>
    Uint8Array.from(text, (character) => character.charCodeAt(0))
  );
  // A known name, and a value that is cut.
  const cut = any("CommandStatementQuery", "0aff");
  for (const bytes of [...others, cut]) assertEquals(unpackMessage(sql.CommandStatementQuerySchema, bytes), null);
  assertEquals(others.map(packedName), others.map(() => null));
});

Deno.test("an answer that is malformed names the server and the type", () => {
  assertEquals(readAnswer(sql.DoPutUpdateResultSchema, new Uint8Array([8, 3]), "grpc://a:1").recordCount, 3n);
  const error = assertThrows(
    () => readAnswer(sql.DoPutUpdateResultSchema, new Uint8Array([8]), "grpc://a:1"),
    DipcError,
    "cannot decode an answer of grpc://a:1: it is not a DoPutUpdateResult",
  );
  assertEquals((error as DipcError).code, "protocol");
});

Deno.test("the schemas of metadata have the columns that Flight SQL names", () => {
  assertEquals(RESULT_SCHEMAS.references.fields.length, 13);
  assertEquals(RESULT_SCHEMAS.xdbcTypeInfo.fields.length, 19);
  assertEquals(String(RESULT_SCHEMAS.tablesWithSchema.fields[4]), "table_schema: Binary");
});
