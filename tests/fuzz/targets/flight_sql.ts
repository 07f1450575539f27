/**
 * Fuzz targets for the messages of Flight SQL: commands and answers in their packing, and what a server says of itself.
 *
 * @module
 */
import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { packedName, packMessage, readAnswer, unpackMessage } from "../../../src/flight_sql/any.ts";
import * as sql from "../../../src/flight_sql/gen/flight_sql_pb.ts";
import { infoId, infoName, infoValue } from "../../../src/flight_sql/sql_info.ts";
import { join } from "../../support/bytes.ts";
import { check, encode, same } from "../support/checks.ts";
import type { FuzzTarget } from "../target.ts";

/** One of each kind of message, with every kind of field. */
const MESSAGES: readonly [DescMessage, MessageInitShape<DescMessage>][] = [
  [sql.CommandStatementQuerySchema, { query: "select 1", transactionId: encode("t") }],
  [sql.CommandGetTablesSchema, {
    catalog: "",
    tableNameFilterPattern: "t%",
    tableTypes: ["VIEW"],
    includeSchema: true,
  }],
  [sql.CommandGetSqlInfoSchema, { info: [0, 500, 10_000] }],
  [sql.CommandGetXdbcTypeInfoSchema, { dataType: -5 }],
  [sql.CommandStatementSubstraitPlanSchema, { plan: { plan: encode("p"), version: "0.1" } }],
  [
    sql.CommandStatementIngestSchema,
    { tableDefinitionOptions: { ifNotExist: 1, ifExists: 3 }, table: "t", temporary: true, options: { k: "v" } },
  ],
  [sql.TicketStatementQuerySchema, { statementHandle: encode("h") }],
  [sql.ActionCreatePreparedStatementResultSchema, { preparedStatementHandle: encode("h"), isUpdate: true }],
  [sql.ActionEndTransactionRequestSchema, { transactionId: encode("t"), action: 2 }],
  [sql.ActionCancelQueryResultSchema, { result: 1 }],
  [sql.DoPutUpdateResultSchema, { recordCount: -1n }],
];

const messages: FuzzTarget = {
  name: "flight-sql/messages",
  files: ["src/flight_sql/any.ts"],
  maxInputBytes: 600,
  seeds: () => MESSAGES.map(([schema, fields], i) => join(Uint8Array.of(i), packMessage(schema, fields))),
  run(input) {
    const [schema] = MESSAGES[(input[0] ?? 0) % MESSAGES.length];
    const bytes = input.subarray(1);
    const message = unpackMessage(schema, bytes);
    if (message !== null) {
      check("what is unpacked has the name of its type", packedName(bytes) === schema.name);
      const packed = packMessage(schema, message);
      same("a message", packMessage(schema, unpackMessage(schema, packed)!), packed);
    }
    readAnswer(schema, bytes, "grpc://a:1");
    return message !== null;
  },
};

const info: FuzzTarget = {
  name: "flight-sql/info",
  files: ["src/flight_sql/sql_info.ts"],
  maxInputBytes: 8,
  seeds: () =>
    [[0, 8, 2], [2, 28, 7], [2, 5, 1], [2, 7, 9]].map(([high, low, value]) => Uint8Array.of(high, low, value, 0, 0, 1)),
  run(input) {
    const view = new DataView(Uint8Array.from({ length: 8 }, (_, i) => input[i] ?? 0).buffer);
    const id = view.getUint16(0);
    const name = infoName(id);
    check("an id comes out the same", infoId(name) === id);
    for (
      const value of [view.getInt32(2), view.getBigInt64(0), { [view.getUint8(2)]: [view.getInt32(4)] }, null, "x"]
    ) {
      const found = infoValue(id, value);
      check("a value stays one", found !== undefined);
      check("a mask has 32 bits", !Array.isArray(found) || found.length <= 32);
    }
    return typeof name === "string";
  },
};

export default [messages, info];
