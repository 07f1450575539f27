/**
 * A corpus that pyarrow writes at test time, every type it can write, served by one process and fetched by another.
 *
 * @module
 */
import { assertEquals, assertGreater } from "@std/assert";
import { faults, fetchAndCompare, type Served } from "../support/fetched.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { compareByPyarrow, needsPython, runPython } from "../support/python.ts";
import { seed } from "../support/random.ts";

interface Corpus {
  cases: { name: string; files: string[] }[];
  types: string[];
  pyarrow: string;
  seed: number;
}

async function writeCorpus(folder: string): Promise<Served[]> {
  const corpus = await runPython("make_corpus.py", [folder, "--seed", String(seed)]) as Corpus;
  console.log(`corpus: pyarrow ${corpus.pyarrow}, DIPC_SEED=${corpus.seed}, types: ${corpus.types.join(", ")}`);
  return corpus.cases.flatMap(({ files }) =>
    files.map((path) => ({ name: path.slice(path.lastIndexOf("/") + 1), path }))
  );
}

testNeeding([needsUcx, needsPython], "every type that pyarrow can write arrives whole", async () => {
  using folder = new TemporaryFolder();
  const files = await writeCorpus(folder.path);
  assertGreater(files.length, 70);
  const results = await fetchAndCompare("Corpus written by pyarrow, compared by pyarrow", files);
  assertEquals(faults(results), []);
});

testNeeding([needsUcx, needsPython], "metadata and bodies from two ports arrive as one stream", async () => {
  using folder = new TemporaryFolder();
  const wanted = [
    "everything.arrow",
    "nested_dictionary.arrows",
    "rendezvous.arrow",
    "many_small.arrows",
    "zero_columns.arrow",
  ];
  const files = (await writeCorpus(folder.path)).filter(({ name }) => wanted.includes(name));
  assertEquals(files.length, wanted.length);
  const results = await fetchAndCompare("Metadata and bodies apart", files, {}, ["--metadata-port", "0"]);
  assertEquals(faults(results), []);
});

testNeeding(
  [needsPython],
  "the comparison notices one changed byte, one lost batch, other types and messages",
  async () => {
    using folder = new TemporaryFolder();
    const files = await writeCorpus(folder.path);
    const path = (name: string): string => files.find((file) => file.name === name)!.path;
    const bytes = await Deno.readFile(path("rendezvous.arrows"));
    // Not in the padding: the body of the last batch ends with the values of a column without nulls.
    bytes[bytes.byteLength - 64] ^= 1;
    await Deno.writeFile(folder.file("changed"), bytes);
    await Deno.writeFile(folder.file("cut"), bytes.subarray(0, bytes.byteLength - 8 - 480_000));
    const results = await compareByPyarrow([
      { name: "same", want: path("rendezvous.arrows"), got: path("rendezvous.arrow") },
      { name: "changed", want: path("rendezvous.arrows"), got: folder.file("changed") },
      { name: "cut", want: path("rendezvous.arrows"), got: folder.file("cut") },
      { name: "other type", want: path("primitive.arrows"), got: path("temporal.arrows") },
      { name: "other messages", want: path("dictionary_deltas.arrows"), got: path("dictionary_regrown.arrows") },
    ]);
    assertEquals(results.map(({ name, equal, bytes }) => [name, equal, bytes]), [
      ["same", true, "identical"],
      ["changed", false, "other"],
      ["cut", false, "other"],
      ["other type", false, "other"],
      ["other messages", true, "other"],
    ]);
  },
);
