/**
 * What the kernel says about a process: memory, file descriptors, processor time, threads, sockets.
 *
 * @module
 */

const TICKS_PER_SECOND = 100;

function statusKilobytes(pid: number | "self", field: string): number {
  const match = Deno.readTextFileSync(`/proc/${pid}/status`).match(new RegExp(`^${field}:\\s+(\\d+) kB`, "m"));
  if (!match) throw new Error(`/proc/${pid}/status has no ${field}`);
  return Number(match[1]);
}

/** Resident memory in bytes. */
export function residentBytes(pid: number | "self"): number {
  return statusKilobytes(pid, "VmRSS") * 1024;
}

/** Highest resident memory so far, in bytes. */
export function peakResidentBytes(pid: number | "self"): number {
  return statusKilobytes(pid, "VmHWM") * 1024;
}

/** Open file descriptors. */
export function descriptorCount(pid: number | "self"): number {
  return [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
}

/** What each descriptor points at, sorted: for saying which one is too many. */
export function descriptors(pid: number | "self"): string[] {
  const targets: string[] = [];
  for (const entry of Deno.readDirSync(`/proc/${pid}/fd`)) {
    try {
      targets.push(Deno.readLinkSync(`/proc/${pid}/fd/${entry.name}`).replace(/\d{3,}/g, "N"));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return targets.sort();
}

/** Processor time used, user and system, in seconds. */
export function processorSeconds(pid: number | "self"): number {
  const text = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Whether the process exists and is no zombie. */
export function isAlive(pid: number): boolean {
  try {
    const text = Deno.readTextFileSync(`/proc/${pid}/stat`);
    return text[text.lastIndexOf(")") + 2] !== "Z";
  } catch {
    return false;
  }
}

/** Takes the highest resident memory of a process at short intervals until stopped. */
export class MemoryWatch {
  /** Highest value seen, in bytes; 0 if the process was never seen. */
  peakBytes = 0;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #pid: number;

  constructor(pid: number, everyMs = 10) {
    this.#pid = pid;
    this.#timer = setInterval(() => this.sample(), everyMs);
  }

  /** Takes one sample now. */
  sample(): void {
    try {
      this.peakBytes = Math.max(this.peakBytes, peakResidentBytes(this.#pid));
    } catch {
      // The process has ended: what was seen stays.
    }
  }

  stop(): number {
    clearInterval(this.#timer);
    return this.peakBytes;
  }
}

/** Bytes as MiB for a table. */
export function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

/** What of a process must not grow. */
export interface Vitals {
  /** Resident memory in bytes. */
  readonly resident: number;
  readonly descriptors: number;
  readonly threads: number;
  /** Ranges of its address space. */
  readonly mappings: number;
}

/** The {@linkcode Vitals} of a process. */
export function vitalsOf(pid: number): Vitals {
  return {
    resident: residentBytes(pid),
    descriptors: descriptorCount(pid),
    threads: [...Deno.readDirSync(`/proc/${pid}/task`)].length,
    mappings: Deno.readTextFileSync(`/proc/${pid}/maps`).split("\n").length - 1,
  };
}

/** Vitals in words. */
export function textOfVitals({ resident, descriptors, threads, mappings }: Vitals): string {
  return `${mebibytes(resident)} resident, ${descriptors} descriptors, ${threads} threads, ${mappings} mappings`;
}
