/**
 * Runs cases of the field, small programs that play a user, a peer or a machine, against this checkout, and prints a table of what
 * each found. The cases are not part of the repository: name their folder.
 *
 *   deno task cases FOLDER [NAME]…
 *
 * @module
 */
import { findPeers } from "./peers.ts";
import { dipc, serve } from "../tests/support/processes.ts";
import { writeWideFile } from "../tests/support/cli_data.ts";

/** What the cases share. */
interface Bench {
  /** Folder of the cases. */
  readonly cases: string;
  /** A folder that is removed afterwards. */
  readonly folder: string;
  /** A program that runs `dipc` from this checkout. */
  readonly command: string;
  /** A small Arrow stream. */
  readonly stream: string;
}

interface Found {
  readonly ok: boolean;
  readonly seen: string;
}

type Case = (bench: Bench) => Promise<Found>;

const ROOT = new URL("..", import.meta.url).pathname;
const python = findPeers().python ?? "python3";

async function run(program: string, args: readonly string[], options: Deno.CommandOptions = {}): Promise<string> {
  const { stdout, stderr } = await new Deno.Command(program, { ...options, args: [...args] }).output();
  const decoder = new TextDecoder();
  return decoder.decode(stdout) + decoder.decode(stderr);
}

/** A Python case that is given the command and a file; its output must match. */
function machine(name: string, right: RegExp): Case {
  return async ({ cases, command, stream }) => {
    const seen = await run(python, [`${cases}/${name}.py`, command, stream]);
    return { ok: right.test(seen), seen };
  };
}

const CASES: Readonly<Record<string, Case>> = {
  ipc_09_same_bridge_address: machine("ipc_09_same_bridge_address", /exit status found: 0/),
  ipc_10_no_shared_memory_left: machine("ipc_10_no_shared_memory_left", /found: it serves|shmmni|UCX_TLS=tcp/),
  async ipc_11_another_user({ cases, folder, stream }) {
    const seen = await run(python, [`${cases}/ipc_11_another_user.py`, await copyForEveryone(folder), stream]);
    return { ok: /found: 0/.test(seen), seen };
  },
  async ipc_12_child_holds_the_sockets({ cases, stream }) {
    const args = ["run", "-A", "--config", `${ROOT}deno.json`, `${cases}/ipc_12_child_holds_the_sockets.ts`, stream];
    const seen = [await run(Deno.execPath(), args), await run(Deno.execPath(), args)].join("");
    return { ok: seen.match(/found: 0/g)?.length === 2, seen };
  },
  async flight_06_wildcard_location({ cases, stream }) {
    const seen: string[] = [];
    for (const address of ["0.0.0.0", "::"]) {
      await using server = await serve([stream, "--address", address, "--flight-port", "0"]);
      const port = server.info.flight!.split(":").at(-1)!;
      seen.push((await run(python, [`${cases}/flight_06_wildcard_location.py`, port])).trim());
    }
    return { ok: seen.every((text) => text === "OK"), seen: seen.join(" ") };
  },
  async one_process({ cases, folder }) {
    const file = `${folder}/one.arrow`;
    writeWideFile(file, 512);
    const program = `${cases}/one_process.ts`;
    const seen = await run(Deno.execPath(), ["run", "-A", "--config", `${ROOT}deno.json`, program, file], {
      cwd: ROOT,
    });
    const rates = [...seen.matchAll(/([\d.]+) GB\/s/g)].map((match) => Number(match[1]));
    // 0.25 GB/s when the progress loop kept the other side waiting; half of what two processes reach here is right.
    return { ok: Math.max(...rates) >= 2, seen };
  },
};

/** Writes a program that runs the command. @returns its path */
async function makeCommand(
  path: string,
  { deno = Deno.execPath(), root = ROOT, env = {} }: { deno?: string; root?: string; env?: Record<string, string> } =
    {},
): Promise<string> {
  const words = [deno, "run", "-A", "--quiet", "--no-check", "--config", `${root}deno.json`, `${root}cli.ts`];
  const exports = Object.entries(env).map(([name, value]) => `export ${name}='${value}'\n`).join("");
  await Deno.writeTextFile(path, `#!/bin/sh\n${exports}exec ${words.map((word) => `'${word}'`).join(" ")} "$@"\n`);
  await Deno.chmod(path, 0o755);
  return path;
}

/** A copy of Deno, of this checkout and of UCX that every user may read. @returns path of the command */
async function copyForEveryone(folder: string): Promise<string> {
  const root = `${folder}/checkout/`;
  await Deno.mkdir(`${root}tools`, { recursive: true });
  await Deno.copyFile(Deno.execPath(), `${folder}/deno`);
  const names = ["mod.ts", "cli.ts", "cuda.ts", "flight.ts", "deno.json", "deno.lock", "src", "ffi", "tools/std"];
  for (const name of names) await run("cp", ["-r", `${ROOT}${name}`, `${root}${name}`]);
  const library = findPeers().ucx!.library;
  await run("cp", ["-r", library.slice(0, library.lastIndexOf("/")), `${folder}/ucx`]);
  const env = { HOME: folder, DENO_DIR: `${folder}/cache`, DIPC_LIBUCP: `${folder}/ucx/${library.split("/").at(-1)}` };
  const command = await makeCommand(`${folder}/dipc-for-everyone`, { deno: `${folder}/deno`, root, env });
  await run(command, ["--version"]); // fills the cache
  await run("chmod", ["-R", "a+rwX", folder]);
  return command;
}

async function main([cases, ...names]: string[]): Promise<number> {
  if (cases === undefined) {
    console.error("usage: deno task cases FOLDER [NAME]…");
    return 2;
  }
  const folder = await Deno.makeTempDir();
  try {
    await Deno.chmod(folder, 0o755);
    const stream = `${folder}/x.arrows`;
    writeWideFile(stream, 4);
    await dipc(["--version"]); // fills Deno's cache
    const bench: Bench = {
      cases: await Deno.realPath(cases),
      folder,
      command: await makeCommand(`${folder}/dipc`),
      stream,
    };
    let failed = 0;
    for (const [name, play] of Object.entries(CASES)) {
      if (names.length > 0 && !names.includes(name)) continue;
      const { ok, seen } = await play(bench);
      if (!ok) failed++;
      console.log(`${ok ? "right" : "WRONG"}  ${name.padEnd(32)}  ${seen.trim().replace(/\s*\n\s*/g, " | ")}`);
    }
    return failed === 0 ? 0 : 1;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
