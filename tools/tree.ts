/**
 * Which state the repository's files are in, so that a result can be said to hold for it.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { REPOSITORY } from "./repository.ts";

/**
 * A digest of every file that git knows or does not ignore.
 *
 * @returns `null` if there is no git, or no repository
 */
export async function treeDigest(): Promise<string | null> {
  const hash = createHash("sha256");
  try {
    const { success, stdout } = await new Deno.Command("git", {
      args: ["ls-files", "-z", "--cached", "--others", "--exclude-standard"],
      cwd: REPOSITORY,
      stderr: "null",
    }).output();
    if (!success) return null;
    const names = new Set(new TextDecoder().decode(stdout).split("\0").filter((name) => name !== ""));
    for (const name of [...names].sort()) {
      const bytes = await Deno.readFile(`${REPOSITORY}/${name}`).catch(() => null);
      hash.update(`${name}\0${bytes === null ? "gone" : bytes.byteLength}\0`);
      if (bytes !== null) hash.update(bytes);
    }
  } catch {
    return null;
  }
  return hash.digest("hex");
}
