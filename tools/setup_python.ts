/**
 * Finds the Python that peers are fetched with.
 *
 * @module
 */
import { findCommand } from "./peer_places.ts";
import { Unavailable } from "./setup_run.ts";

/** A Python that the pinned packages support. */
export async function findPython(): Promise<string> {
  const tried: string[] = [];
  for (const name of ["python3", "python3.13", "python3.12", "python3.11"]) {
    if (findCommand(name) === null) continue;
    const { stdout } = await new Deno.Command(name, {
      args: ["-c", "import sys; print(*sys.version_info[:2])"],
      stderr: "null",
    }).output();
    const [major, minor] = new TextDecoder().decode(stdout).trim().split(" ").map(Number);
    if (major === 3 && minor >= 11) return name;
    tried.push(`${name} is ${major}.${minor}`);
  }
  throw new Unavailable(
    tried.length > 0 ? `${tried.join(", ")}, needed is 3.11 or newer` : "there is no python3 in PATH",
  );
}
