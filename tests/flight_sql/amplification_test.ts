/** Short requests to a server of Flight SQL that stand for very much. */
import { Field, makeData, Null, RecordBatch, Schema, Struct, Table } from "apache-arrow";
import { assertEquals } from "@std/assert";
import { type FlightSqlClient, SqlInfo } from "../../flight_sql.ts";
import { fromTable } from "../../mod.ts";
import { packMessage, unpackMessage } from "../../src/flight_sql/any.ts";
import * as sql from "../../src/flight_sql/gen/flight_sql_pb.ts";
import { assertDipcError } from "../support/assert.ts";
import { peerTest } from "../support/peers.ts";
import { rowsOf, sqlServer } from "./support/sql_server.ts";

/** A batch with a column of nulls, which has no bytes. */
function nulls(length: number): RecordBatch {
  const fields = [new Field("a", new Null(), true)];
  const children = [makeData({ type: new Null(), length })];
  return new RecordBatch(new Schema(fields), makeData({ type: new Struct(fields), length, nullCount: 0, children }));
}

peerTest(["duckdb"], "rows of parameters without a byte are counted, and refused before they are made", async () => {
  await using server = await sqlServer();
  await using client = await server.client();
  for (const length of [2e6, 1e9]) {
    await assertDipcError(
      "limit_exceeded",
      "each row counted as 64",
      () => client.query("select ?", { parameters: nulls(length) }),
    );
  }
  await client.update("create table t (i integer)");
  assertEquals(await client.update("insert into t values (?)", { parameters: nulls(3) }), 3);
  assertEquals(await rowsOf(client, "select count(*) as n from t"), [{ n: 3 }]);
});

peerTest(["duckdb"], "what is requested of SqlInfo many times is answered once", async () => {
  await using server = await sqlServer();
  await using client = await server.client();
  const command = packMessage(sql.CommandGetSqlInfoSchema, {
    info: Array<number>(100_000).fill(SqlInfo.SQL_KEYWORDS),
  });
  assertEquals((await client.flight.getFlightInfo({ command })).totalRecords, 1n);
});

peerTest(
  ["duckdb"],
  "the parameters that all clients have bound are counted, until their statements are closed",
  async () => {
    await using server = await sqlServer();
    await using client = await server.client();
    await using other = await server.client();
    const million = await fromTable(new Table([nulls(1e6)]));
    const statements: Uint8Array[] = [];
    const bind = async (from: FlightSqlClient): Promise<void> => {
      const [created] = await Array.fromAsync(from.flight.doAction(
        "CreatePreparedStatement",
        packMessage(sql.ActionCreatePreparedStatementRequestSchema, { query: "select ?" }),
      ));
      const { preparedStatementHandle } = unpackMessage(sql.ActionCreatePreparedStatementResultSchema, created)!;
      statements.push(preparedStatementHandle);
      const command = packMessage(sql.CommandPreparedStatementQuerySchema, { preparedStatementHandle });
      await from.flight.put({ command }, million);
    };
    for (let i = 0; i < 8; i++) await bind(client);
    await assertDipcError("limit_exceeded", "those of all clients", () => bind(other));
    for (const preparedStatementHandle of statements.slice(0, 2)) {
      const request = packMessage(sql.ActionClosePreparedStatementRequestSchema, { preparedStatementHandle });
      await Array.fromAsync(client.flight.doAction("ClosePreparedStatement", request));
    }
    await bind(other);
    assertEquals(await rowsOf(other, "select ? as x", { parameters: [1] }), [{ x: 1 }]);
  },
);
