/**
 * A line on standard error that counts while data arrives. On a terminal only.
 *
 * @module
 */
import { countOf, formatBytes, formatRate, formatSeconds } from "./numbers.ts";
import { printError } from "./output.ts";

/** Time between two updates. */
const INTERVAL_MS = 200;
/** A transfer shorter than this shows no line at all. */
const DELAY_MS = 300;

/** What the line shows. */
export interface ProgressNumbers {
  /** Rows so far. */
  readonly rows: number;
  /** Bytes of bodies so far. */
  readonly bodyBytes: number;
}

/** The line while it is shown. */
export interface Progress {
  /** Removes the line. */
  stop(): Promise<void>;
}

/** One text of the line. */
export function progressText(now: ProgressNumbers, rate: number, seconds: number): string {
  return `${countOf(now.rows, "row")}, ${formatBytes(now.bodyBytes)}, ${formatRate(rate)}, ${formatSeconds(seconds)}`;
}

/** Starts the line if standard error is a terminal, else does nothing. */
export function startProgress(read: () => ProgressNumbers): Progress {
  if (!Deno.stderr.isTerminal()) return { stop: () => Promise.resolve() };
  const start = performance.now();
  let isShown = false;
  let lastBytes = 0;
  let lastTime = start;
  const timer = setInterval(() => {
    const time = performance.now();
    if (time - start < DELAY_MS) return;
    const now = read();
    const rate = (now.bodyBytes - lastBytes) / Math.max(1e-3, (time - lastTime) / 1000);
    lastBytes = now.bodyBytes;
    lastTime = time;
    isShown = true;
    // Returns to the first column, and erases the rest of a longer line.
    printError(`\r${progressText(now, rate, (time - start) / 1000)}\x1b[K`);
  }, INTERVAL_MS);
  return {
    async stop() {
      clearInterval(timer);
      if (isShown) await printError("\r\x1b[K");
    },
  };
}

/** The line of a query that a server is at work on. */
export interface QueryProgress extends Progress {
  /** Called with how far the server is. */
  onProgress(progress: number | null): void;
}

/** Starts the line of a query if standard error is a terminal, else `null`. */
export function startQueryProgress(): QueryProgress | null {
  if (!Deno.stderr.isTerminal()) return null;
  const start = performance.now();
  let progress: number | null = null;
  let isShown = false;
  const timer = setInterval(() => {
    const seconds = (performance.now() - start) / 1000;
    if (seconds * 1000 < DELAY_MS) return;
    isShown = true;
    const percent = progress === null ? "" : ` ${Math.floor(Math.min(1, Math.max(0, progress)) * 100)} %,`;
    printError(`\rthe server is at work:${percent} ${formatSeconds(seconds)}\x1b[K`);
  }, INTERVAL_MS);
  return {
    onProgress: (now) => progress = now,
    async stop() {
      clearInterval(timer);
      if (isShown) await printError("\r\x1b[K");
    },
  };
}
