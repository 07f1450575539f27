/**
 * What tests of the C interfaces have in common.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { exportedCount } from "../../src/c_data/cells.ts";

/** Waits until everything that was exported has been taken back. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 200 && exportedCount() > 0; i++) await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals(exportedCount(), 0, "exported structures that nobody has released");
}
