/**
 * Conditions that a server and a client may live in: users, namespaces, limits and networks of their own. Most need root.
 *
 * @module
 */
import type { Need } from "../../support/needs.ts";
import { delay } from "../../support/time.ts";
import { dipc, serve, type StartOptions } from "../../support/processes.ts";
import { findCommand } from "../../../tools/peer_places.ts";

/** What runs one side: words before its command, and variables of its environment. */
export type Side = Pick<StartOptions, "within" | "env">;

/** A shell that does something before the command. */
export function after(script: string, within: readonly string[] = []): readonly string[] {
  return [...within, "sh", "-c", `${script} && exec "$@"`, "sh"];
}

/** A user without groups who may open every file, because this program and the cache of Deno are files of ours, and no more. */
export function asUser(id: number): readonly string[] {
  const capability = "+dac_override";
  // The real user stays root: access(2), by which Deno looks into its cache, knows nothing of capabilities otherwise.
  const identity = [`--euid=${id}`, `--regid=${id}`, "--clear-groups"];
  return ["setpriv", ...identity, `--inh-caps=${capability}`, `--ambient-caps=${capability}`];
}

/** What became of one transfer. */
export interface Result {
  /** Exit status of the client. */
  readonly code: number;
  readonly rows?: number;
  readonly transports: readonly string[];
  readonly transportsReason: string;
  /** Bytes of bodies, and how many of them were read in the server's memory. */
  readonly bodyBytes: number;
  readonly sharedBytes: number;
  /** Why the others were not; `null` if nothing is shared. */
  readonly sharingReason: string | null;
  /** The error that the client printed, or the server if it did not start. */
  readonly error: string;
  /** From the start of the client to its end. */
  readonly milliseconds: number;
}

/** Serves a file on one side and fetches it on the other. */
export async function transfer(
  file: string,
  { server = {}, client = {}, address, timeoutSeconds }: {
    server?: Side;
    client?: Side;
    address?: string;
    timeoutSeconds: number;
  },
): Promise<Result> {
  let running;
  try {
    running = await serve([`x=${file}`, ...(address === undefined ? [] : ["--address", address])], server);
  } catch (error) {
    return { ...FAILED, code: 1, error: (error as Error).message };
  }
  await using _ = running;
  return await fetch(running.uri("x"), client, timeoutSeconds);
}

const FAILED = {
  ...{ transports: [], transportsReason: "", milliseconds: 0 },
  ...{ bodyBytes: 0, sharedBytes: 0, sharingReason: null },
};

/** Fetches from a server on one side. */
export async function fetch(uri: string, client: Side, timeoutSeconds: number): Promise<Result> {
  const { code, stdout, stderr, milliseconds } = await dipc(
    ["get", uri, "--json", "--timeout", `${timeoutSeconds}s`],
    client,
  );
  const json = stdout.startsWith("{") ? JSON.parse(stdout) : {};
  return {
    ...FAILED,
    code,
    milliseconds,
    error: stderr.trim(),
    ...json,
    ...(code === 0 ? {} : { error: stderr.trim() }),
  };
}

/** A pair of network namespaces that are joined by one or more wires; removed when disposed. */
export class NetworkPair implements AsyncDisposable {
  readonly names: readonly [string, string];

  constructor(readonly tag: string) {
    this.names = [`dipc-${tag}-a`, `dipc-${tag}-b`];
  }

  /** Makes them, with a wire for each subnet such as `"10.77.0"`: .1 on the first side, .2 on the second. */
  static async make(tag: string, subnets: readonly string[]): Promise<NetworkPair> {
    const pair = new NetworkPair(tag);
    for (const name of pair.names) await ip(["netns", "add", name]);
    const [a, b] = pair.names;
    for (const [index, subnet] of subnets.entries()) {
      const [first, second] = [`wire${index}a`, `wire${index}b`];
      await ip(["link", "add", first, "netns", a, "type", "veth", "peer", "name", second, "netns", b]);
      await pair.#raise(a, first, `${subnet}.1/24`);
      await pair.#raise(b, second, `${subnet}.2/24`);
    }
    for (const name of pair.names) await ip(["-n", name, "link", "set", "lo", "up"]);
    await pair.#ready();
    return pair;
  }

  /** Gives both sides a bridge of their own with the same address, as two hosts with Docker have. */
  async addSameBridge(address: string): Promise<void> {
    for (const name of this.names) {
      // A pair of virtual interfaces: a bridge without members has no carrier, and UCX leaves it out.
      await ip(["-n", name, "link", "add", "docker0", "type", "veth", "peer", "name", "member"]);
      await this.#raise(name, "docker0", address);
      await ip(["-n", name, "link", "set", "member", "up"]);
    }
    await this.#ready();
  }

  /** Words that run a command on one side. */
  on(side: 0 | 1): readonly string[] {
    return ["ip", "netns", "exec", this.names[side]];
  }

  /** Bytes that an interface of one side has received. */
  async receivedBytes(side: 0 | 1, device: string): Promise<number> {
    const text = await ip(["-n", this.names[side], "-s", "-j", "link", "show", "dev", device]);
    return JSON.parse(text)[0].stats64.rx.bytes;
  }

  async #raise(name: string, device: string, address: string): Promise<void> {
    await ip(["-n", name, "addr", "add", address, "dev", device]);
    await ip(["-n", name, "link", "set", device, "up"]);
  }

  /** Waits until every interface can carry data, which takes a moment after it was raised. */
  async #ready(): Promise<void> {
    for (const name of this.names) {
      for (let tries = 0; tries < 100; tries++) {
        const links: { ifname: string; operstate: string }[] = JSON.parse(
          await ip(["-n", name, "-j", "link", "show", "up"]),
        );
        if (links.every(({ ifname, operstate }) => ifname === "lo" || operstate === "UP")) break;
        await delay(20);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of this.names) await ip(["netns", "del", name]).catch(() => {});
  }
}

async function ip(args: readonly string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command("ip", { args: [...args] }).output();
  if (!success) throw new Error(`ip ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}

/** Whether a command succeeds. */
function succeeds(program: string, ...args: string[]): boolean {
  try {
    return new Deno.Command(program, { args, stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

/** Namespaces of this process's own: root, and a kernel that lets it. Nothing that a setup could provide. */
export const needsNamespaces: Need = {
  what: "the right to make namespaces",
  present: Deno.uid() === 0 && succeeds("unshare", "--ipc", "--pid", "--net", "--mount", "--fork", "true"),
  how: "run the tests as root",
  isOptional: true,
};

/** The commands `ip` and `setpriv`. */
export const needsTools: Need = {
  what: "the commands ip and setpriv",
  present: findCommand("ip") !== null && findCommand("setpriv") !== null,
  how: "install iproute2 and util-linux",
  isOptional: true,
};
