import { assert, assertEquals, assertRejects } from "@std/assert";
import { withDeadline } from "../../src/deadline.ts";
import { MAX_TIMER_MS } from "../../src/limits.ts";

Deno.test("work that ends in time gives its result or its error, and leaves no timer", async () => {
  assertEquals(await withDeadline(Promise.resolve(5), 60_000), 5);
  await assertRejects(() => withDeadline(Promise.reject(new Error("broken")), 60_000), Error, "broken");
});

Deno.test("at the deadline the waiting ends: with nothing, a value or an error", async () => {
  const never = new Promise<number>(() => {});
  assertEquals(await withDeadline(never, 1), undefined);
  assertEquals(await withDeadline(never, 1, () => "late"), "late");
  const late = (): never => {
    throw new RangeError("late");
  };
  await assertRejects(() => withDeadline(never, 0, late), RangeError, "late");
});

Deno.test("work that fails after its deadline disturbs nobody", async () => {
  const { promise, reject } = Promise.withResolvers<void>();
  assertEquals(await withDeadline(promise, 1), undefined);
  reject(new Error("too late"));
  await new Promise((resolve) => setTimeout(resolve, 5));
});

Deno.test("a deadline that is longer than a timer can wait does not pass at once", async () => {
  for (const timeoutMs of [MAX_TIMER_MS, MAX_TIMER_MS + 1, Infinity]) {
    let isLate = false;
    const work = new Promise<string>((resolve) => setTimeout(() => resolve("done"), 20));
    assertEquals(await withDeadline(work, timeoutMs, () => isLate = true), "done");
    assert(!isLate);
  }
});
