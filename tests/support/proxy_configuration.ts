/**
 * The configurations of nginx and HAProxy for tests.
 *
 * @module
 */
import type { TemporaryFolder } from "./paths.ts";

/** How a proxy behaves. */
export interface ProxyOptions {
  /** Port of the server behind it. */
  readonly backend: number;
  /** Port of a second server behind HAProxy, which takes turns with the first. */
  readonly secondBackend?: number;
  /** Calls after which nginx ends a client's connection. */
  readonly keepaliveRequests?: number;
  /** Concurrent streams that it accepts on one connection. */
  readonly maxStreams?: number;
  /** Longest time in which the server must say something, in seconds. */
  readonly readTimeout?: number;
  /** Largest body of a request that nginx passes on, in bytes; 0 for any. */
  readonly maxBody?: number;
  /** Certificates, PEM, with which it ends its clients' TLS; with `clientCa` it demands one of them. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly clientCa?: string };
  /** Passes connections on as they are, with TLS in them or without. */
  readonly passes?: "plain" | "tls";
  /** Whether HAProxy probes the server by connecting, every 20 ms. */
  readonly hasProbes?: boolean;
  /** Further lines for nginx before its server. */
  readonly nginxLines?: readonly string[];
  /** Further lines for HAProxy's servers. */
  readonly backendLines?: readonly string[];
  /** Further lines for the server of nginx, or the frontend of HAProxy. */
  readonly lines?: readonly string[];
}

/** The file for nginx. */
export function nginxConfiguration(
  folder: TemporaryFolder,
  port: number,
  streamModule: string,
  options: ProxyOptions,
): string {
  const main = `daemon off;
master_process off;
pid ${folder.file("pid")};
events { worker_connections 512; }
`;
  if (options.passes === undefined) return main + nginxCalls(folder, port, options);
  return `load_module ${streamModule};
${main}stream {
  server { listen 127.0.0.1:${port}; proxy_pass 127.0.0.1:${options.backend}; }
}
`;
}

function nginxCalls(folder: TemporaryFolder, port: number, options: ProxyOptions): string {
  const { backend, keepaliveRequests = 1000, maxStreams = 128, readTimeout = 60, maxBody = 0 } = options;
  const { nginxLines = [], lines = [], tls } = options;
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) =>
    `${name}_temp_path ${folder.file(name)};`
  );
  return `http {
  access_log off;
  ${[...temporary, ...nginxLines].join("\n  ")}
  client_max_body_size ${maxBody};
  keepalive_requests ${keepaliveRequests};
  http2_max_concurrent_streams ${maxStreams};
  upstream flight { server 127.0.0.1:${backend}; keepalive 16; keepalive_requests 1000000; }
  server {
    listen 127.0.0.1:${port} ${tls === undefined ? "" : "ssl "}http2;
    ${[...nginxCertificates(folder, tls), ...lines].join("\n    ")}
    location / { grpc_pass grpc://flight; grpc_read_timeout ${readTimeout}s; grpc_send_timeout ${readTimeout}s; }
  }
}
`;
}

function nginxCertificates(folder: TemporaryFolder, tls: ProxyOptions["tls"]): string[] {
  if (tls === undefined) return [];
  const lines = [
    `ssl_certificate ${written(folder, "cert", tls.cert)};`,
    `ssl_certificate_key ${written(folder, "key", tls.key)};`,
  ];
  if (tls.clientCa !== undefined) {
    lines.push(`ssl_client_certificate ${written(folder, "ca", tls.clientCa)};`, "ssl_verify_client on;");
  }
  return lines;
}

/** The file for HAProxy. */
export function haproxyConfiguration(folder: TemporaryFolder, port: number, options: ProxyOptions): string {
  const { maxStreams = 128, readTimeout = 60, lines = [], backendLines = [] } = options;
  return `global
  maxconn 512
  tune.h2.max-concurrent-streams ${maxStreams}
  stats socket ${folder.file("statistics")}
defaults
  mode ${options.passes === undefined ? "http" : "tcp"}
  timeout connect 2s
  timeout client ${readTimeout}s
  timeout server ${readTimeout}s
frontend flight
  bind 127.0.0.1:${port} ${haproxyProtocol(folder, options)}
  ${lines.join("\n  ")}
  default_backend servers
backend servers
  ${[...backendLines, ...haproxyServers(options)].join("\n  ")}
`;
}

function haproxyProtocol(folder: TemporaryFolder, { passes, tls }: ProxyOptions): string {
  if (passes !== undefined) return "";
  if (tls === undefined) return "proto h2";
  const verify = tls.clientCa === undefined ? "" : ` ca-file ${written(folder, "ca", tls.clientCa)} verify required`;
  return `ssl crt ${written(folder, "certified", tls.cert + tls.key)} alpn h2${verify}`;
}

function haproxyServers({ backend, secondBackend, passes, hasProbes }: ProxyOptions): string[] {
  const more = `${passes === undefined ? " proto h2" : ""}${hasProbes ? " check inter 20ms" : ""}`;
  const ports = secondBackend === undefined ? [backend] : [backend, secondBackend];
  const cookie = (i: number): string => secondBackend === undefined ? "" : ` cookie number${i}`;
  return ports.map((port, i) => `server number${i} 127.0.0.1:${port}${more}${cookie(i)}`);
}

/** Writes a file into a folder; returns its path. */
function written(folder: TemporaryFolder, name: string, text: string): string {
  const path = folder.file(`${name}.pem`);
  Deno.writeTextFileSync(path, text);
  return path;
}
