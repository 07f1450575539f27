/**
 * The machine that a benchmark ran on, and which of its cores the two ends are pinned to.
 *
 * @module
 */

/** What is written down beside the figures. */
export interface MachineFacts {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly deno: string;
  readonly v8: string;
}

function firstMatch(path: string, pattern: RegExp): string {
  try {
    return pattern.exec(Deno.readTextFileSync(path))?.[1]?.trim() ?? "unknown";
  } catch {
    return "unknown";
  }
}

/** Reads them from the system. */
export function machineFacts(): MachineFacts {
  return {
    cpu: firstMatch("/proc/cpuinfo", /^model name\s*:\s*(.*)$/m),
    cores: navigator.hardwareConcurrency,
    memoryBytes: Deno.systemMemoryInfo().total,
    kernel: Deno.osRelease(),
    deno: Deno.version.deno,
    v8: Deno.version.v8,
  };
}

/** Expands a Linux list of cores such as `0-3,8`. */
export function parseCpuList(list: string): number[] {
  return list.trim().split(",").filter((part) => part !== "").flatMap((part) => {
    const [first, last = first] = part.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

/**
 * Two cores for a server and a client: allowed to this process, on one socket and not two threads of one core where the
 * machine has a choice. Null where fewer than two are there or `taskset` is missing; then nothing is pinned.
 */
export async function chooseCores(): Promise<{ server: number; client: number } | null> {
  const allowed = parseCpuList(firstMatch("/proc/self/status", /^Cpus_allowed_list:\s*(.*)$/m));
  if (allowed.length < 2 || allowed.some(Number.isNaN)) return null;
  try {
    await new Deno.Command("taskset", { args: ["-V"], stdout: "null", stderr: "null" }).output();
  } catch {
    return null;
  }
  const server = allowed[0];
  const topology = (core: number, name: string) => {
    try {
      return Deno.readTextFileSync(`/sys/devices/system/cpu/cpu${core}/topology/${name}`).trim();
    } catch {
      return "";
    }
  };
  const siblings = new Set(parseCpuList(topology(server, "thread_siblings_list")));
  const others = allowed.slice(1).filter((core) => !siblings.has(core));
  const socket = topology(server, "physical_package_id");
  const client = others.find((core) => topology(core, "physical_package_id") === socket) ?? others[0] ?? allowed[1];
  return { server, client };
}
