import { assertEquals } from "@std/assert";
import { plural, printable, textOf } from "../../src/text.ts";

Deno.test("printable: nothing is left that steers a terminal", () => {
  const steers = [
    ...Array.from({ length: 0x20 }, (_, code) => code),
    ...Array.from({ length: 0x21 }, (_, i) => 0x7f + i),
    ...[0x61c, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069],
  ];
  for (const code of steers) {
    const character = String.fromCharCode(code);
    const shown = printable(`a${character}b`);
    const hex = `a\\u${code.toString(16).padStart(4, "0")}b`;
    assertEquals(shown, "\t\n\r".includes(character) ? "a b" : hex);
  }
});

Deno.test("printable: all other text stays as it is", () => {
  for (const text of ["", "naïve 🎉 日本", "C:\\path", "\u00a0\u200b", "שלום"]) assertEquals(printable(text), text);
});

Deno.test("printable: line ends and tabs become spaces or escapes", () => {
  assertEquals(printable("a\r\n\tb\nc"), "a b c");
  assertEquals(printable("a\r\n\tb\nc", "escape"), "a\\r\\n\\tb\\nc");
  assertEquals(printable("\x1b[2J", "escape"), "\\u001b[2J");
});

Deno.test("textOf: the message of an error, anything else as text", () => {
  assertEquals([new Error("no"), "no", 5, undefined].map(textOf), ["no", "no", "5", "undefined"]);
});

Deno.test("plural: one, and any other number", () => {
  assertEquals([0, 1, 2].map((n) => plural(n, "batch", "batches")), ["0 batches", "1 batch", "2 batches"]);
  assertEquals(plural(2, "row"), "2 rows");
});
