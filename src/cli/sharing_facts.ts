/**
 * Whether bodies can be read in a server's memory on this machine.
 *
 * @module
 */
import { tableFromArrays } from "apache-arrow";
import { asFailure } from "./failure.ts";

/** What a trial inside this process has shown. */
export interface SharingFacts {
  /** Whether a body was read in place. */
  readonly works: boolean;
  /** Why not; empty if it was. */
  readonly reason: string;
}

/** Rows of the column that is read. */
const ROWS = 10_000;

/** Shares a small table inside this process, and reads it. */
export async function sharingFacts(): Promise<SharingFacts> {
  const { connect, serve } = await import("../../mod.ts");
  try {
    const source = tableFromArrays({ value: Float64Array.from({ length: ROWS }, (_, i) => i) });
    await using server = await serve({ datasets: { probe: { source, share: true } } });
    await using stream = await connect(server.datasets[0].uris[0], { timeoutMs: 10_000 });
    for await (using batch of stream) {
      if (batch.getChildAt(0)!.get(ROWS - 1) !== ROWS - 1) return { works: false, reason: "other values were read" };
    }
    const { sharedBytes, sharingReason } = stream.stats;
    return { works: sharedBytes > 0, reason: sharedBytes > 0 ? "" : sharingReason ?? "" };
  } catch (thrown) {
    return { works: false, reason: asFailure(thrown).message };
  }
}

/** The line of `dipc doctor`. */
export function sharingText({ works, reason }: SharingFacts): string {
  return works ? "works: dipc serve --share, clients on this machine" : `does not work: ${reason}`;
}
