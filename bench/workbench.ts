/**
 * What the comparisons share: the processes, started when first needed, and the tools found on this machine.
 *
 * @module
 */
import { Agent, type Answer } from "./agents.ts";
import { tagBandwidth } from "./perftest.ts";
import type { Tools } from "./tools.ts";

/** What a process does. */
export type Role =
  | "server"
  | "client"
  | "gateway"
  | "flight-server"
  | "flight-client"
  | "ipc-server"
  | "ipc-client"
  | "c-data"
  | "adbc";

/** What a client answers to a fetch. */
export interface Fetched {
  readonly seconds: number;
  readonly wholeSeconds: number;
  readonly started: number;
  readonly ended: number;
  readonly rows: number;
  readonly bytes: number;
  readonly batches: number;
  readonly checksum: number;
  readonly transports?: readonly string[];
}

/** How a process is started. */
export interface AgentVariant {
  /** `UCX_TLS`, if not the default. */
  readonly tls?: string;
  /** Tells processes of one role apart. */
  readonly index?: number;
  /** False: the process may run on every core. */
  readonly pinned?: boolean;
  /** Folder of further Python packages. */
  readonly packages?: string;
}

/** Starts processes and runs `ucx_perftest`. */
export class Workbench {
  /** Paths of the tools. */
  readonly tools: Tools;
  /** A folder that is removed with the workbench; in memory if the machine has such a file system. */
  readonly folder: string;
  /** Cores of the two ends, or null. */
  readonly cores: { server: number; client: number } | null;
  /** UCX settings that both sides had. */
  readonly ucxSettings: Record<string, string> = {};
  #agents = new Map<string, Promise<Agent>>();

  private constructor(tools: Tools, cores: { server: number; client: number } | null, folder: string) {
    this.tools = tools;
    this.cores = cores;
    this.folder = folder;
  }

  /** A workbench with no process yet. */
  static async create(tools: Tools, cores: { server: number; client: number } | null): Promise<Workbench> {
    const shared = await Deno.stat("/dev/shm").then((info) => info.isDirectory, () => false);
    const folder = await Deno.makeTempDir({ prefix: "dipc-bench-", ...(shared ? { dir: "/dev/shm" } : {}) });
    return new Workbench(tools, cores, folder);
  }

  /** The process of a role, started when it is first used. */
  agent(role: Role, variant: AgentVariant = {}): Promise<Agent> {
    const name = [role, variant.tls, variant.index, variant.pinned === false ? "unpinned" : undefined]
      .filter((part) => part !== undefined).join("-");
    let agent = this.#agents.get(name);
    if (!agent) {
      const core = variant.pinned === false
        ? undefined
        : role.endsWith("server")
        ? this.cores?.server
        : this.cores?.client;
      const ours = role === "server" || role === "client" || role === "gateway";
      if (!ours && this.tools.python === null) throw new Error("Python with pyarrow is missing");
      agent = Agent.start({
        name,
        command: ours ? Deno.execPath() : this.tools.python!.path,
        args: ours
          ? ["run", "-A", "--no-prompt", ...this.tools.denoArgs, import.meta.resolve(`./our_${role}.ts`)]
          : [this.tools.peerScript, role],
        env: ours
          ? { DIPC_LIBUCP: this.tools.libucp.path, ...(variant.tls ? { UCX_TLS: variant.tls } : {}) }
          : variant.packages === undefined
          ? {}
          : { PYTHONPATH: variant.packages },
        core,
      });
      this.#agents.set(name, agent);
    }
    return agent;
  }

  /** Gives a command to the process of a role. */
  async call(role: Role, command: Answer, variant?: AgentVariant): Promise<Answer> {
    return await (await this.agent(role, variant)).call(command);
  }

  /** Has a client fetch something. */
  async fetch(role: Role, command: Answer, variant?: AgentVariant): Promise<Fetched> {
    return await this.call(role, command, variant) as unknown as Fetched;
  }

  /**
   * One run of `ucx_perftest`, in bytes a second.
   *
   * @param settings UCX settings of our server
   */
  perftest(bytes: number, count: number, settings: Record<string, string>): Promise<number> {
    const perftest = this.tools.perftest;
    if (perftest === null) throw new Error("ucx_perftest is missing");
    // The library restricts a loopback server to this device by other means than the environment.
    const quiet = { UCX_LOG_FILE: "stderr", UCX_LOG_LEVEL: "error" };
    const env = { UCX_NET_DEVICES: "lo", ...quiet, ...settings, ...perftest.env };
    if (settings.UCX_TLS !== "tcp") Object.assign(this.ucxSettings, { UCX_NET_DEVICES: "lo", ...settings });
    return tagBandwidth({ path: perftest.path, bytes, count, env, cores: this.cores });
  }

  /** Ends all processes and removes the folder. */
  async close(): Promise<void> {
    for (const agent of this.#agents.values()) await agent.then((agent) => agent.stop(), () => {});
    this.#agents.clear();
    await Deno.remove(this.folder, { recursive: true }).catch(() => {});
  }
}
