/** What a new user does, page by page, on a terminal of 80 columns; `tools/new_user.ts` shows what each task prints. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { tripsBytes } from "../support/cli_data.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { NewUser, TASKS } from "../support/new_user.ts";
import { ROOT } from "../support/paths.ts";
import { needsPython } from "../support/python.ts";

testNeeding(
  [needsUcx, needsPython],
  "a new user's tasks end as the documents say, on a terminal of 80 columns",
  async (t) => {
    await using user = await NewUser.open(tripsBytes("file"));
    for (const task of TASKS) {
      await t.step(`${task.page}: ${task.what}`, async () => {
        const { code, text } = await user.do(task);
        assertEquals(code, task.status ?? 0, `${task.line}\n${text}`);
        assertMatch(text, task.shows);
        assert(!/\bat (?:file|ext):/.test(text) && !text.includes("Uncaught"), `a stack trace:\n${text}`);
        // Tables fit; sentences and URIs are broken by the terminal.
        const wide = text.split("\n").filter((line) => /─{4}/.test(line) && [...line].length > 80);
        assertEquals(wide, []);
      });
    }
  },
);

Deno.test("a new user's tasks are twenty or more, and visit every document for users", () => {
  assert(TASKS.length >= 20, `${TASKS.length}`);
  const pages = new Set(TASKS.map(({ page }) => page));
  // What the tests show, and lists; there is nothing to do on them.
  const others = [
    "README.md",
    "api.txt",
    "async-conformance.md",
    "conditions.md",
    "flight-interop.md",
    "flight-limits.md",
    "under-load.md",
  ];
  const documents = [...Deno.readDirSync(`${ROOT}/docs`)].map(({ name }) => name)
    .filter((name) => name.endsWith(".md") && !others.includes(name));
  assertEquals(documents.filter((name) => !pages.has(name)), []);
});
