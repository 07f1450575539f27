/**
 * Large data with less of it than `deno task soak` takes: whole by checksum, and memory that stays flat.
 *
 * @module
 */
import { needsUcx, testNeeding } from "../support/needs.ts";
import { needsPython } from "../support/python.ts";
import { largeFile, slowReader, truncatedFile, wideTableArrives } from "../support/soak.ts";

const MIB = 2 ** 20;

testNeeding([needsUcx, needsPython], "a large Arrow file arrives whole, by checksum of each buffer", async () => {
  await largeFile("arrow", 256 * MIB);
});

testNeeding([needsUcx, needsPython], "a large Parquet file arrives whole, by checksum of each buffer", async () => {
  await largeFile("parquet", 128 * MIB);
});

testNeeding([needsUcx], "a table of 100 columns arrives whole from memory, by checksum of each buffer", async () => {
  await wideTableArrives(100, 200_000);
});

testNeeding([needsUcx], "a slow reader that disposes keeps both sides' memory flat", async () => {
  await slowReader(2048 * MIB, "using");
});

testNeeding([needsUcx], "a slow reader that never disposes keeps both sides' memory flat", async () => {
  await slowReader(2048 * MIB, "drop");
});

testNeeding([needsUcx], "a column that is kept while its batch is dropped never changes", async () => {
  await slowReader(512 * MIB, "keep-column");
});

testNeeding([needsUcx, needsPython], "an Arrow file cut short while it is served fails that stream alone", async () => {
  await truncatedFile(512 * MIB);
});
