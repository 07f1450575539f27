/** CSV and NDJSON of random tables of every type, compared with a simple reference cell by cell. */
import { assertEquals } from "@std/assert";
import {
  type Data,
  type DataType,
  DateDay,
  DateMillisecond,
  Decimal,
  Dictionary,
  Duration,
  Field,
  Float32,
  Float64,
  Int32,
  LargeUtf8,
  List,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  Table,
  Time,
  Timestamp,
  TimeUnit,
  Type,
  Utf8,
  type Vector,
} from "apache-arrow";
import { CsvWriter } from "../../src/formats/csv_writer.ts";
import { NdjsonWriter } from "../../src/formats/ndjson_writer.ts";
import { MemorySink } from "../../src/formats/sink.ts";
import { isUtf8 } from "../../src/formats/text/characters.ts";
import { BatchDecoder } from "../../src/ipc/decode.ts";
import { fromTable } from "../../src/sources/table.ts";
import { cellText, unique } from "../support/cell_text.ts";
import { writeAll } from "../support/datasets.ts";
import { allTypes, randomColumn } from "../support/ipc_columns.ts";
import { type Random, seededRandom } from "../support/random.ts";

const UNITS = [TimeUnit.SECOND, TimeUnit.MILLISECOND, TimeUnit.MICROSECOND, TimeUnit.NANOSECOND];
const TYPES: readonly DataType[] = [
  ...allTypes(),
  ...[new Float32(), new Float32(), new Float32(), new Float64(), new Float64(), new Float64()],
  ...[new Utf8(), new LargeUtf8(), new DateDay(), new DateMillisecond()],
  ...UNITS.flatMap((unit) => [new Duration(unit), new Timestamp(unit, null), new Timestamp(unit, "UTC")]),
  ...[new Time(TimeUnit.SECOND, 32), new Time(TimeUnit.MICROSECOND, 64)],
  ...[[0, 5, 32], [9, 18, 64], [3, 15, 64], [15, 15, 128], [10, 38, 128], [-4, 12, 128], [30, 76, 256], [291, 9, 64], [
    290,
    9,
    64,
  ], [-2000, 9, 32]].map((
    [scale, precision, bits],
  ) => new Decimal(scale, precision, bits)),
  new List(new Field("item", new Dictionary(new Utf8(), new Int32()), true)),
  new Struct([new Field("k", new Int32(), true), new Field("k", new Utf8(), true), new Field("k_1", new Utf8(), true)]),
];

const ALPHABETS = ["abc", ' ,"\n', "\\\u0000\u001f\u007f\b\f\n\r\t/", "#';|\t\r", "ünï你🎈", " x"].map((text) =>
  new TextEncoder().encode(text)
);
const INTEGERS = [0n, 1n, -1n, 9n, 10n, 99n, 100n, 999n, 1000n, 999_999n, 1_000_000n, 999_999_999n, 1_000_000_000n];
const LIMITS = [31n, 32n, 53n, 60n, 62n].flatMap((
  bits,
) => [2n ** bits, 2n ** bits - 1n, -(2n ** bits), 1n - 2n ** bits]);
/** Nanoseconds of 2001 to 2033, of the first and last day of years with four digits, and the whole range of the format. */
const MOMENTS = [10n ** 18n, -62_167_219_200n, 253_402_300_799n, 2n ** 63n - 1n, -(2n ** 63n)];

function integer(random: Random): bigint {
  const near = random.pick([random.pick(INTEGERS), random.pick(LIMITS), random.pick(MOMENTS), 0n]);
  const unit = random.pick([1n, 1n, 1000n, 1_000_000n, 1_000_000_000n, 86_400_000n]);
  return BigInt.asIntN(64, near * (random.chance(0.3) ? unit : 1n) + BigInt(random.between(-5, 5)));
}

function float(random: Random): number {
  const digits = random.below(9);
  const near = [0, -0, NaN, Infinity, -Infinity, 1e16, 9007199254740992, 1e21, 1e-6, 1e-7, 5e-324, 123456792, 0.1];
  if (random.chance(0.2)) return random.pick(near);
  const whole = Math.round((random.fraction() - 0.5) * 10 ** digits * 20);
  return random.chance(0.3) ? whole * random.fraction() / 10 ** random.below(9) : whole / 10 ** random.below(9);
}

/** Puts values that matter into about half of the leaves, in place. */
function spice(data: Data, random: Random): void {
  for (const child of data.children) spice(child, random);
  for (const chunk of (data.dictionary as Vector | undefined)?.data ?? []) spice(chunk, random);
  if (random.chance(0.4)) return;
  const { typeId } = data;
  const bytes = (data.variadicBuffers[0] ?? data.values) as Uint8Array | undefined;
  switch (typeId) {
    case Type.Utf8:
    case Type.LargeUtf8:
    case Type.Utf8View: {
      const alphabet = random.pick(ALPHABETS);
      for (let i = 0; i < bytes!.length; i++) bytes![i] = random.pick([...alphabet]);
      break;
    }
    case Type.Float:
      if (!(data.values instanceof Uint16Array)) data.values.set(Array.from(data.values, () => float(random)));
      break;
    case Type.Int:
    case Type.Date:
    case Type.Time:
    case Type.Timestamp:
    case Type.Duration: {
      const values = data.values as BigInt64Array | Int32Array;
      const isLong = values instanceof BigInt64Array || values instanceof BigUint64Array;
      for (let i = 0; i < values.length; i++) values[i] = (isLong ? integer(random) : Number(integer(random))) as never;
      break;
    }
    case Type.Decimal: {
      const { buffer } = data.values as Uint32Array<ArrayBuffer>;
      const count = (data.type as Decimal).bitWidth / 32;
      const words = new Int32Array(buffer);
      for (let at = 0; at + count <= words.length; at += count) {
        const value = integer(random);
        for (let i = 0; i < count; i++) words[at + i] = Number(BigInt.asIntN(32, value >> BigInt(32 * i)));
      }
      break;
    }
  }
}

function randomTable(random: Random): Table {
  const columns = random.between(1, 5), batches = random.between(1, 3);
  const names = Array.from({ length: columns }, (_, i) => random.pick([`c${i}`, "same", "", 'a "b"', " x", "ü,"]));
  const fields = names.map((name) => new Field(name, random.pick(TYPES), true));
  // In a batch, one dictionary cannot have two sets of values.
  const encoded = fields.filter(({ type }) => /Dictionary/.test(`${type}`));
  if (encoded.length > 1) return randomTable(random);
  const schema = new Schema(fields);
  const made = Array.from({ length: batches }, () => {
    const length = random.below(40);
    const children = fields.map(({ type }) => randomColumn(type, length, random));
    children.forEach((child) => spice(child, random));
    return new RecordBatch(schema, makeData({ type: new Struct(fields), length, nullCount: 0, children }));
  });
  // The constructor of tables finds that schemas with one name twice differ from themselves.
  return Object.assign(Object.create(Table.prototype), { schema, batches: made });
}

function csvField(text: string | null, isAlone: boolean): string {
  if (text === null) return isAlone ? '""' : "";
  return text === "" || /[,"\n\r;|\t]|^[ #']/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** What both files must be. */
function expected(schema: Schema, batches: readonly RecordBatch[]): { csv: string; ndjson: string } {
  const names = schema.fields.map(({ name }) => name), keys = unique(names);
  const isAlone = names.length === 1;
  let csv = names.map((name) => csvField(name, isAlone)).join(",") + "\n", ndjson = "";
  for (const batch of batches) {
    const cells = batch.data.children.map((child) => cellText(child));
    for (let row = 0; row < batch.numRows; row++) {
      csv += cells.map((cell) => csvField(cell.text(row), isAlone)).join(",") + "\n";
      ndjson += `{${cells.map((cell, i) => `${JSON.stringify(keys[i])}:${cell.json(row)}`).join(",")}}\n`;
    }
  }
  return { csv, ndjson };
}

Deno.test("CSV and NDJSON of random tables are what a simple reference writes", async () => {
  const random = seededRandom();
  const seen = new Set<string>();
  for (let round = 0; round < 150; round++) {
    const table = randomTable(random);
    table.schema.fields.forEach(({ type }) => seen.add(String(type)));
    const dataset = await fromTable(table);
    const decoder = new BatchDecoder(dataset.schema);
    const run = await dataset.open();
    const batches: RecordBatch[] = [];
    for (let message; (message = await run.next()) !== null;) {
      const batch = decoder.decode(message);
      if (batch !== null) batches.push(batch);
    }
    const texts = expected(decoder.schema, batches);
    for (const [Writer, text] of [[CsvWriter, texts.csv], [NdjsonWriter, texts.ndjson]] as const) {
      const sink = new MemorySink();
      await writeAll(dataset, new Writer(dataset.schema, sink));
      assertEquals(new TextDecoder("utf-8", { ignoreBOM: true }).decode(sink.bytes()), text, `${decoder.schema}`);
    }
    await run.close();
    await dataset.close();
  }
  console.log(`${seen.size} types`);
});

Deno.test("bytes are UTF-8 exactly if the engine's decoder takes them", () => {
  const random = seededRandom(1);
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const marks = [0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xef];
  for (let round = 0; round < 20_000; round++) {
    const bytes = Uint8Array.from(
      { length: random.between(1, 5) },
      () => random.pick([...marks, 0xf0, 0xf3, 0xf4, 0xf5, 0xff]),
    );
    let isGood = true;
    try {
      decoder.decode(bytes);
    } catch {
      isGood = false;
    }
    assertEquals(isUtf8(bytes, 0, bytes.length), isGood, bytes.toHex());
  }
});
