/** Arrow's gold files as record batches, compared value by value with the JSON that comes with them. */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { BatchDecoder, type OwnedRecordBatch } from "../../src/ipc/decode.ts";
import { BatchEncoder } from "../../src/ipc/encode.ts";
import type { IpcMessage, MessageHeader } from "../../src/ipc/message.ts";
import { rubbishPool, streamMessages } from "../support/ipc_messages.ts";
import { jsonColumn, type JsonTable, plainColumns } from "../support/ipc_values.ts";

const root = Deno.env.get("DIPC_GOLD") ?? new URL("../../../shared/data/arrow-gold", import.meta.url).pathname;

function goldCases(): string[] {
  try {
    return [...Deno.readDirSync(root)].filter((entry) => entry.isDirectory).flatMap(({ name }) =>
      [...Deno.readDirSync(`${root}/${name}`)].filter((file) => file.name.endsWith(".stream"))
        .map((file) => `${name}/${file.name.slice(0, -".stream".length)}`)
    ).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

async function readJson(path: string): Promise<JsonTable> {
  const file = await Deno.open(path);
  const text = await new Response(file.readable.pipeThrough(new DecompressionStream("gzip"))).text();
  // Integers beyond 2⁵³ are strings already in these files.
  return JSON.parse(text);
}

/** Decodes all messages; batches are kept to the end, as a table would. */
async function decodeAll(schema: MessageHeader, messages: readonly IpcMessage[]): Promise<OwnedRecordBatch[]> {
  const decoder = new BatchDecoder(schema);
  const batches: OwnedRecordBatch[] = [];
  for (const message of messages) {
    await decoder.prepare(message.header);
    const batch = decoder.decode(message);
    if (batch !== null) batches.push(batch);
  }
  return batches;
}

const cases = goldCases();
if (cases.length === 0) console.log(`SKIPPED: no gold files in ${root}; set DIPC_GOLD`);

for (const name of cases) {
  Deno.test(`gold ${name}: values equal the JSON, also after encoding them again`, async () => {
    const messages = streamMessages(await Deno.readFile(`${root}/${name}.stream`));
    const expected = await readJson(`${root}/${name}.json.gz`);
    const batches = await decodeAll(messages[0].header, messages.slice(1));
    assertEquals(batches.length, expected.batches.length);
    const columns = expected.batches.map((batch) =>
      expected.schema.fields.map((field, i) => jsonColumn(field, batch.columns[i], expected))
    );
    batches.forEach((batch, i) => {
      assertEquals(batch.numRows, expected.batches[i].count);
      assertEquals(plainColumns(batch), columns[i]);
    });

    const schema = new BatchDecoder(messages[0].header).schema;
    const encoder = new BatchEncoder(schema, rubbishPool());
    const again = await decodeAll(encoder.schemaHeader, batches.flatMap((batch) => encoder.encode(batch)));
    again.forEach((batch, i) => assertEquals(plainColumns(batch), columns[i]));

    // Slices at odd offsets, each encoded by itself.
    for (const [i, batch] of batches.entries()) {
      const rows = batch.numRows;
      if (rows < 4) continue;
      const slices = [batch.slice(1, rows - 1), batch.slice(rows >> 1, rows), batch.slice(3, 3)];
      const encoder = new BatchEncoder(schema, rubbishPool());
      const decoded = await decodeAll(encoder.schemaHeader, slices.flatMap((slice) => encoder.encode(slice)));
      const bounds = [[1, rows - 1], [rows >> 1, rows], [3, 3]];
      decoded.forEach((slice, k) =>
        assertEquals(plainColumns(slice), columns[i].map((column) => column.slice(...bounds[k])))
      );
    }
    for (const batch of batches) batch[Symbol.dispose]();
  });
}

Deno.test({
  name: "gold files: there are 27 cases or more",
  ignore: cases.length === 0,
  fn() {
    assertGreater(cases.length, 26);
    assert(
      cases.some((name) => name.includes("zstd")) && cases.some((name) => name.includes("shared_dict")),
      cases.join(),
    );
  },
});
