/**
 * The client of Flight SQL at a server that says what a test makes it say: what is sent, and the dialects of answers.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Dictionary, Field, Int32, Schema, Table, tableFromArrays, Utf8, vectorFromArray } from "apache-arrow";
import { FlightSqlClient } from "../../flight_sql.ts";
import { describeSchema, fromTable } from "../../mod.ts";
import * as proto from "../../src/flight/gen/flight_pb.ts";
import { infoFromProto, pollToProto } from "../../src/flight/model.ts";
import { packedName, packMessage, unpackMessage } from "../../src/flight_sql/any.ts";
import * as sql from "../../src/flight_sql/gen/flight_sql_pb.ts";
import { encodeSchema } from "../../src/ipc/encode.ts";
import { frameMetadata } from "../../src/ipc/frame.ts";
import { assertDipcError } from "../support/assert.ts";
import { endpoint, type FakeCall, fakeFlight, infoBytes, resultBytes } from "../support/flight_fake.ts";

/** The command in a FlightDescriptor. */
async function commandOf(call: FakeCall): Promise<Uint8Array> {
  return fromBinary(proto.FlightDescriptorSchema, await call.request()).cmd;
}

/** An action: its type, and its argument. */
async function actionOf(call: FakeCall): Promise<proto.Action> {
  return fromBinary(proto.ActionSchema, await call.request());
}

/** The command of an upload, and the number of its messages. */
async function uploadOf(call: FakeCall): Promise<{ command: Uint8Array; messages: number }> {
  const bytes = await call.received();
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  let command = new Uint8Array(0);
  let messages = 0;
  for (let at = 0; at < bytes.byteLength; at += 5 + view.getUint32(at + 1), messages++) {
    const data = fromBinary(proto.FlightDataSchema, bytes.subarray(at + 5, at + 5 + view.getUint32(at + 1)));
    if (data.flightDescriptor !== undefined) command = data.flightDescriptor.cmd as Uint8Array<ArrayBuffer>;
  }
  return { command, messages };
}

async function answerUpload(call: FakeCall, appMetadata: Uint8Array): Promise<void> {
  await call.message(toBinary(proto.PutResultSchema, create(proto.PutResultSchema, { appMetadata })));
  call.finish();
}

async function answerAction(call: FakeCall, answer: Uint8Array | null): Promise<void> {
  if (answer !== null) await call.message(resultBytes(answer));
  call.finish();
}

const numbers = await fromTable(tableFromArrays({ n: Int32Array.of(1, 2, 3) }));

Deno.test("a query of no rows whose server sends a schema with nothing has the one of its preparation, or no columns", async () => {
  const datasetSchema = frameMetadata(encodeSchema(new Schema([new Field("late", new Int32(), true)])));
  for (const prepares of [true, false]) {
    await using server = await fakeFlight(async (call) => {
      if (call.method === "GetFlightInfo") await call.message(infoBytes([endpoint("t")]));
      if (call.method !== "DoAction") return call.finish();
      const { type } = await actionOf(call);
      if (!prepares) return call.finish(12);
      const result = packMessage(sql.ActionCreatePreparedStatementResultSchema, { datasetSchema });
      await answerAction(call, type === "CreatePreparedStatement" ? result : null);
    });
    await using client = await FlightSqlClient.connect(server.location);
    const table = await (await client.query("select late from t where false")).toTable();
    assertEquals([table.numRows, table.schema.fields.map(({ name }) => name)], [0, prepares ? ["late"] : []]);
  }
});

Deno.test("a result that was promised with a dictionary may come as text, and one without endpoints is empty", async () => {
  const promised = new Schema([new Field("s", new Dictionary(new Utf8(), new Int32()), true)]);
  const sent = await fromTable(new Table({ s: vectorFromArray(["a", null, "b"], new Utf8()) }));
  await using server = await fakeFlight(async (call) => {
    if (call.method === "DoGet") await call.data(sent);
    else {
      const command = unpackMessage(sql.CommandStatementQuerySchema, await commandOf(call))!;
      const endpoints = command.query.startsWith("select") ? [endpoint("t")] : [];
      const info = fromBinary(proto.FlightInfoSchema, infoBytes(endpoints));
      if (endpoints.length > 0) info.schema = frameMetadata(encodeSchema(promised));
      await call.message(toBinary(proto.FlightInfoSchema, info));
    }
    call.finish();
  });
  await using client = await FlightSqlClient.connect(server.location);
  const table = await (await client.query("select s from t")).toTable();
  assertEquals([...table.getChild("s")!], ["a", null, "b"]);
  const none = await (await client.query("create table t (a int)")).toTable();
  assertEquals([none.numRows, none.numCols], [0, 0]);
});

Deno.test("a long query is polled with its progress, and cancelled at the server if it is aborted", async () => {
  const infos: Uint8Array[] = [];
  let polls = 0;
  await using server = await fakeFlight(async (call) => {
    if (call.method === "DoAction") {
      const { type, body } = await actionOf(call);
      if (type !== "CancelFlightInfo") return call.finish(12);
      infos.push(fromBinary(proto.CancelFlightInfoRequestSchema, body).info!.appMetadata);
      const result = create(proto.CancelFlightInfoResultSchema, { status: proto.CancelStatus.CANCELLED });
      return await answerAction(call, toBinary(proto.CancelFlightInfoResultSchema, result));
    }
    if (call.method === "DoGet") {
      await call.data(numbers);
      return call.finish();
    }
    const command = await commandOf(call);
    const step = packedName(command) === "CommandStatementQuery" ? 0 : command[0];
    polls++;
    const info = infoFromProto(fromBinary(proto.FlightInfoSchema, infoBytes([endpoint("t")], false, numbers)));
    const answer = pollToProto({
      info: { ...info, appMetadata: new Uint8Array([42]) },
      descriptor: step < 2 ? { command: new Uint8Array([step + 1]) } : null,
      progress: step / 2,
      expirationTime: null,
    });
    await call.message(toBinary(proto.PollInfoSchema, answer));
    call.finish();
  });
  await using client = await FlightSqlClient.connect(server.location);
  const seen: (number | null)[] = [];
  const table = await (await client.query("select n", { onProgress: (progress) => seen.push(progress) })).toTable();
  assertEquals([table.numRows, seen, polls], [3, [0, 0.5, 1], 3]);

  const controller = new AbortController();
  const query = client.query("select n", { signal: controller.signal, onProgress: () => controller.abort() });
  await assertDipcError("cancelled", "", () => query);
  for (let i = 0; i < 100 && infos.length === 0; i++) await new Promise((resolve) => setTimeout(resolve, 10));
  assertEquals(infos, [new Uint8Array([42])]);
});

Deno.test("a prepared statement uses the handle that its parameters gave it, and is closed after its result", async () => {
  const handles: [string, string][] = [];
  const note = (what: string, handle: Uint8Array): void => void handles.push([what, new TextDecoder().decode(handle)]);
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  await using server = await fakeFlight(async (call) => {
    if (call.method === "DoPut") {
      const { command } = await uploadOf(call);
      note("bind", unpackMessage(sql.CommandPreparedStatementQuerySchema, command)!.preparedStatementHandle);
      const result = create(sql.DoPutPreparedStatementResultSchema, { preparedStatementHandle: bytes("second") });
      return await answerUpload(call, toBinary(sql.DoPutPreparedStatementResultSchema, result));
    }
    if (call.method === "DoAction") {
      const { type, body } = await actionOf(call);
      if (type === "CreatePreparedStatement") {
        const result = { preparedStatementHandle: bytes("first"), isUpdate: false };
        return await answerAction(call, packMessage(sql.ActionCreatePreparedStatementResultSchema, result));
      }
      note("close", unpackMessage(sql.ActionClosePreparedStatementRequestSchema, body)!.preparedStatementHandle);
      return await answerAction(call, null);
    }
    if (call.method === "DoGet") {
      note("get", bytes(await call.ticket()));
      await call.data(numbers);
      return call.finish();
    }
    note(
      "info",
      unpackMessage(sql.CommandPreparedStatementQuerySchema, await commandOf(call))!.preparedStatementHandle,
    );
    await call.message(infoBytes([endpoint("ticket")], false, numbers));
    call.finish();
  });
  await using client = await FlightSqlClient.connect(server.location);
  const table = await (await client.query("select n where n > ?", { parameters: [0] })).toTable();
  assertEquals(table.numRows, 3);
  assertEquals(handles, [["bind", "first"], ["info", "second"], ["get", "ticket"], ["close", "second"]]);
});

Deno.test("ingest sends what it was given in every mode, and counts what the server says", async () => {
  const { TableNotExistOption: Missing, TableExistsOption: Present } = {
    TableNotExistOption: sql.CommandStatementIngest_TableDefinitionOptions_TableNotExistOption,
    TableExistsOption: sql.CommandStatementIngest_TableDefinitionOptions_TableExistsOption,
  };
  const modes = {
    create: [Missing.CREATE, Present.FAIL],
    append: [Missing.FAIL, Present.APPEND],
    replace: [Missing.CREATE, Present.REPLACE],
    create_append: [Missing.CREATE, Present.APPEND],
  } as const;
  let count = 3n;
  const seen: (sql.CommandStatementIngest | number)[] = [];
  await using server = await fakeFlight(async (call) => {
    const { command, messages } = await uploadOf(call);
    seen.push(unpackMessage(sql.CommandStatementIngestSchema, command)!, messages);
    const result = create(sql.DoPutUpdateResultSchema, { recordCount: count });
    await answerUpload(call, toBinary(sql.DoPutUpdateResultSchema, result));
  });
  await using client = await FlightSqlClient.connect(server.location);
  for (const [mode, [ifNotExist, ifExists]] of Object.entries(modes)) {
    seen.length = 0;
    const place = { catalog: "c", dbSchema: "s", temporary: true, options: { k: "v" } };
    const rows = await client.transaction(new Uint8Array([9])).ingest("t", numbers, {
      ...place,
      mode: mode as keyof typeof modes,
    });
    const [command, messages] = seen as [sql.CommandStatementIngest, number];
    assertEquals([rows, messages], [3, 2]);
    assertEquals([command.table, command.catalog, command.schema, command.temporary], ["t", "c", "s", true]);
    assertEquals([command.options, command.transactionId], [{ k: "v" }, new Uint8Array([9])]);
    const { tableDefinitionOptions: { ifNotExist: missing, ifExists: present } = {} } = command;
    assertEquals([missing, present], [ifNotExist, ifExists]);
  }
  count = -1n;
  assertEquals(await client.ingest("t", numbers), null);
  const wrong = () => client.ingest("t", numbers, { mode: "upsert" as "create" });
  await assertDipcError("invalid_argument", '"create", "append", "replace" or "create_append"', wrong);
});

Deno.test("parameters have the types that the server names, or those of their values", async () => {
  const parameterSchema = frameMetadata(encodeSchema(
    new Schema([new Field("a", new Int32(), true), new Field("b", new Utf8(), true)]),
  ));
  const schemas: string[] = [];
  await using server = await fakeFlight(async (call) => {
    if (call.method === "DoAction") {
      const { type, body } = await actionOf(call);
      if (type !== "CreatePreparedStatement") return await answerAction(call, null);
      const { query } = unpackMessage(sql.ActionCreatePreparedStatementRequestSchema, body)!;
      const result = query === "typed" ? { parameterSchema } : {};
      return await answerAction(call, packMessage(sql.ActionCreatePreparedStatementResultSchema, result));
    }
    const bytes = await call.received();
    const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
    const { dataHeader } = fromBinary(proto.FlightDataSchema, bytes.subarray(5, 5 + length));
    const framed = new Uint8Array(8 + dataHeader.byteLength);
    new DataView(framed.buffer).setUint32(0, 0xffffffff, true);
    new DataView(framed.buffer).setUint32(4, dataHeader.byteLength, true);
    framed.set(dataHeader, 8);
    const { readEncapsulatedSchema } = await import("../../src/flight/schema_bytes.ts");
    const fields = describeSchema(readEncapsulatedSchema(framed));
    schemas.push(fields.map(({ name, type }) => `${name}: ${type}`).join(", "));
    const result = create(sql.DoPutUpdateResultSchema, { recordCount: 1n });
    await answerUpload(call, toBinary(sql.DoPutUpdateResultSchema, result));
  });
  await using client = await FlightSqlClient.connect(server.location);
  const day = new Date(0);
  assertEquals(await client.update("typed", { parameters: [7, "x"] }), 1);
  // What does not fit is sent as it is: the server may convert it.
  await client.update("typed", { parameters: [2 ** 40, null] });
  await client.update("untyped", { parameters: [1, 2n, 0.5, "x", true, null, new Uint8Array(1), day] });
  assertEquals(schemas, [
    "a: int32, b: string",
    "a: int64, b: string",
    "$1: int64, $2: int64, $3: double, $4: string, $5: bool, $6: null, $7: binary, $8: timestamp[ms]",
  ]);
  const few = () => client.update("typed", { parameters: [1] });
  await assertDipcError("invalid_argument", "it has 2 parameters, but 1 values are given", few);
  const strange = () => client.update("untyped", { parameters: [{} as string] });
  await assertDipcError("invalid_argument", "parameter 1", strange);
});

Deno.test("credentials work at servers with a handshake and without, and unknown options are refused", async () => {
  for (const hasHandshake of [true, false]) {
    const seen: (string | undefined)[] = [];
    await using server = await fakeFlight(async (call) => {
      if (call.method === "Handshake") {
        if (!hasHandshake) return call.finish(12);
        call.respond({ authorization: "Bearer token" });
        return call.finish();
      }
      seen.push(call.headers.authorization);
      await call.message(infoBytes([], false, numbers));
      call.finish();
    });
    await using client = await FlightSqlClient.connect(server.location, { user: "ann", password: "secret" });
    await client.query("select 1");
    assertEquals(seen, [hasHandshake ? "Bearer token" : `Basic ${btoa("ann:secret")}`]);
  }
  for (const options of [{ path: "x" }, { ticket: "x" }, { flight: {} }, { tokens: "x" }]) {
    const connecting = () => FlightSqlClient.connect("grpc://127.0.0.1:9", options as unknown as Record<string, never>);
    await assertDipcError("invalid_argument", Object.keys(options)[0], connecting);
  }
});

Deno.test("what the server says of itself is decoded to names", async () => {
  const { infoId, infoName, infoValue } = await import("../../src/flight_sql/sql_info.ts");
  assertEquals([infoName(0), infoName(10_001)], ["FLIGHT_SQL_SERVER_NAME", 10_001]);
  assertEquals([infoId("SQL_DDL_TABLE"), infoId(12), infoId("nothing"), infoId(-1)], [502, 12, undefined, undefined]);
  assertEquals(infoValue(8, 2), "SQL_SUPPORTED_TRANSACTION_SAVEPOINT");
  assertEquals(infoValue(8, 99), 99);
  assertEquals(infoValue(540, 0b111), ["SQL_UNION", "SQL_UNION_ALL", 2]);
  assertEquals(infoValue(517, { 0: [1, 2] }), { SQL_CONVERT_BIGINT: ["SQL_CONVERT_BINARY", "SQL_CONVERT_BIT"] });
  assertEquals(infoValue(508, ["a"]), ["a"]);
  await using server = await fakeFlight((call) => call.finish(12));
  await using client = await FlightSqlClient.connect(server.location);
  await assertDipcError("invalid_argument", '"FLIGHT_SQL_NAME"', () => client.info(["FLIGHT_SQL_NAME"]));
  assert(server.calls.length === 0);
});
