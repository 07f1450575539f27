/**
 * What a run found: the JSON object and the printed table.
 *
 * @module
 */
import type { MachineFacts } from "./machine.ts";

/** Units of the figures. */
export type Unit = "GB/s" | "batches/s" | "rows/s" | "runs/s" | "requests/s" | "ms" | "MiB" | "CPU s/GB";

/** Units of what should be small. */
export const SMALLER_IS_BETTER: ReadonlySet<Unit> = new Set<Unit>(["ms", "MiB", "CPU s/GB"]);

/** One comparison. `ours`, `peer`, `min` and `max` are in `unit`; ratios above 1 favour us, whatever the unit. */
export interface BenchResult {
  /** Such as `cold/1MiB`. */
  readonly name: string;
  readonly unit: Unit;
  /** Median of our rounds. */
  readonly ours: number;
  /** Median of the peer's rounds. */
  readonly peer: number;
  /** What we are compared with. */
  readonly peerName: string;
  /** Median over the rounds of ours against the peer's runs just before and after. */
  readonly ratio: number;
  /** Smallest of our rounds. */
  readonly min: number;
  /** Largest of our rounds. */
  readonly max: number;
  /** Smallest of the peer's rounds. */
  readonly peerMin: number;
  /** Largest of the peer's rounds. */
  readonly peerMax: number;
  /** Smallest ratio of a round. */
  readonly ratioMin: number;
  /** Largest ratio of a round. */
  readonly ratioMax: number;
  /** Our rounds; the peer runs once more. */
  readonly rounds: number;
  /** The target ratio, or null if the figure is only reported. */
  readonly target: number | null;
  /** The UCX transports that carried our side. */
  readonly transports: readonly string[];
}

/** A comparison that could not be made, and why. */
export interface Skipped {
  readonly name: string;
  readonly reason: string;
}

/** Everything that `--json` prints. */
export interface BenchReport {
  /** Start of the run, ISO 8601. */
  readonly date: string;
  readonly quick: boolean;
  /** Length of the run in seconds. */
  readonly seconds: number;
  readonly machine: MachineFacts;
  /** Cores of server and client, or null if nothing is pinned. */
  readonly cores: { server: number; client: number } | null;
  readonly libucp: { path: string; version: string };
  readonly pyarrow: string | null;
  /** UCX settings of our server and of `ucx_perftest`, in addition to `UCX_TLS=tcp` if a result's name says so. */
  readonly ucxSettings: Readonly<Record<string, string>>;
  readonly results: readonly BenchResult[];
  /** Comparisons without a peer on this machine. */
  readonly skipped: readonly Skipped[];
  /** Comparisons that broke. */
  readonly failed: readonly Skipped[];
}

/** A number with about three significant digits, in thousands (k) or millions (M) if it is large. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (value >= 1e6) return `${formatNumber(value / 1e6)} M`;
  if (value >= 1e4) return `${formatNumber(value / 1e3)} k`;
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toFixed(digits);
}

/** Lines of the table for a person. */
export function formatTable(report: BenchReport): string[] {
  const header = ["result", "ours", "(min–max)", "peer", "(min–max)", "ratio", "(min–max)", "target", "peer is"];
  const rows = report.results.map((result) => [
    result.name,
    `${formatNumber(result.ours)} ${result.unit}`,
    `(${formatNumber(result.min)}–${formatNumber(result.max)})`,
    `${formatNumber(result.peer)} ${result.unit}`,
    `(${formatNumber(result.peerMin)}–${formatNumber(result.peerMax)})`,
    `${result.ratio.toFixed(2)}×`,
    `(${result.ratioMin.toFixed(2)}–${result.ratioMax.toFixed(2)})`,
    result.target === null ? "" : `≥ ${result.target} ${result.ratio >= result.target ? "met" : "missed"}`,
    result.peerName,
  ]);
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column].length)));
  const right = new Set([1, 3, 5]);
  const line = (cells: string[]) =>
    cells.map((cell, i) => right.has(i) ? cell.padStart(widths[i]) : cell.padEnd(widths[i])).join("  ").trimEnd();
  return [
    line(header),
    ...rows.map(line),
    ...report.skipped.map(({ name, reason }) => `${name}: skipped, ${reason}`),
    ...report.failed.map(({ name, reason }) => `${name}: FAILED, ${reason}`),
  ];
}
