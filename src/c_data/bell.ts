/**
 * One bell for all asynchronous streams of this program: the machine code of their callbacks rings it on any thread, and whatever
 * waits here looks again. So no library ever waits for JavaScript, and all streams together need one thread to wait.
 *
 * The layout is that of `struct bell` in `native/c_data/async.c`.
 *
 * @module
 */
import { allocate, callPointer } from "../../ffi/raw_memory.ts";
import { asyncCode } from "./native_code.ts";

const WAIT = { parameters: ["usize", "usize"], result: "i32", nonblocking: true } as const;
const BYTES = 64;

interface Bell {
  readonly address: bigint;
  /** Its version, and how many threads wait. */
  readonly words: Int32Array<ArrayBuffer>;
  readonly wait: Deno.UnsafeFnPointer<typeof WAIT>;
}

let bell: Bell | null = null;
/** The wait that is under way, shared by all that wait. */
let waiting: Promise<void> | null = null;

/** The bell, made when it is first needed. It is never freed, because callbacks may come at any time. */
function theBell(): Bell {
  if (bell !== null) return bell;
  const { bell_wait } = asyncCode();
  const address = allocate(BYTES);
  const memory = Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(address)!, BYTES) as ArrayBuffer;
  const words = new Int32Array(memory);
  words.fill(0);
  return bell = { address, words, wait: new Deno.UnsafeFnPointer(Deno.UnsafePointer.create(bell_wait)!, WAIT) };
}

/** Its address, for machine code. @throws {DipcError} `permission_denied` without `--allow-ffi`, `out_of_memory` */
export function bellAddress(): bigint {
  return theBell().address;
}

/** How often it was rung: to be read before what is waited for is looked at. */
export function bellVersion(): number {
  return Atomics.load(theBell().words, 0);
}

/**
 * Waits until it is rung, which may be for anybody.
 *
 * @param seen Its version as it was before; does not wait if it has been rung since
 * @param maxMs Longest wait in milliseconds
 */
export async function bellChange(seen: number, maxMs?: number): Promise<void> {
  const { address, words, wait } = theBell();
  if (Atomics.load(words, 0) !== seen) return;
  waiting ??= wait.call(address, BigInt(seen)).then(() => void (waiting = null));
  const timer = maxMs === undefined ? undefined : setTimeout(ringBell, maxMs);
  await waiting;
  clearTimeout(timer);
}

/** Rings it. */
export function ringBell(): void {
  callPointer(asyncCode().bell_ring, theBell().address, 0n);
}
