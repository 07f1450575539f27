/**
 * Arrow's gold files, what they hold, and what has arrived of them in the memory of a GPU.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { RecordBatch } from "apache-arrow";
import { connectCuda } from "../../../cuda.ts";
import { openPath } from "../../../mod.ts";
import { BatchDecoder } from "../../../src/ipc/decode.ts";
import { type CopiedMessage, readMessages } from "../../support/datasets.ts";
import { type Plain, plainColumns } from "../../support/ipc_values.ts";
import { goldFolder } from "../../support/needs.ts";

/** A file of Arrow's own. */
export interface GoldFile {
  name: string;
  path: string;
}

/** The files whose names end so. */
export function goldFiles(ending: RegExp): GoldFile[] {
  const groups = [...Deno.readDirSync(goldFolder!)].filter((entry) => entry.isDirectory);
  return groups.flatMap((group) =>
    [...Deno.readDirSync(`${goldFolder}/${group.name}`)].filter(({ name }) => ending.test(name))
      .map(({ name }) => ({ name: name.replace("generated_", ""), path: `${goldFolder}/${group.name}/${name}` }))
  ).sort((a, b) => a.name < b.name ? -1 : 1);
}

/** Whether the CPU has to decompress its bodies. */
export function isCompressed({ name }: GoldFile): boolean {
  return /lz4|zstd/.test(name);
}

/** What a file holds, read without dipc's wire. */
export interface Expected {
  messages: CopiedMessage[];
  columns: Plain[][][];
}

/** Reads a file without dipc's wire. */
export async function expectedOf(path: string): Promise<Expected> {
  const dataset = await openPath(path);
  try {
    const messages = await readMessages(dataset);
    const decoder = new BatchDecoder(dataset.schema);
    const columns: Plain[][][] = [];
    const run = await dataset.open();
    for (let message; (message = await run.next()) !== null;) {
      await decoder.prepare(message.header);
      const batch = decoder.decode(message);
      if (batch !== null) columns.push(plainColumns(batch));
    }
    await run.close();
    return { messages, columns };
  } finally {
    await dataset.close();
  }
}

/** The columns of all batches of a stream into the memory of a GPU, copied to the host. */
export async function deviceColumns(uris: string | readonly string[], memory: `cuda:${number}`): Promise<Plain[][][]> {
  await using stream = await connectCuda(uris, { memory });
  const columns: Plain[][][] = [];
  for await (using batch of stream) {
    using host = await batch.toHost();
    columns.push(plainColumns(host as RecordBatch));
  }
  assertEquals(stream.stats.complete, true);
  return columns;
}
