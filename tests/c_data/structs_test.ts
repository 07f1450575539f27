/**
 * The structures of Arrow's C interfaces: their layouts, moves and releases, and the machine code of their callbacks.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { CStruct, exportSchema, importSchema } from "../../c_data.ts";
import { MACHINE_CODE, SOURCE_HASH } from "../../src/c_data/machine_code.ts";
import { C_LAYOUT, moveStruct, releaseStruct } from "../../src/c_data/structs.ts";
import { Int32, Schema } from "apache-arrow";
import { Field } from "apache-arrow";
import { assertDipcError } from "../support/assert.ts";
import { ROOT } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";
import { sourceHash } from "../../tools/machine_code.ts";

peerTest(
  ["compiler", "arrowCpp"],
  "the structures have the layout that the compiler gives them with Arrow's header",
  async ({ compiler, arrowCpp }) => {
    const program = await Deno.makeTempFile();
    try {
      const include = `-I${arrowCpp.folder}/include/arrow/c`;
      const args = ["-Wall", "-Werror", include, "-o", program, `${ROOT}/native/c_data/layout.c`];
      const compiled = await new Deno.Command(compiler, { args }).output();
      assert(compiled.success, new TextDecoder().decode(compiled.stderr));
      const printed = await new Deno.Command(program).output();
      assertEquals(JSON.parse(new TextDecoder().decode(printed.stdout)), C_LAYOUT as unknown);
    } finally {
      await Deno.remove(program);
    }
  },
);

Deno.test("the machine code is that of the C file, for both processors", async () => {
  assertEquals(await sourceHash("c_data/code.c"), SOURCE_HASH, "run tools/machine_code.ts");
  const [first, second] = Object.values(MACHINE_CODE).map(({ functions }) => Object.keys(functions).sort());
  assertEquals(first, second);
});

Deno.test("a structure that was moved is released at its new place alone, and once", () => {
  using source = new CStruct("ArrowSchema");
  using target = new CStruct("ArrowSchema");
  assert(source.isReleased);
  assertDipcError(
    "invalid_argument",
    "released or moved",
    () => moveStruct("ArrowSchema", source.address, target.address),
  );
  assertDipcError("invalid_argument", "address is 0", () => moveStruct("ArrowSchema", 0n, target.address));
  exportSchema(new Schema([new Field("a", new Int32())]), source.address);
  moveStruct("ArrowSchema", source.address, target.address);
  assertEquals([source.isReleased, target.isReleased], [true, false]);
  releaseStruct("ArrowSchema", source.address); // does nothing
  assertEquals(target.isReleased, false);
  releaseStruct("ArrowSchema", target.address);
  assertEquals(target.isReleased, true);
  assertDipcError("invalid_argument", "released or moved", () => importSchema(target.address));
});
