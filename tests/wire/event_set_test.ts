/** What the progress loop sleeps on. */
import { assertEquals } from "@std/assert";
import { ROOT } from "../support/paths.ts";

Deno.test("a set of events that the system refuses leaves no descriptor open", async () => {
  // One descriptor is left for two that are needed.
  const program = `
    import { EventSet } from "${ROOT}/src/wire/ucx/event_set.ts";
    new EventSet().close();
    const count = () => [...Deno.readDirSync("/proc/self/fd")].length;
    const before = count();
    const files = [];
    try { for (;;) files.push(Deno.openSync("/dev/null")); } catch { files.pop().close(); }
    let message = "";
    try { new EventSet(); } catch (error) { message = error.code; }
    for (const file of files) file.close();
    console.log(message, count() - before);`;
  const { stdout, stderr } = await new Deno.Command("sh", {
    args: [
      "-c",
      `ulimit -n 64; exec "$0" eval --no-lock --config "$1" "$2"`,
      Deno.execPath(),
      `${ROOT}/deno.json`,
      program,
    ],
  }).output();
  const decoder = new TextDecoder();
  assertEquals(decoder.decode(stdout), "io 0\n", decoder.decode(stderr));
});
