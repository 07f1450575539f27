/**
 * Cases of machines, users and programs: what UCX meets outside a test.
 *
 * @module
 */
import { writeWideFile } from "../../tests/support/cli_data.ts";
import { serve } from "../../tests/support/processes.ts";
import { findPeers } from "../peers.ts";
import { type Case, python, ROOT, run } from "./bench.ts";
import { makeCommand } from "./command.ts";

/** A Python case that is given the command and a file; its output must match. */
function machine(name: string, right: RegExp): Case {
  return async ({ cases, command, stream }) => {
    const seen = await run(python, [`${cases}/${name}.py`, command, stream]);
    return { ok: right.test(seen), seen };
  };
}

/** The cases by their names. */
export const MACHINES: Readonly<Record<string, Case>> = {
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
