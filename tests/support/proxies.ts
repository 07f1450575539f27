/**
 * Debian's nginx and HAProxy before a gRPC server, each started by the test with a configuration of its own.
 *
 * @module
 */
import type { Proxies } from "../../tools/peers.ts";
import { TemporaryFolder } from "./paths.ts";
import { unusedPort } from "./ports.ts";
import { haproxyConfiguration, nginxConfiguration, type ProxyOptions } from "./proxy_configuration.ts";
import { until } from "./time.ts";

export type { ProxyOptions } from "./proxy_configuration.ts";

/** Names of the proxies. */
export type ProxyName = "nginx" | "haproxy";

/** Both proxies. */
export const PROXY_NAMES: readonly ProxyName[] = ["nginx", "haproxy"];

/** A running proxy. */
export class Proxy implements AsyncDisposable {
  readonly port: number;
  /** URI for clients. */
  readonly location: string;
  readonly #child: Deno.ChildProcess;
  readonly #folder: TemporaryFolder;
  readonly #stderr: Promise<string>;
  #hasEnded = false;

  constructor(port: number, isSecure: boolean, child: Deno.ChildProcess, folder: TemporaryFolder) {
    this.port = port;
    this.location = `${isSecure ? "grpc+tls" : "grpc"}://127.0.0.1:${port}`;
    this.#child = child;
    this.#folder = folder;
    this.#stderr = new Response(child.stderr).text();
    child.status.then(() => this.#hasEnded = true);
  }

  /** Waits until it listens. */
  async listening(): Promise<void> {
    await until(() => this.#hasEnded || accepts(this.port));
    if (this.#hasEnded) throw new Error(`the proxy did not start: ${await this.#stderr}`);
  }

  /** HAProxy's table of its servers: a row of named fields for each; of the frontend and the backend too. */
  async statistics(): Promise<Record<string, string>[]> {
    using socket = await Deno.connect({ transport: "unix", path: this.#folder.file("statistics") });
    await socket.write(new TextEncoder().encode("show stat\n"));
    const text = await new Response(socket.readable).text();
    const [heading, ...rows] = text.replace(/^# /, "").trim().split("\n").map((line) => line.split(","));
    return rows.map((row) => Object.fromEntries(heading.map((name, i) => [name, row[i]])));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#hasEnded) this.#child.kill("SIGKILL");
    await this.#child.status;
    await this.#stderr;
    this.#folder[Symbol.dispose]();
  }
}

/** Starts a proxy, and waits until it listens. */
export async function startProxy(name: ProxyName, proxies: Proxies, options: ProxyOptions): Promise<Proxy> {
  const folder = new TemporaryFolder();
  const port = unusedPort();
  const file = folder.file(`${name}.conf`);
  const text = name === "nginx"
    ? nginxConfiguration(folder, port, proxies.streamModule, options)
    : haproxyConfiguration(folder, port, options);
  Deno.writeTextFileSync(file, text);
  const args = name === "nginx" ? ["-p", folder.file(""), "-e", "stderr", "-c", file] : ["-db", "-f", file];
  const child = new Deno.Command(proxies[name], { args, env: { ...proxies.env }, stdout: "null", stderr: "piped" })
    .spawn();
  const isSecure = options.tls !== undefined || options.passes === "tls";
  const proxy = new Proxy(port, isSecure, child, folder);
  try {
    await proxy.listening();
  } catch (error) {
    await proxy[Symbol.asyncDispose]();
    throw error;
  }
  return proxy;
}

async function accepts(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch {
    return false;
  }
}
