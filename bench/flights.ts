/**
 * US flights as Parquet (3,000,000 rows, US government data), taken from the npm package `vega-datasets` and kept in the
 * user's cache folder.
 *
 * @module
 */
import { createHash } from "node:crypto";

const PACKAGE = "vega-datasets/-/vega-datasets-3.2.1.tgz";
const MEMBER = "package/data/flights-3m.parquet";
const SHA256 = "dbeb920c90f59b6ccaff823dcc3d08f25a97fa1ce128d93f40be4e931f5900b0";

/**
 * The path of the file, fetched when it is not there yet.
 *
 * @throws {Error} where it cannot be fetched or is not the pinned file
 */
export async function flightsParquet(): Promise<string> {
  const cache = Deno.env.get("XDG_CACHE_HOME") || `${Deno.env.get("HOME") || "/tmp"}/.cache`;
  const folder = `${cache}/dipc/data`;
  const path = `${folder}/flights-3m.parquet`;
  const kept = await Deno.readFile(path).catch(() => null);
  if (kept !== null && sha256(kept) === SHA256) return path;

  const registry = (Deno.env.get("NPM_CONFIG_REGISTRY") || "https://registry.npmjs.org").replace(/\/$/, "");
  const url = `${registry}/${PACKAGE}`;
  console.error(`fetching ${url} (18 MB) for its ${MEMBER}`);
  const response = await fetch(url);
  if (!response.ok || response.body === null) throw new Error(`${url}: HTTP ${response.status}`);
  const tar = await new Response(response.body.pipeThrough(new DecompressionStream("gzip"))).bytes();
  const bytes = tarMember(tar, MEMBER);
  if (sha256(bytes) !== SHA256) throw new Error(`${url}: ${MEMBER} is not the expected file`);
  await Deno.mkdir(folder, { recursive: true });
  const partial = `${path}.${Deno.pid}`;
  await Deno.writeFile(partial, bytes);
  await Deno.rename(partial, path);
  return path;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The bytes of one file of a tar archive (POSIX ustar: 512-byte headers, size in octal at 124). */
function tarMember(tar: Uint8Array, name: string): Uint8Array {
  const text = (from: number, length: number) =>
    new TextDecoder().decode(tar.subarray(from, from + length)).replace(/\0.*$/s, "");
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0;) {
    const size = parseInt(text(at + 124, 12), 8);
    if (!(size >= 0)) break;
    if (text(at, 100) === name) return tar.subarray(at + 512, at + 512 + size);
    at += 512 + Math.ceil(size / 512) * 512;
  }
  throw new Error(`the archive has no ${name}`);
}
