/**
 * Which proxy a connection goes through, by the rule of gRPC's own libraries: the variables `grpc_proxy`, `https_proxy` and
 * `http_proxy`, and `no_grpc_proxy` and `no_proxy` for the hosts that are reached directly.
 *
 * @module
 */
import * as net from "node:net";
import { LocalError } from "../errors.ts";

/** The first that is set counts. */
const PROXY_VARIABLES = ["grpc_proxy", "https_proxy", "http_proxy"];
const EXCEPTION_VARIABLES = ["no_grpc_proxy", "no_proxy"];
/** Longest answer of a proxy, in bytes. */
const MAX_ANSWER_BYTES = 16 * 1024;

/** A proxy that opens tunnels (HTTP's CONNECT). */
export interface ProxyAddress {
  /** For messages: the variable and its value, without user and password. */
  readonly shown: string;
  readonly host: string;
  readonly port: number;
  /** Value of `proxy-authorization`, or `null`. */
  readonly authorization: string | null;
}

/**
 * The proxy for a host, or `null` if it is reached directly. Variables that the program may not read are taken as not set.
 *
 * @param host Name or address of the server
 * @param read Reads a variable
 * @throws {DipcError} `invalid_argument` if the variable holds no URI of a proxy
 */
export function proxyFor(host: string, read: (name: string) => string | undefined = readVariable): ProxyAddress | null {
  const variable = PROXY_VARIABLES.find((name) => (read(name) ?? "") !== "");
  if (variable === undefined) return null;
  const exceptions = EXCEPTION_VARIABLES.map(read).find((value) => (value ?? "") !== "") ?? "";
  if (exceptions.split(",").some((entry) => covers(entry.trim(), host))) return null;
  return parseProxy(variable, read(variable)!);
}

/** The request for a tunnel. */
export function connectRequest(proxy: ProxyAddress, host: string, port: number): Uint8Array {
  const authority = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const authorization = proxy.authorization === null ? "" : `proxy-authorization: ${proxy.authorization}\r\n`;
  return new TextEncoder().encode(`CONNECT ${authority} HTTP/1.1\r\nhost: ${authority}\r\n${authorization}\r\n`);
}

/**
 * Reads the answer of a proxy, byte by byte: what follows its headers comes from the server.
 *
 * @param readByte The next byte, or `null` at the end
 * @throws {Error} If there is no tunnel
 */
export async function readTunnelAnswer(
  proxy: ProxyAddress,
  readByte: () => Promise<number | null>,
): Promise<void> {
  let answer = "";
  while (!answer.endsWith("\r\n\r\n")) {
    const byte = answer.length < MAX_ANSWER_BYTES ? await readByte() : null;
    if (byte === null) throw new Error(`the proxy ${proxy.shown} closed the connection without an answer to CONNECT`);
    answer += String.fromCharCode(byte);
  }
  const [line] = answer.split("\r\n");
  if (!/^HTTP\/1\.[01] 2\d\d\b/.test(line)) {
    throw new Error(`the proxy ${proxy.shown} answered ${JSON.stringify(line.slice(0, 100))} to CONNECT`);
  }
}

function parseProxy(variable: string, value: string): ProxyAddress {
  // A value without a scheme is a host with a port.
  const text = /^[a-z][a-z0-9+.-]*:\/\//i.test(value) ? value : `http://${value}`;
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || url.protocol !== "http:" || url.hostname === "") {
    throw new LocalError(
      "invalid_argument",
      `cannot use the variable ${variable}: it is not the URI of an HTTP proxy; give one such as http://127.0.0.1:3128`,
    );
  }
  const user = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return {
    shown: `http://${url.host} (${variable})`,
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? 80 : Number(url.port),
    authorization: user === ":" ? null : `Basic ${new TextEncoder().encode(user).toBase64()}`,
  };
}

/** Whether an entry of the exceptions names a host: the end of its name, its address, or a range of addresses. */
function covers(entry: string, host: string): boolean {
  if (entry === "") return false;
  if (entry === "*") return true;
  const family = net.isIP(host);
  const [address, bits] = entry.split("/");
  if (bits !== undefined) {
    if (family === 0 || net.isIP(address) !== family || !/^\d{1,3}$/.test(bits)) return false;
    const block = new net.BlockList();
    const name = family === 4 ? "ipv4" : "ipv6";
    if (Number(bits) > (family === 4 ? 32 : 128)) return false;
    block.addSubnet(address, Number(bits), name);
    return block.check(host, name);
  }
  return host.toLowerCase().endsWith(entry.toLowerCase());
}

function readVariable(name: string): string | undefined {
  const isAllowed = Deno.permissions.querySync({ name: "env", variable: name }).state === "granted";
  return isAllowed ? Deno.env.get(name) : undefined;
}
