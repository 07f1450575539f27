/**
 * Releases memory that a copy of a GPU may still use.
 *
 * @module
 */
import type { Block, Body } from "../memory/block.ts";
import type { UsedByCopies } from "../memory/cuda/device_block.ts";
import type { DeviceEvent } from "../memory/cuda/device_event.ts";

/** How often the copy is polled if its body cannot wait for it, in milliseconds. */
const POLL_EVERY_MS = 5;

/** Whether a body or block defers its own recycling while copies use it. */
export function canWait<M extends Body | Block>(memory: M): memory is M & UsedByCopies {
  return typeof (memory as Partial<UsedByCopies>).usedBy === "function";
}

/**
 * Releases a body at once if it waits for the copy itself, otherwise once the copy is done.
 *
 * @param body Read or written by the copy
 * @param event Marks the end of the copy
 */
export function releaseAfter(body: Body, event: DeviceEvent): void {
  if (canWait(body)) {
    body.usedBy(event);
    body.release();
  } else if (event.isFinished()) {
    body.release();
  } else {
    const timer = setInterval(() => {
      if (!event.isFinished()) return;
      clearInterval(timer);
      body.release();
    }, POLL_EVERY_MS);
  }
}

/** Releases a body that a copy may still fill. */
export function giveBack(body: Body, event: DeviceEvent | null): void {
  if (event === null) body.release();
  else releaseAfter(body, event);
}
