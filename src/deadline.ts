/**
 * Waiting with a deadline.
 *
 * @module
 */
import { MAX_TIMER_MS } from "./limits.ts";

/**
 * Waits for work until a deadline. Work that is late goes on unobserved; its error is ignored.
 *
 * @param work The promise to wait for
 * @param timeoutMs The deadline in milliseconds; there is none beyond what a timer can wait, 24.8 days
 * @param onTimeout Called at the deadline: what it returns is the result, what it throws is thrown
 * @default onTimeout The result is `undefined`
 */
export async function withDeadline<T, U = undefined>(
  work: Promise<T>,
  timeoutMs: number,
  onTimeout?: () => U,
): Promise<T | U> {
  if (timeoutMs > MAX_TIMER_MS) return await work;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<U>((resolve, reject) => {
    timer = setTimeout(() => {
      try {
        resolve(onTimeout?.() as U);
      } catch (error) {
        reject(error);
      }
    }, timeoutMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
