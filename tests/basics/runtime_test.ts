/** The oldest Deno is checked, and stands in the documents. */
import { assertStringIncludes } from "@std/assert";
import { checkDeno, OLDEST_DENO } from "../../src/runtime.ts";
import { assertDipcError } from "../support/assert.ts";
import { ROOT } from "../support/paths.ts";

Deno.test("an older Deno is refused with the version that is needed, and every newer one is accepted", () => {
  for (const version of [OLDEST_DENO, "2.10.0", "2.9.6+abc", "3.0.0-rc.1"]) checkDeno(version);
  checkDeno();
  for (const version of ["2.8.3", "2.0.0", "1.46.3"]) {
    const error = assertDipcError("unsupported", `Deno ${version}`, () => checkDeno(version));
    assertStringIncludes(error.message, OLDEST_DENO);
  }
});

Deno.test("the oldest Deno stands in the README", async () => {
  assertStringIncludes(await Deno.readTextFile(`${ROOT}/README.md`), `Deno ${OLDEST_DENO}`);
});
