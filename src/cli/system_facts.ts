/**
 * Facts about this process and machine that explain why a transfer works or does not.
 *
 * @module
 */

import { isGranted } from "../permissions.ts";

/** How much of a permission is granted. */
export type Grant = "granted" | "some paths" | "some variables" | "not granted";

/** What is known without touching UCX. */
export interface SystemFacts {
  /** Operating system and architecture. */
  readonly platform: string;
  /** What is granted of each permission that dipc can use. */
  readonly permissions: Readonly<Record<string, Grant>>;
  /** Variables of the environment that change what dipc or UCX does. */
  readonly settings: Readonly<Record<string, string>>;
  /** Settings that are known to break transfers. */
  readonly warnings: readonly string[];
  /** RDMA devices and GPUs, and what dipc does with them. */
  readonly hardware: readonly string[];
}

/** Settings of UCX that break transfers, and why. */
const HARMFUL: Readonly<Record<string, string>> = {
  UCX_PROTO_ENABLE: "makes one side or the other abort",
  UCX_POSIX_SEG_SIZE: "gives wrong data if it differs between the two sides",
  UCX_RNDV_THRESH: "fails connections if it differs between the two sides",
  UCX_RNDV_SCHEME: "fails connections if it differs between the two sides",
};

const NAMES = [
  "DIPC_LIBCUDA",
  "DIPC_LIBDUCKDB",
  "DIPC_LIBUCP",
  "UCX_TLS",
  "UCX_NET_DEVICES",
  "UCX_LOG_LEVEL",
  ...Object.keys(HARMFUL),
];

/** Collects the facts; those that may not be read are left out. */
export function systemFacts(): SystemFacts {
  const settings = readSettings();
  const warnings = Object.keys(settings)
    .filter((name) => Object.hasOwn(HARMFUL, name))
    .map((name) => `${name} is set, which ${HARMFUL[name]}`);
  const grantOf = (descriptor: Deno.PermissionDescriptor): Grant => isGranted(descriptor) ? "granted" : "not granted";
  // Deno does not report which paths are granted: the working directory stands for all.
  const paths = (name: "read" | "write"): Grant =>
    isGranted({ name }) ? "granted" : isGranted({ name, path: "." }) ? "some paths" : "not granted";
  const library: Grant = grantOf({ name: "env", variable: "DIPC_LIBUCP" });
  return {
    platform: `${Deno.build.os} ${Deno.build.arch}`,
    permissions: {
      ffi: grantOf({ name: "ffi" }),
      read: paths("read"),
      write: paths("write"),
      env: isGranted({ name: "env" }) ? "granted" : library === "granted" ? "some variables" : "not granted",
      "env DIPC_LIBUCP": library,
    },
    settings,
    warnings,
    hardware: [rdma(), gpu()],
  };
}

function readSettings(): Record<string, string> {
  const settings: Record<string, string> = {};
  const names = isGranted({ name: "env" })
    ? Object.keys(Deno.env.toObject())
    : NAMES.filter((variable) => isGranted({ name: "env", variable }));
  for (const name of names.filter((name) => /^(DIPC|UCX)_/.test(name)).sort()) {
    const value = Deno.env.get(name);
    if (value !== undefined) settings[name] = value;
  }
  return settings;
}

function namesIn(folder: string): string[] | null {
  if (!isGranted({ name: "read", path: folder })) return null;
  try {
    return Array.from(Deno.readDirSync(folder), ({ name }) => name).sort();
  } catch {
    return [];
  }
}

function rdma(): string {
  const devices = namesIn("/sys/class/infiniband");
  if (devices === null) return "RDMA unknown (needs --allow-read=/sys/class/infiniband)";
  return devices.length === 0 ? "no RDMA device" : `RDMA: ${devices.join(" ")}`;
}

function gpu(): string {
  const devices = namesIn("/dev")?.filter((name) => /^nvidia\d+$/.test(name));
  if (devices === undefined) return "GPU unknown (needs --allow-read=/dev)";
  return devices.length === 0 ? "no NVIDIA GPU" : `NVIDIA GPU: ${devices.join(" ")}`;
}
