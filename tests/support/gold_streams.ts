/**
 * Arrow's gold files in the stream format.
 *
 * @module
 */
import { goldFolder } from "./needs.ts";

/** The streams, which are in a folder for each version that wrote them; none without the folder. */
export function goldStreams(): { name: string; path: string }[] {
  if (goldFolder === null) return [];
  const folders = [...Deno.readDirSync(goldFolder)].filter(({ isDirectory }) => isDirectory);
  return folders.flatMap(({ name: folder }) =>
    [...Deno.readDirSync(`${goldFolder}/${folder}`)].map(({ name }) => `${folder}/${name}`)
  ).filter((name) => name.endsWith(".stream")).sort().map((name) => ({ name, path: `${goldFolder}/${name}` }));
}
