/**
 * The client of the protocol in C, compiled here for a version of UCX.
 *
 * @module
 */
import { assert } from "@std/assert";
import { findPeers, PEER_ADVICE, type UcxInstallation } from "../../../tools/peers.ts";
import type { Need } from "../../support/needs.ts";
import { ROOT } from "../../support/paths.ts";
import { Running } from "../../support/processes.ts";

const peers = findPeers();

/** The UCX that `label` names, as the tests know them. */
function installation(label: string): UcxInstallation | null {
  return label === peers.olderUcx?.version ? peers.olderUcx : peers.ucx;
}

/** What compiling for a version of UCX needs. */
export function needsCClient(label: string): Need[] {
  return [
    { what: "a C compiler", present: peers.compiler !== null, how: PEER_ADVICE.compiler },
    { what: `the headers of UCX ${label}`, present: !!installation(label)?.include, how: PEER_ADVICE.ucx },
  ];
}

/** Compiles the client for a version of UCX into `folder`. @returns its path */
export async function compileCClient(label: string, folder: string): Promise<string> {
  return await compileUcxProgram(label, "ucx_client.c", folder);
}

/** Compiles a program of `native/` for a version of UCX into `folder`. @returns its path */
export async function compileUcxProgram(label: string, source: string, folder: string): Promise<string> {
  const { include, library } = installation(label)!;
  const program = `${folder}/${source.replace(/^.*\//, "").replace(".c", "")}-${label}`;
  const { success, stderr } = await new Deno.Command(peers.compiler!, {
    args: [
      ...["-O1", "-Wall", "-Wextra", "-Werror", "-isystem", include!, "-o", program],
      ...[`${ROOT}/native/${source}`, library, `${folderOf(library)}/libucs.so.0`],
    ],
    env: { LD_LIBRARY_PATH: folderOf(library) },
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return program;
}

/** Starts such a program. */
export function startUcxProgram(
  { program, label, args, env = {} }: {
    program: string;
    label: string;
    args: readonly string[];
    env?: Record<string, string>;
  },
): Running {
  const started = performance.now();
  const child = new Deno.Command(program, {
    args: [...args],
    env: { LD_LIBRARY_PATH: folderOf(installation(label)!.library), UCX_LOG_LEVEL: "error", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  return new Running(child, started, 60_000);
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

/** What the client reports. */
export interface CClientReport {
  batches?: number;
  bytes?: number;
  sum?: string;
  error?: string;
}

/** Starts the client on the URIs of a dataset: one, or metadata and bodies. */
export function startCClient(
  { program, label, mode, uris, env = {} }: {
    program: string;
    label: string;
    mode: "none" | "peer";
    uris: readonly string[];
    env?: Record<string, string>;
  },
): Running {
  const [first, second] = uris.map((uri) => new URL(uri.replace("ucx:", "http:")));
  const want = (url: URL): string => url.searchParams.get("want_data")!;
  const args = [mode, first.hostname, first.port, want(first), first.pathname.slice(1)];
  if (second !== undefined) args.push(second.port, want(second));
  return startUcxProgram({ program, label, args, env });
}
