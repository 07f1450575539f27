/**
 * The checks of wording: a planted offence is found, and what is well put passes.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import plugin, { faultOf } from "../../tools/lint/messages.ts";
import { offencesIn, RULES } from "../../tools/words.ts";

/** For every rule something that it must find. */
const PLANTED: readonly string[] = [
  "/** Closed where it is not needed any more. */",
  "// a body is no message",
  "// a value that is no integer",
  "// it waits for ever",
  "// connections at one time",
  "// what is asked for is sent",
  "// a call that nobody reads gives up",
  "// the prefix in front of the body",
  "// the client is told",
  "// names, one a line",
  '"must be a whole number of at least 1"',
  "// the road of a stream",
  "/** Its bytes. */",
  "// sent in any case",
  "// closed without a word",
  "// asks the driver now and then",
  "// made ready on first use",
  "/** Leave to fetch one dataset. */",
];

const FINE: readonly string[] = [
  "// the folder where the copy lies",
  "// says where it was found",
  "// there is no dataset of this name",
  "// it is no longer needed",
  "const where = lookUp(name);",
  'throw new DipcError("busy", "cannot open the source: it can be read only once, and was");',
];

Deno.test("each rule of words finds its planted offence, and nothing in what is well put", () => {
  const used = new Set(PLANTED.flatMap((text) => offencesIn(text, false).map(({ advice }) => advice)));
  assertEquals([...used].sort(), [...new Set(RULES.map(({ advice }) => advice))].sort());
  for (const text of PLANTED) assert(offencesIn(text, false).length > 0, `nothing found in: ${text}`);
  for (const text of FINE) assertEquals(offencesIn(text, false), [], text);
});

Deno.test("the table that quotes words not to write is exempt, and only that", () => {
  const row = '| forever | "for ever" |';
  assertEquals(offencesIn(`| write | not |\n| --- | --- |\n${row}\n`, true), []);
  assertEquals(offencesIn(`| write | not |\n| --- | --- |\n\n${row}\n`, true).map(({ line }) => line), [4]);
  assertEquals(offencesIn(`| term | means |\n| --- | --- |\n${row}\n`, true).length, 1);
});

Deno.test("messages: the form is checked wherever an error is made, in every branch of what it says", () => {
  const lint = (source: string): string[] =>
    Deno.lint.runPlugin(plugin, "/package/src/x.ts", source).map(({ hint }) => hint ?? "");
  assertEquals(lint('new DipcError("io", "the file is gone");'), ["the file is gone"]);
  assertEquals(lint('new LocalError("io", `Cannot read ${path}: it is gone`);'), ["Cannot read ${…}: it is gone"]);
  assertEquals(lint('new UsageError("cannot run get: no URI was given.");'), ["cannot run get: no URI was given."]);
  assertEquals(lint('new DipcError("io", late ? "cannot read: late" : "lost");'), ["lost"]);
  assertEquals(lint('new DipcError("io", `cannot read ${path}` + `, it is gone`);'), ["cannot read ${…}, it is gone"]);
  assertEquals(lint('new DipcError("io", `cannot read ${path}: it is gone; ` + "give another one");'), []);
  assertEquals(lint("new DipcError(error.code, error.message);"), []);
  assertEquals(Deno.lint.runPlugin(plugin, "/package/tests/x.ts", 'new DipcError("io", "boom");'), []);
  assertEquals(faultOf("cannot read the stream: it ends early…"), null);
});
