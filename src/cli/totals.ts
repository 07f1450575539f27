/**
 * The totals of a transfer as `--json` shows them.
 *
 * @module
 */
import type { DeviceReaderStats } from "../device/reader.ts";
import type { SourceStats } from "./device.ts";
import type { ReaderStats } from "../reader.ts";
import type { RouteName } from "../routes/stats.ts";
import type { FailureJson } from "./failure.ts";

/** The object that `dipc get --json` prints, on success and on failure. */
export interface TotalsJson extends Omit<ReaderStats, "route" | "routeReason">, Partial<DeviceFacts> {
  /** How the data came; `null` if none arrived. */
  route: RouteName | null;
  /** Why that route was taken. */
  routeReason: string | null;
  /** True if `--limit` ended it. */
  limited?: boolean;
  /** What decoded a Parquet file, and why. */
  engine?: string;
  engineReason?: string;
  /** What has written a Parquet file, if that is not this package. */
  outputEngine?: "duckdb";
  /** File written, once it is complete. */
  output?: string;
  /** Format written. */
  format?: string;
  /** What looks wrong with the data of a file, or was written otherwise than the stream has it; not errors. */
  warnings: readonly string[];
  /** Why it failed. */
  error?: FailureJson;
}

/** Facts about a stream into the memory of a GPU. */
type DeviceFacts = Omit<DeviceReaderStats, keyof ReaderStats>;

/**
 * Copies what a reader has counted, except for rows and completeness: the command keeps its own, because it may stop at a
 * limit.
 */
export function takeStats(stats: SourceStats, totals: TotalsJson): void {
  const { rows, complete } = totals;
  Object.assign(totals, stats, { rows, complete });
}

/** The totals of a transfer that never began. */
export function noTotals(): TotalsJson {
  return {
    rows: 0,
    batches: 0,
    dictionaries: 0,
    bodyBytes: 0,
    metadataBytes: 0,
    seconds: 0,
    bytesPerSecond: 0,
    firstBatchSeconds: null,
    transports: [],
    transportsReason: "",
    sharedBytes: 0,
    sharingReason: null,
    route: null,
    routeReason: null,
    endpoints: [],
    complete: false,
    warnings: [],
  };
}
