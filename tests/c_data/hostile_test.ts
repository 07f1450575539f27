/**
 * Structures that contradict the specification, their schema or themselves are errors, and nothing outside them is read.
 *
 * @module
 */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { CStruct, exportSchema, importRecordBatch, importSchema } from "../../c_data.ts";
import { addressOf } from "../../ffi/libc.ts";
import { DipcError } from "../../src/errors.ts";
import type { VerifiedHeader } from "../../src/ipc/header.ts";
import { readArrays } from "../../src/c_data/array_in.ts";
import type { ImportShape } from "../../src/c_data/import_shape.ts";
import { foreignSchema } from "../../src/c_data/foreign_schema.ts";
import { C_LAYOUT } from "../../src/c_data/structs.ts";
import { assertDipcError } from "../support/assert.ts";
import { arrowCppLibrary, cppBatches, cppError, guardLibrary } from "../support/c_peers.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";
import { runPython } from "../support/python.ts";
import { seededRandom } from "../support/random.ts";
import { Victim, wordsAt } from "./support/mutations.ts";

/** Damaged arrays, and schemas, of a run; `DIPC_C_DATA_RUNS` sets another number. */
const RUNS = Number(Deno.env.get("DIPC_C_DATA_RUNS") ?? 4000);
const AT = C_LAYOUT.ArrowArray;
/** Outcomes of damaged arrays. A root without a release callback is an `invalid_argument`: it was released before. */
const EXPECTED = ["invalid_data", "read", "unsupported", "limit_exceeded", "invalid_argument"];

/** A batch with a column of every type in guarded memory, its columns one by one, and its schema. */
async function withVictims(
  peers: Parameters<typeof guardLibrary>[0] & Parameters<typeof arrowCppLibrary>[0],
  run: (victims: Victim[], schema: VerifiedHeader) => void,
): Promise<void> {
  using folder = new TemporaryFolder();
  const path = folder.file("all.arrows");
  await runPython("make_all_types.py", [path]);
  const cpp = arrowCppLibrary(peers), guard = guardLibrary(peers);
  const [batch, empty] = cppBatches(cpp, path);
  cpp.cpp_free(empty);
  using exported = new CStruct("ArrowArray");
  using schema = new CStruct("ArrowSchema");
  const array = new CStruct("ArrowArray"); // its release is taken away, so it is not to be disposed
  if (cpp.cpp_export(batch, 0, 0n, 0n, exported.address, schema.address) !== 0) throw cppError(cpp);
  cpp.cpp_free(batch);
  assertEquals(guard.guard_copy(exported.address, schema.address, array.address, 0, 0n, 0n), 0);
  const header = importSchema(schema.address) as VerifiedHeader;
  const children = wordsAt(
    BigInt.asUintN(64, wordsAt(array.address, 10)[AT.children / 8]),
    header.layout.fields.length,
  );
  run([...children].map((child, i) => new Victim(guard, header, i, BigInt.asUintN(64, child))), header);
}

/** Reads the structures one by one and in one call, which has to come to the same, whatever that is. */
function assertSameInOneCall(address: bigint, victim: Victim): void {
  const { shape } = foreignSchema(victim.header);
  const oneByOne: ImportShape = Object.create(shape, { gather: { value: { read: () => false } } });
  const outcome = (shape: ImportShape): unknown => {
    try {
      return readArrays(shape, address);
    } catch (error) {
      return (error as Error).message;
    }
  };
  assertEquals(outcome(shape), outcome(oneByOne), victim.name);
}

/** Imports and reads everything that can be read. @returns the error, if there is one */
function read(victim: Victim): DipcError | null {
  const root = new BigInt64Array(32);
  victim.copyRoot(root);
  const address = addressOf(new Uint8Array(root.buffer));
  try {
    assertSameInOneCall(address, victim);
    const batch = importRecordBatch(address, victim.header);
    void batch.columns;
    let arrow;
    try {
      arrow = batch.toRecordBatch();
    } catch (error) {
      if ((error as DipcError).code !== "unsupported") throw error;
      for (const { body } of batch.toMessages()) {
        body!.bytes();
        body!.release();
      }
      return null;
    }
    try {
      const column = arrow.getChildAt(0)!;
      for (let i = 0; i < column.length; i++) column.get(i);
      column.toArray();
    } finally {
      arrow[Symbol.dispose]();
    }
    return null;
  } catch (error) {
    assert(error instanceof DipcError, `${victim.name}: ${(error as Error).stack}`);
    return error;
  } finally {
    assertEquals(root[AT.release / 8], 0n, "the structure was not taken over");
  }
}

peerTest(
  ["compiler", "nanoarrow", "arrowCpp", "python"],
  "damaged arrays are errors, and nothing outside them is read",
  async (peers) => {
    const random = seededRandom();
    await withVictims(peers, (victims) => {
      for (const victim of victims) {
        assertEquals(read(victim), null, victim.name);
        const root = new BigInt64Array(32);
        victim.copyRoot(root);
        const { gather } = foreignSchema(victim.header).shape;
        assert(gather.read(addressOf(new Uint8Array(root.buffer))), `${victim.name} was not read in one call`);
      }
      const codes = new Map<string, number>();
      for (let i = 0; i < RUNS; i++) {
        const victim = random.pick(victims);
        const { repair, what } = victim.damage(random);
        let code;
        try {
          code = read(victim)?.code ?? "read";
        } catch (error) {
          throw new Error(`${victim.name}, ${what}`, { cause: error });
        } finally {
          repair();
        }
        codes.set(code, (codes.get(code) ?? 0) + 1);
      }
      for (const victim of victims) assertEquals(read(victim), null, victim.name);
      console.log(`${RUNS} damaged arrays:`, Object.fromEntries(codes));
      assertGreater(codes.get("invalid_data") ?? 0, RUNS / 4);
      assertEquals(
        [...codes.keys()].filter((code) => !EXPECTED.includes(code)),
        [],
      );
    });
  },
);

peerTest(
  ["compiler", "nanoarrow", "arrowCpp", "python"],
  "damaged schemas are errors, wherever their pointers lead",
  async (peers) => {
    const random = seededRandom(1);
    const guard = guardLibrary(peers);
    let errors = 0;
    await withVictims(peers, (_, header) => {
      const words = C_LAYOUT.ArrowSchema.size / 8;
      for (let i = 0; i < RUNS / 10; i++) {
        using schema = new CStruct("ArrowSchema");
        exportSchema(header, schema.address);
        const root = wordsAt(schema.address, words);
        const count = Number(root[C_LAYOUT.ArrowSchema.n_children / 8]);
        const children = wordsAt(BigInt.asUintN(64, root[C_LAYOUT.ArrowSchema.children / 8]), count);
        const struct = random.chance(0.1) ? root : wordsAt(BigInt.asUintN(64, random.pick([...children])), words);
        const at = random.below(7);
        const old = struct[at];
        struct[at] = random.pick([
          0n,
          1n,
          8n,
          -1n,
          2n ** 40n,
          2n ** 47n,
          2n ** 62n,
          old + 1n,
          old - 1n,
          1000n,
          root[5],
        ]);
        guard.guard_set_static_schema_release(schema.address);
        const release = root[C_LAYOUT.ArrowSchema.release / 8];
        try {
          importSchema(schema.address);
        } catch (error) {
          assert(error instanceof DipcError, (error as Error).stack);
          errors++;
        }
        assert(schema.isReleased && release !== 0n);
      }
    });
    console.log(`${RUNS / 10} damaged schemas: ${errors} errors`);
    assertGreater(errors, RUNS / 40);
  },
);

peerTest(["compiler", "nanoarrow", "arrowCpp", "python"], "each fault of a structure is named", async (peers) => {
  await withVictims(peers, (victims) => {
    const faults: [column: string, at: keyof typeof AT, value: bigint, text: string | RegExp][] = [
      ["int32", "length", -1n, "negative length"],
      ["int32", "length", 2n ** 63n - 1n, "negative length, or one of 2^53 or more"],
      ["int32", "length", 40n, "has 40 values, those of its parent need 41"],
      ["int32", "offset", -1n, "negative offset"],
      ["int32", "null_count", -2n, "-2 nulls"],
      ["int32", "null_count", 42n, "42 nulls in 41 values"],
      ["int32", "n_buffers", 3n, "3 buffers, expected 2"],
      ["int32", "n_children", 1n, "1 children, expected 0"],
      ["int32", "buffers", 0n, "no list"],
      ["int32", "dictionary", 8n, "has a dictionary, unlike its schema"],
      ["int32", "release", 0n, "was released or moved"],
      ["utf8_view", "n_buffers", 2n, "2 buffers, expected 3 or more"],
      ["utf8_view", "n_buffers", 2n ** 40n, "more than 1000000"],
      ["dictionary", "dictionary", 0n, "has no dictionary, unlike its schema"],
      ["struct", "n_children", 1n, "1 children, expected 2"],
      ["struct", "children", 0n, "no list of its 2 children"],
      ["runs32", "n_buffers", 1n, "1 buffers, expected 0"],
    ];
    for (const [name, field, value, text] of faults) {
      const victim = victims.find((each) => each.name === name)!;
      const struct = wordsAt(BigInt.asUintN(64, wordsAt(BigInt.asUintN(64, victim.root[AT.children / 8]), 1)[0]), 10);
      const old = struct[AT[field] / 8];
      struct[AT[field] / 8] = value;
      const error = read(victim);
      struct[AT[field] / 8] = old;
      assertDipcError(value === 2n ** 40n ? "limit_exceeded" : "invalid_data", text, () => {
        if (error !== null) throw error;
      }, `${name}.${field}`);
    }
    const [victim] = victims;
    for (
      const [field, value, text] of [["n_buffers", 2n, "expected 1 for a struct"], [
        "null_count",
        1n,
        "null rows",
      ]] as const
    ) {
      const old = victim.root[AT[field] / 8];
      victim.root[AT[field] / 8] = value;
      assert(read(victim)?.message.includes(text) || field === "null_count", text);
      victim.root[AT[field] / 8] = old;
    }
  });
});
