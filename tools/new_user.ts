/**
 * Does what a new user does, on a terminal of 80 columns, and prints what each task showed: `deno run -A tools/new_user.ts`.
 * `-- WORDS` does those tasks alone whose page or purpose has the words.
 *
 * @module
 */
import { tripsBytes } from "../tests/support/cli_data.ts";
import { NewUser, TASKS } from "../tests/support/new_user.ts";

const words = Deno.args.join(" ").replace(/^-- */, "");
await using user = await NewUser.open(tripsBytes("file"));
let failed = 0, done = 0;
for (const task of TASKS.filter(({ page, what }) => `${page} ${what}`.includes(words))) {
  const { code, text } = await user.do(task);
  const isGood = code === (task.status ?? 0) && task.shows.test(text);
  done++;
  if (!isGood) failed++;
  console.log(`${"=".repeat(80)}\n${done}. ${task.page}: ${task.what}\n$ ${task.line}\n${"-".repeat(80)}`);
  console.log(`${text.trimEnd()}\n${"-".repeat(80)}\nexit status ${code}${isGood ? "" : ", NOT AS EXPECTED"}\n`);
}
console.log(failed === 0 ? `${done} tasks, all as expected` : `${failed} of ${done} tasks are not as expected`);
if (failed > 0) Deno.exitCode = 1;
