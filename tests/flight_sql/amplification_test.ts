/** Short requests to a server of Flight SQL that stand for very much. */
import { Field, makeData, Null, RecordBatch, Schema, Struct } from "apache-arrow";
import { assertEquals } from "@std/assert";
import { SqlInfo } from "../../flight_sql.ts";
import { packMessage } from "../../src/flight_sql/any.ts";
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
