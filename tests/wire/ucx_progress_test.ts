/** Progress of a UCX worker, also when a callback invalidates the code that called it. */
import { assertEquals } from "@std/assert";

/**
 * A stand-in for ucp_worker_progress runs a callback that, once the caller is optimised code, makes that code invalid.
 * A process of its own, because V8 aborts if this fails.
 */
const PROGRAM = `
import { progressWorker } from "${new URL("../../ffi/progress.ts", import.meta.url)}";
let calls = 0;
let assumed = 1; // optimised code takes it for a constant until it is written
const owner = { value: 1 };
const callback = new Deno.UnsafeCallback({ parameters: ["usize", "usize"], result: "i32" }, (worker) => {
  if (worker !== 5n) throw new Error("another worker");
  if (++calls === 300_000) {
    assumed = 2;
    owner.value = "of another kind";
  }
  return calls % 3 === 0 ? 0 : 7;
});
const symbols = { ucp_worker_progress_address: callback.pointer };
let active = 0;
function poll() {
  const moved = progressWorker(symbols, 5n);
  return moved && assumed > 0 && owner.value !== undefined;
}
for (let i = 0; i < 400_000; i++) if (poll()) active++;
console.log(calls, active);
Deno.exit(0);
`;

Deno.test("progress tells whether anything happened, and survives a callback that invalidates its caller's code", async () => {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-ffi", "--no-check", "--ext=ts", "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(PROGRAM));
  await writer.close();
  const { success, stdout, stderr } = await child.output();
  assertEquals(
    [success, new TextDecoder().decode(stdout).trim()],
    [true, "400000 266667"],
    new TextDecoder().decode(stderr),
  );
});
