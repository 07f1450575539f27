/**
 * What misbehaving peers of Flight send: datasets, and single messages of them.
 *
 * @module
 */
import { Dictionary, Int32, Table, tableFromArrays, Utf8, vectorFromArray } from "apache-arrow";
import { type Dataset, fromTable, type IpcMessage } from "../../../mod.ts";

async function firstOf(dataset: Dataset): Promise<IpcMessage> {
  const run = await dataset.open();
  const message = await run.next();
  await run.close();
  return message!;
}

/** A dataset of dictionary values whose dictionary has a number of its own. */
async function words(dictionary: number): Promise<Dataset> {
  const type = new Dictionary(new Utf8(), new Int32(), dictionary);
  return await fromTable(new Table({ w: vectorFromArray(["a", "b"], type) }));
}

/** Three numbers in one batch. */
export const numbers: Dataset = await fromTable(tableFromArrays({ n: Int32Array.of(1, 2, 3) }));
export const numbersBatch: IpcMessage = await firstOf(numbers);

/** One batch of 1 MiB. */
export const big: Dataset = await fromTable(tableFromArrays({ n: new Float64Array(2 ** 17) }));
export const bigBatch: IpcMessage = await firstOf(big);

/** A dictionary, and a dataset whose schema has another one. */
export const wordsDictionary: IpcMessage = await firstOf(await words(77));
export const otherWords: Dataset = await words(78);
