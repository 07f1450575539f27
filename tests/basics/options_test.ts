import { assertEquals, assertThrows } from "@std/assert";
import { DipcError } from "../../src/errors.ts";
import { choiceRefusal, integerIn, integerRefusal, isIntegerIn, oneOf, refusal } from "../../src/options.ts";

function refused(check: () => unknown, message: string): void {
  const error = assertThrows(check, DipcError) as DipcError;
  assertEquals([error.code, error.message], ["invalid_argument", message]);
}

Deno.test("integers: both ends of the range are in it", () => {
  assertEquals([integerIn("n", 1, 1, 3), integerIn("n", 3, 1, 3)], [1, 3]);
  assertEquals(integerIn("n", Number.MAX_SAFE_INTEGER, 0), Number.MAX_SAFE_INTEGER);
  assertEquals([isIntegerIn(0, 0), isIntegerIn(-1, 0), isIntegerIn(4, 1, 3)], [true, false, false]);
});

Deno.test("integers: whatever else is given is refused in one sentence", () => {
  for (const value of [0, 4, 1.5, NaN, Infinity, -Infinity, null, undefined, 2n, true]) {
    refused(
      () => integerIn("limits.n", value, 1, 3),
      `cannot use limits.n: it is ${value}; give an integer from 1 to 3`,
    );
  }
  refused(() => integerIn("n", "2", 1, 3), 'cannot use n: it is "2"; give an integer from 1 to 3');
  refused(() => integerIn("n", 2 ** 53, 1), "cannot use n: it is 9007199254740992; give an integer from 1 to 2^53 - 1");
  refused(
    () => integerIn("n", Object.create(null), 1, 3),
    "cannot use n: it is object; give an integer from 1 to 3",
  );
});

Deno.test("bigints have a range too", () => {
  assertEquals(
    integerRefusal("want_data", -1n, 0n, 2n ** 64n - 1n),
    "cannot use want_data: it is -1; give a bigint from 0 to 2^64 - 1",
  );
});

Deno.test("words: one of the list, or a sentence that names them all", () => {
  assertEquals(oneOf("route", "ucx", ["auto", "ucx", "flight"]), "ucx");
  refused(
    () => oneOf("route", "rail", ["auto", "ucx", "flight"]),
    'cannot use route: it is "rail"; give "auto", "ucx" or "flight"',
  );
  refused(() => oneOf("on", true, ["yes", "no"]), 'cannot use on: it is true; give "yes" or "no"');
  assertEquals(choiceRefusal("--route", "", ["a", "b"]), 'cannot use --route: it is ""; give "a" or "b"');
});

Deno.test("text that was given cannot steer a terminal", () => {
  assertEquals(refusal("--port", "\x1b[2J", "a number"), 'cannot use --port: it is "\\u001b[2J"; give a number');
});
