/** The loop that moves all workers of an isolate: who wakes it, and when it sleeps. */
import { assert, assertEquals, assertLess } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { EFD_CLOEXEC_NONBLOCK } from "../../ffi/libc_symbols.ts";
import { type Pollable, progressLoop, type Wait } from "../../src/wire/ucx/loop.ts";
import { delay } from "../support/time.ts";

/** A worker on which nothing happens by itself. */
class QuietWorker implements Pollable {
  readonly eventFd: number = libc().eventfd(0, EFD_CLOEXEC_NONBLOCK);
  armed = false;
  dirty = false;
  isStreaming = false;
  token = 0;
  readonly waits: Wait[] = [];
  lastActive = 0;
  readonly failure = null;
  onArm: () => void = () => {};

  progress(): boolean {
    this.armed = false;
    return false;
  }
  arm(): boolean {
    this.onArm();
    return this.armed = true;
  }
  /** What UCX does when something arrives. */
  signal(): void {
    libc().write(this.eventFd, new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]), 8n);
  }
  close(): void {
    progressLoop().forget(this);
    libc().close(this.eventFd);
  }
}

Deno.test("a worker that is woken after its turn in a round is looked at before the loop sleeps", async () => {
  const first = new QuietWorker(), second = new QuietWorker();
  let isReady = false;
  second.onArm = () => {
    if (!first.armed) return;
    isReady = true;
    first.armed = false;
    progressLoop().wake();
  };
  let slept = false;
  const timer = setTimeout(() => {
    slept = true;
    progressLoop().wake();
  }, 5000);
  // Begun together, so that both come to rest in one round, the first one first.
  const waits = [
    progressLoop().until(first, () => isReady),
    progressLoop().until(second, () => isReady),
  ];
  await waits[0];
  clearTimeout(timer);
  assert(!slept, "the loop slept through it");
  second.armed = false;
  progressLoop().wake();
  assert(await waits[1], "the wait ended without its condition");
  first.close();
  second.close();
});

Deno.test("an event ends the sleep of its own worker, among several", async () => {
  const workers = Array.from({ length: 5 }, () => new QuietWorker());
  for (const worker of [...workers].reverse()) {
    let isReady = false;
    const others = workers.filter((other) => other !== worker);
    const waits = others.map((other) => progressLoop().until(other, () => isReady));
    const wait = progressLoop().until(worker, () => isReady);
    let slept = false;
    const timer = setTimeout(() => {
      slept = true;
      worker.armed = false;
      progressLoop().wake();
    }, 5000);
    await delay(20); // time to fall asleep
    isReady = true;
    worker.signal();
    await wait;
    clearTimeout(timer);
    assert(!slept, "the event was not seen");
    assertEquals(others.map((other) => other.armed), [true, true, true, true]);
    libc().read(worker.eventFd, new Uint8Array(8), 8n);
    for (const other of others) other.armed = false;
    progressLoop().wake();
    assertEquals(await Promise.all(waits), [true, true, true, true]);
  }
  for (const worker of workers) worker.close();
});

/**
 * A worker that UCX does not let sleep was polled for 5 ms before anything else of the isolate got a turn. When server and
 * client share an isolate, or a file is read in the background, the worker waits for just that turn: 4 ms for each batch.
 * The test counts polls for each turn of the event loop, not time.
 */
Deno.test("a worker that cannot be armed lets the event loop turn while nothing moves", async () => {
  const worker = new QuietWorker();
  worker.arm = () => false; // as UCX while a send waits inside it
  let polls = 0, turns = 0, isOver = false;
  const progress = worker.progress.bind(worker);
  worker.progress = () => {
    polls++;
    return progress();
  };
  const turn = (): void => {
    if (isOver) return;
    turns++;
    setImmediate(turn);
  };
  setImmediate(turn);
  assertEquals(await progressLoop().until(worker, () => false, { timeoutMs: 100 }), false);
  isOver = true;
  // 40 microseconds of polls; with 5 ms of them it would be a hundred times as many.
  assertLess(polls / turns, 2000, `${polls} polls in ${turns} turns`);
  worker.close();
});

function spin(milliseconds: number): void {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}

/**
 * Beside busy streams everything else of the isolate got one turn in 5 ms: a Flight call of a few hundred turns took seconds
 * instead of milliseconds. Counts polls for each turn, not time: a poll of this worker takes 10 microseconds, so that 5 ms
 * are 500 polls.
 */
Deno.test("beside a worker that is always busy, others that have work get a turn after as long again", async () => {
  const worker = new QuietWorker();
  let polls = 0, turns = 0;
  worker.progress = () => {
    polls++;
    spin(0.01);
    return true;
  };
  const TURNS = 100;
  const work = (): void => {
    spin(0.1);
    if (++turns < TURNS) setImmediate(work);
  };
  setImmediate(work);
  await progressLoop().until(worker, () => turns === TURNS);
  assertLess(polls / TURNS, 150, `${polls} polls in ${TURNS} turns`);
  worker.close();
});
