/** Values of parameters of every kind that are rarely sent: those of dictionaries, and at the ends of their types. */
import { assertEquals } from "@std/assert";
import {
  type DataType,
  DateDay,
  DateMillisecond,
  Dictionary,
  DurationSecond,
  Field,
  Int32,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  TimeSecond,
  TimestampMicrosecond,
  TimestampSecond,
  Utf8,
  Vector,
  vectorFromArray,
} from "apache-arrow";
import { assertDipcError } from "../support/assert.ts";
import { peerTest } from "../support/peers.ts";
import { rowsOf, sqlServer } from "./support/sql_server.ts";

/** A batch of one value. */
function one(type: DataType, data: Int32Array | BigInt64Array, dictionary?: Vector): RecordBatch {
  const fields = [new Field("a", type, true)];
  const child = makeData({ type, length: 1, nullCount: 0, data, dictionary } as never);
  return new RecordBatch(
    new Schema(fields),
    makeData({ type: new Struct(fields), length: 1, nullCount: 0, children: [child] }),
  );
}

/** A batch of a value of a dictionary. */
function nth(values: Vector, index: number): RecordBatch {
  return one(new Dictionary(values.type, new Int32(), 0), Int32Array.of(index), values);
}

/** The second one. */
const second = (values: Vector): RecordBatch => nth(values, 1);

function vectorOf(type: DataType, data: Int32Array | BigInt64Array): Vector {
  return new Vector([makeData({ type, length: data.length, nullCount: 0, data } as never)]);
}

peerTest(
  ["duckdb"],
  "parameters: times and nulls of dictionaries, days before 1970, and what is beyond its type",
  async () => {
    await using server = await sqlServer();
    await using client = await server.client();
    const sent = async (parameters: RecordBatch): Promise<unknown> => {
      return (await rowsOf(client, "select ?::varchar as x", { parameters }))[0].x;
    };
    assertEquals(await sent(second(vectorOf(new DateDay(), Int32Array.of(5, 20_000)))), "2024-10-04");
    assertEquals(
      await sent(second(vectorOf(new TimestampMicrosecond(), BigInt64Array.of(5n, 1_700_000_000_000_000n)))),
      "2023-11-14 22:13:20",
    );
    assertEquals(await sent(second(vectorFromArray(["x", "y"], new Utf8()))), "y");
    assertEquals(await sent(second(vectorFromArray(["x", null], new Utf8()))), null);
    assertEquals(await sent(one(new DateMillisecond(), BigInt64Array.of(-1n))), "1969-12-31");
    assertEquals(await sent(one(new TimeSecond(), Int32Array.of(86_399))), "23:59:59");
    const far = BigInt64Array.of(2n ** 62n);
    for (
      const parameters of [
        one(new TimestampSecond(), far),
        one(new DateMillisecond(), far),
        one(new DurationSecond(), far),
        one(new TimeSecond(), Int32Array.of(2 ** 31 - 1)),
      ]
    ) {
      await assertDipcError("invalid_argument", "beyond what DuckDB has", () => sent(parameters));
    }
    for (const index of [-1, 2, 2 ** 31 - 1, -(2 ** 31)]) {
      const parameters = nth(vectorFromArray(["x", "y"], new Utf8()), index);
      await assertDipcError("invalid_data", `row 0 has index ${index}`, () => sent(parameters));
    }
  },
);
