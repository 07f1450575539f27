/**
 * Checksums of every buffer of a dataset, read from its source or fetched from a server, as one JSON object.
 *
 *     checksum_program.ts path PATH
 *     checksum_program.ts fetch URIS_AS_JSON
 *     checksum_program.ts wide COLUMNS ROWS        a table in memory, see `wide_table.ts`
 *
 * @module
 */
import { crc32 } from "node:zlib";
import { connect, type Dataset, fromTable, type IpcMessage, openPath } from "../../mod.ts";
import { peakResidentBytes } from "./proc.ts";
import { wideTable } from "./wide_table.ts";

interface Sum {
  batches: number;
  rows: number;
  bytes: number;
  buffers: number;
  /** One number for each message: over its metadata and the checksums of its buffers. */
  messages: number[];
}

const sum: Sum = { batches: 0, rows: 0, bytes: 0, buffers: 0, messages: [] };

function add({ header, body }: IpcMessage): void {
  let total = crc32(header.bytes);
  if (body !== null) {
    const bytes = body.bytes();
    for (let i = 0; i < header.buffers.length; i += 2) {
      const [offset, length] = [header.buffers[i], header.buffers[i + 1]];
      total = crc32(bytes.subarray(offset, offset + length), total);
      sum.buffers++;
    }
    sum.bytes += bytes.byteLength;
    body.release();
  }
  if (header.kind === "batch") {
    sum.batches++;
    sum.rows += header.rows;
  }
  sum.messages.push(total);
}

async function addDataset(dataset: Dataset): Promise<void> {
  add({ header: dataset.schema, body: null });
  const stream = await dataset.open();
  for (let message; (message = await stream.next()) !== null;) add(message);
  await stream.close();
  await dataset.close();
}

const [kind, first, second] = Deno.args;
if (kind === "path") await addDataset(await openPath(first));
else if (kind === "wide") await addDataset(await fromTable(wideTable(Number(first), Number(second))));
else {
  await using reader = await connect(JSON.parse(first));
  for await (const message of reader.messages()) add(message);
}
console.log(JSON.stringify({ ...sum, peak: peakResidentBytes("self") }));
Deno.exit(0);
