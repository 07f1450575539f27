/**
 * Options of copies to, from and within the memory of a GPU.
 *
 * @module
 */
import type { UsedByCopies } from "./device_block.ts";
import type { DeviceEvent } from "./device_event.ts";

/** Options of a copy. */
export interface CopyOptions {
  /** Events that the copy waits for on the device, such as the end of another copy. */
  after?: readonly DeviceEvent[];
  /** Blocks and bodies that the copy reads or writes: released ones are recycled only after its end. */
  uses?: readonly UsedByCopies[];
  /** Anything that must not be collected before its end. */
  keep?: unknown;
}
