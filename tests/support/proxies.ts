/**
 * Debian's nginx and HAProxy before a gRPC server, each started by the test with a configuration of its own.
 *
 * @module
 */
import type { Proxies } from "../../tools/peers.ts";
import { TemporaryFolder } from "./paths.ts";
import { until } from "./time.ts";

/** Names of the proxies. */
export type ProxyName = "nginx" | "haproxy";

/** How a proxy behaves. */
export interface ProxyOptions {
  /** Port of the server behind it. */
  readonly backend: number;
  /** Calls after which nginx ends a client's connection. */
  readonly keepaliveRequests?: number;
  /** Concurrent streams that it accepts on one connection. */
  readonly maxStreams?: number;
  /** Longest time in which the server must say something, in seconds. */
  readonly readTimeout?: number;
  /** Largest body of a request that nginx passes on, in bytes; 0 for any. */
  readonly maxBody?: number;
  /** Further lines for the server of nginx, or the frontend of HAProxy. */
  readonly lines?: readonly string[];
}

/** A running proxy. */
export class Proxy implements AsyncDisposable {
  readonly port: number;
  /** URI for clients. */
  readonly location: string;
  readonly #child: Deno.ChildProcess;
  readonly #folder: TemporaryFolder;

  constructor(port: number, child: Deno.ChildProcess, folder: TemporaryFolder) {
    this.port = port;
    this.location = `grpc://127.0.0.1:${port}`;
    this.#child = child;
    this.#folder = folder;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
    this.#folder[Symbol.dispose]();
  }
}

/** Starts a proxy, and waits until it listens. */
export async function startProxy(name: ProxyName, proxies: Proxies, options: ProxyOptions): Promise<Proxy> {
  const folder = new TemporaryFolder();
  const port = freePort();
  const file = folder.file(`${name}.conf`);
  Deno.writeTextFileSync(file, name === "nginx" ? nginx(folder, port, options) : haproxy(port, options));
  const args = name === "nginx"
    ? ["-p", folder.file(""), "-e", folder.file("error.log"), "-c", file]
    : ["-db", "-f", file];
  const child = new Deno.Command(proxies[name], { args, env: { ...proxies.env }, stdout: "null", stderr: "null" })
    .spawn();
  const proxy = new Proxy(port, child, folder);
  try {
    await until(() => accepts(port));
  } catch (error) {
    await proxy[Symbol.asyncDispose]();
    throw error;
  }
  return proxy;
}

function nginx(folder: TemporaryFolder, port: number, options: ProxyOptions): string {
  const { backend, keepaliveRequests = 1000, maxStreams = 128, readTimeout = 60, maxBody = 0, lines = [] } = options;
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) =>
    `${name}_temp_path ${folder.file(name)};`
  );
  return `daemon off;
master_process off;
pid ${folder.file("pid")};
events { worker_connections 512; }
http {
  access_log off;
  ${temporary.join("\n  ")}
  client_max_body_size ${maxBody};
  keepalive_requests ${keepaliveRequests};
  http2_max_concurrent_streams ${maxStreams};
  upstream flight { server 127.0.0.1:${backend}; keepalive 16; keepalive_requests 1000000; }
  server {
    listen 127.0.0.1:${port} http2;
    ${lines.join("\n    ")}
    location / { grpc_pass grpc://flight; grpc_read_timeout ${readTimeout}s; grpc_send_timeout ${readTimeout}s; }
  }
}
`;
}

function haproxy(port: number, options: ProxyOptions): string {
  const { backend, maxStreams = 128, readTimeout = 60, lines = [] } = options;
  return `global
  maxconn 512
  tune.h2.max-concurrent-streams ${maxStreams}
defaults
  mode http
  timeout connect 2s
  timeout client ${readTimeout}s
  timeout server ${readTimeout}s
frontend flight
  bind 127.0.0.1:${port} proto h2
  ${lines.join("\n  ")}
  default_backend servers
backend servers
  server only 127.0.0.1:${backend} proto h2
`;
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

async function accepts(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch {
    return false;
  }
}
