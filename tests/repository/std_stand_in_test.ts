/**
 * The local stand-ins for the two JSR packages behave as the real ones do, as far as this repository uses them.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertExists,
  assertGreater,
  assertInstanceOf,
  assertLess,
  assertMatch,
  assertNotEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
  fail,
} from "@std/assert";
import { parseArgs } from "@std/cli";

Deno.test("an assertion that does not hold throws", () => {
  assertThrows(() => assert(0));
  assertThrows(() => assertEquals({ a: [1, 2] }, { a: [1, 3] }), Error, "not equal");
  assertThrows(() => assertEquals<unknown>(1n, 1), Error, "not equal");
  assertThrows(() => assertEquals(0, -0), Error, "not equal");
  assertThrows(() => assertEquals(new Uint8Array([1]), new Uint8Array([2])));
  assertThrows(() => assertNotEquals([1], [1]));
  assertThrows(() => assertStrictEquals({}, {}));
  assertThrows(() => assertExists(null));
  assertThrows(() => assertInstanceOf(1, Date));
  assertThrows(() => assertStringIncludes("abc", "d"));
  assertThrows(() => assertMatch("abc", /d/));
  assertThrows(() => assertGreater(1, 1));
  assertThrows(() => assertLess(1, 1));
  assertThrows(() => fail("x"), Error, "x");
  assertThrows(() => assertThrows(() => {}), Error, "Expected function to throw");
  assertThrows(
    () =>
      assertThrows(
        () => {
          throw new TypeError("a");
        },
        RangeError,
      ),
    Error,
    "instance of RangeError",
  );
});

Deno.test("an assertion that holds returns", async () => {
  assert(1);
  assertEquals(NaN, NaN);
  assertEquals([new Uint8Array([1]), new Map([[1, "a"]])], [new Uint8Array([1]), new Map([[1, "a"]])]);
  assertNotEquals<unknown>(1, "1");
  assertMatch("aXb", /x/gi);
  const error = assertThrows(() => JSON.parse("{"), SyntaxError);
  assertInstanceOf(error, SyntaxError);
  const rejection = await assertRejects(() => Promise.reject(new RangeError("too much")), RangeError, "much");
  assertEquals(rejection.message, "too much");
});

Deno.test("assertRejects refuses a promise that resolves and a function that throws at once", async () => {
  await assertRejects(() => assertRejects(() => Promise.resolve(1)), Error, "Expected function to reject");
  await assertRejects(
    () =>
      assertRejects(() => {
        throw new Error("at once");
      }),
    Error,
    "return a promise",
  );
});

Deno.test("parseArgs reads flags, values, lists, bundles and the rest", () => {
  const args = parseArgs(
    [
      "serve",
      "a=b.arrow",
      "--json",
      "--port",
      "0",
      "-o",
      "-",
      "--limit=5",
      "-qv",
      "--tag",
      "x",
      "--tag=y",
      "--",
      "--z",
    ],
    { boolean: ["json", "q", "v", "absent"], string: ["port", "o", "tag"], collect: ["tag"], alias: { o: "output" } },
  );
  assertEquals(args._, ["serve", "a=b.arrow", "--z"]);
  assertEquals([args.json, args.q, args.v, args.absent], [true, true, true, false]);
  assertEquals([args.port, args.o, args.output, args.limit], ["0", "-", "-", 5]);
  assertEquals(args.tag, ["x", "y"]);
});

Deno.test("parseArgs names unknown options, keeps texts and negates", () => {
  const unknown: string[] = [];
  const args = parseArgs(["--what", "1", "pos", "--no-color", "--name", "007", "-5"], {
    boolean: ["color"],
    negatable: ["color"],
    string: ["name", "_"],
    default: { color: true },
    unknown: (arg, key) => {
      if (key === undefined) return true;
      unknown.push(arg);
      return false;
    },
  });
  assertEquals(unknown, ["--what"]);
  assertEquals(args._, ["pos", "-5"]);
  assertEquals([args.color, args.name, args.what], [false, "007", undefined]);
});

Deno.test("parseArgs leaves what follows the first plain argument alone with stopEarly", () => {
  assertEquals(parseArgs(["--a", "--", "x"], { boolean: ["a"], "--": true })["--"], ["x"]);
  assertEquals(parseArgs(["-a", "b", "-c"], { boolean: ["a"], stopEarly: true })._, ["b", "-c"]);
});
