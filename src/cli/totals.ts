/**
 * The totals of a transfer as `--json` shows them.
 *
 * @module
 */
import type { EndpointStats, RouteName } from "../routes/stats.ts";
import type { FailureJson } from "./failure.ts";

/** The object that `dipc get --json` prints, on success and on failure. */
export interface TotalsJson {
  /** Rows fetched, or written where `--limit` cut the last batch. */
  rows: number;
  /** Record batches fetched. */
  batches: number;
  /** Dictionary batches fetched. */
  dictionaries: number;
  /** Bytes of bodies. */
  bodyBytes: number;
  /** Bytes of metadata. */
  metadataBytes: number;
  /** Time from the start of the connection to the end, in seconds. */
  seconds: number;
  /** `bodyBytes / seconds`. */
  bytesPerSecond: number;
  /** Time to the first batch in seconds, `null` where none came. */
  firstBatchSeconds: number | null;
  /** Transports that UCX chose. */
  transports: readonly string[];
  /** Memory space that bodies were received into, where that is the memory of a GPU. */
  memory?: string;
  /** Whether they were staged through host memory; otherwise they came straight from the wire. */
  staged?: boolean;
  /** Why so. */
  stagingReason?: string;
  /** Messages that came compressed and were decompressed by the CPU on their way to the GPU. */
  decompressedOnHost?: number;
  /** How the data came; `null` if it never began to. */
  route: RouteName | null;
  /** Why that route was taken. */
  routeReason: string | null;
  /** The parts of the stream and the route of each. */
  endpoints: readonly EndpointStats[];
  /** True where the whole stream arrived. */
  complete: boolean;
  /** True where `--limit` ended it. */
  limited?: boolean;
  /** File written, once it is whole. */
  output?: string;
  /** Format written. */
  format?: string;
  /** Why it failed. */
  error?: FailureJson;
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
    route: null,
    routeReason: null,
    endpoints: [],
    complete: false,
  };
}
