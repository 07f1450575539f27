/**
 * ArrayBuffers whose memory something outside JavaScript uses: who owns the memory gives it back only afterwards.
 *
 * @module
 */

/** What is to be done when a buffer is not used any more, and how many use it. */
interface Pin {
  count: number;
  readonly after: (() => void)[];
}

const pins = new Map<ArrayBufferLike, Pin>();

/**
 * Keeps the memory of a buffer in place, also if its owner is released.
 *
 * @param buffer The buffer
 * @returns Ends the use; to be called once
 */
export function pin(buffer: ArrayBufferLike): () => void {
  let known = pins.get(buffer);
  if (known === undefined) pins.set(buffer, known = { count: 0, after: [] });
  const pinned = known;
  pinned.count++;
  return () => {
    if (--pinned.count > 0) return;
    pins.delete(buffer);
    for (const act of pinned.after) act();
  };
}

/** Whether a buffer is used outside JavaScript. */
export function isPinned(buffer: ArrayBufferLike): boolean {
  return pins.size > 0 && pins.has(buffer);
}

/**
 * Does something as soon as a buffer is not used outside JavaScript: now, or later.
 *
 * @param buffer The buffer
 * @param act What is to be done
 */
export function whenUnpinned(buffer: ArrayBufferLike | null, act: () => void): void {
  const pinned = pins.size === 0 || buffer === null ? undefined : pins.get(buffer);
  if (pinned === undefined) act();
  else pinned.after.push(act);
}
