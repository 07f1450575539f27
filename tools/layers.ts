/**
 * `deno run -A tools/layers.ts [--check]`: draws the layers of the package from its imports, between the two marker lines in
 * CONTRIBUTING.md.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { filesBelow, type ImportGraph, importGraph, roomGraph, roomOf } from "./import_graph.ts";
import { REPOSITORY } from "./repository.ts";

const PAGE = `${REPOSITORY}/CONTRIBUTING.md`;
const BEGIN = "<!-- layers: begin -->", END = "<!-- layers: end -->";
/** Files that every room may import; an arrow to them says nothing. */
export const VOCABULARY: ReadonlySet<string> = new Set([
  ...["errors", "limits", "options", "bytes", "text", "deadline", "patience", "permissions", "events"],
]);
/** Not part of the package, or not code. */
const APART = new Set(["deno.json", "tools"]);

/** Lines of each room. */
export function linesOf(graph: ImportGraph): Map<string, number> {
  const lines = new Map<string, number>();
  const files = new Set([...graph.keys(), ...filesBelow("src"), ...filesBelow("ffi")]);
  for (const file of files) {
    const count = Deno.readTextFileSync(`${REPOSITORY}/${file}`).split("\n").length - 1;
    lines.set(roomOf(file), (lines.get(roomOf(file)) ?? 0) + count);
  }
  return lines;
}

/** The rooms from the ground floor up: each stands on the floor above the highest that it imports. */
export function floorsOf(rooms: ReadonlyMap<string, ReadonlySet<string>>): string[][] {
  const floor = new Map<string, number>();
  const floorOf = (room: string): number => {
    let known = floor.get(room);
    if (known === undefined) {
      const below = [...rooms.get(room) ?? []].filter((each) => rooms.has(each) && !VOCABULARY.has(each));
      known = below.reduce((highest, each) => Math.max(highest, floorOf(each) + 1), 0);
      floor.set(room, known);
    }
    return known;
  };
  const floors: string[][] = [];
  for (const room of [...rooms.keys()].sort()) {
    if (!VOCABULARY.has(room) && !APART.has(room)) (floors[floorOf(room)] ??= []).push(room);
  }
  return floors;
}

/** The drawing: the highest floor first, each room with its lines and what it imports. */
export function drawing(graph: ImportGraph): string {
  const rooms = roomGraph(graph);
  const lines = linesOf(graph);
  const shown = (room: string): string =>
    [...rooms.get(room) ?? []].filter((each) => !VOCABULARY.has(each) && !APART.has(each)).sort().join(" ");
  const names = [...rooms.keys()].filter((room) => !APART.has(room));
  const width = Math.max(...names.map((name) => name.length));
  const rows = floorsOf(rooms).reverse().flatMap((floor) => [
    ...floor.map((room) => `${room.padEnd(width)}  ${`${lines.get(room)}`.padStart(5)}  ${shown(room)}`.trimEnd()),
    "-".repeat(width + 7),
  ]);
  const vocabulary = [...VOCABULARY].filter((room) => rooms.has(room)).sort();
  const total = vocabulary.reduce((sum, room) => sum + lines.get(room)!, 0);
  return [
    "room".padEnd(width) + "  lines  imports",
    "-".repeat(width + 7),
    ...rows,
    `${vocabulary.join(" ")}: ${total} lines, for every room`,
  ].join("\n");
}

/** A page with the drawing in its place. */
export function withDrawing(page: string, text: string): string {
  const from = page.indexOf(BEGIN), to = page.indexOf(END);
  if (from < 0 || to < from) throw new Error(`CONTRIBUTING.md needs the lines ${BEGIN} and ${END}`);
  return `${page.slice(0, from)}${BEGIN}\n\n\`\`\`text\n${text}\n\`\`\`\n\n${page.slice(to)}`;
}

if (import.meta.main) {
  const args = parseArgs(Deno.args, { boolean: ["check"] });
  const page = await Deno.readTextFile(PAGE);
  const wanted = withDrawing(page, drawing(await importGraph()));
  if (page === wanted) Deno.exit(0);
  if (args.check) {
    console.error("the drawing in CONTRIBUTING.md is not that of the imports: run deno task layers");
    Deno.exit(1);
  }
  await Deno.writeTextFile(PAGE, wanted);
}
