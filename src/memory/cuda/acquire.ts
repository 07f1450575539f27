/**
 * Takes a block, waiting for the end of copies if that frees one.
 *
 * @module
 */
import { DipcError } from "../../errors.ts";
import type { SlabAllocator } from "./slabs.ts";
import { type CopyWaitOptions, waitUntil } from "./wait.ts";

/**
 * Takes a block, waiting if only copies under way prevent it.
 *
 * @param slabs The allocator behind the pool
 * @param acquire Takes a block, or throws `out_of_memory`
 */
export async function acquireWaiting<B>(
  slabs: SlabAllocator,
  acquire: () => B,
  options: CopyWaitOptions,
): Promise<B> {
  let block: B | null = null;
  const attempt = (): boolean => {
    const mayWait = slabs.hasPending;
    try {
      block = acquire();
      return true;
    } catch (error) {
      if (mayWait && error instanceof DipcError && error.code === "out_of_memory") return false;
      throw error;
    }
  };
  await waitUntil(attempt, "take a block from memory that copies still use", options);
  return block!;
}
