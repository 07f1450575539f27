/**
 * Puts off what is done for objects that live on, because most are released within the turn of the event loop that made them.
 *
 * @module
 */

/** Objects that may be put off; they are strongly referenced until then. */
const MAX_PENDING = 64;

/** Something that can be watched by the garbage collector, unless it was released before. */
export interface Watchable {
  /** Whether nothing needs to be done for it any more. */
  readonly isReleased: boolean;
  /** Begins to watch it. */
  watch(): void;
}

const pending: Watchable[] = [];
let isPlanned = false;

/** Watches an object if it still lives at the end of the turn, or once many others follow. */
export function watchLater(object: Watchable): void {
  while (pending.length > 0 && pending[pending.length - 1].isReleased) pending.pop();
  if (pending.length >= MAX_PENDING) watchAll();
  pending.push(object);
  if (isPlanned) return;
  isPlanned = true;
  setImmediate(() => {
    isPlanned = false;
    watchAll();
  });
}

function watchAll(): void {
  for (const object of pending) if (!object.isReleased) object.watch();
  pending.length = 0;
}
