/**
 * The shape of the package: imports point down, no file imports itself over others, and every file is used.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { cyclesOf, filesBelow, type ImportGraph, importGraph, roomGraph, roomOf } from "../tools/import_graph.ts";
import { floorsOf, linesOf, VOCABULARY } from "../tools/layers.ts";

/** The rooms of `src/`, and of `ffi/`. A new one is a decision: say here what it may never know. */
const ROOMS = [
  ...[
    "adbc",
    "c_data",
    "cli",
    "device",
    "duckdb",
    "duckdb_sql",
    "ffi",
    "flight",
    "flight_sql",
    "formats",
    "gateway",
    "grpc",
    "http2",
    "ipc",
    "memory",
    "protocol",
    "routes",
    "serving",
  ],
  ...["sources", "stream", "telemetry", "wire"],
];

/** Arrows that must never be, room by room. */
const NEVER: Readonly<Record<string, readonly string[]>> = {
  ffi: ROOMS,
  memory: ROOMS.filter((room) => room !== "ffi"),
  ipc: ROOMS.filter((room) => room !== "memory"),
  c_data: ROOMS.filter((room) => room !== "ipc" && room !== "memory" && room !== "ffi"),
  adbc: ROOMS.filter((room) => !["c_data", "sources", "ipc", "memory", "ffi"].includes(room)),
  duckdb: ROOMS.filter((room) => !["c_data", "sources", "ipc", "memory", "ffi"].includes(room)),
  duckdb_sql: ["flight", "http2", "routes", "serving", "wire", "protocol", "device", "cli"],
  telemetry: ROOMS,
  protocol: ROOMS.filter((room) => room !== "ipc"),
  http2: ROOMS,
  grpc: ROOMS.filter((room) => !["http2", "memory", "ffi", "telemetry"].includes(room)),
  flight: ["flight_sql", "routes", "serving", "wire", "protocol", "device", "cli", "ffi"],
  flight_sql: ["duckdb", "duckdb_sql", "serving", "wire", "protocol", "device", "cli", "ffi", "http2"],
  wire: ["ipc", "stream", "sources", "formats", "flight", "routes", "serving", "device", "cli"],
  sources: ["wire", "protocol", "stream", "flight", "routes", "serving", "device", "cli"],
  formats: ["wire", "protocol", "stream", "flight", "routes", "serving", "device", "cli"],
  stream: ["flight", "grpc", "http2", "routes", "serving", "device", "formats", "cli", "ffi"],
  routes: ["flight_sql", "serving", "device", "sources", "formats", "cli", "ffi", "http2"],
  device: ["serving", "flight", "grpc", "http2", "formats", "cli"],
  serving: ["routes", "cli", "ffi", "http2"],
  gateway: ["routes", "device", "formats", "cli", "ffi", "http2"],
};

/**
 * What a URI given to `connect` passes, each file once: the call, the choice, the route, and from there the wire. `routes/flight`
 * comes back to `routes/ucx` for locations of UCX, by way of `endpoint_input`.
 */
const WAY_OF_A_URI = [
  "src/connect.ts",
  "src/routes/choose.ts",
  "src/routes/ucx.ts",
  "src/wire/ucx/shared.ts",
  "src/wire/ucx/transport.ts",
  "src/wire/ucx/channel.ts",
];

const graph: ImportGraph = await importGraph();

Deno.test("no file and no room imports itself over others, types and lazy imports counted", () => {
  assertEquals(cyclesOf(graph), []);
  const rooms = roomGraph(graph);
  assertEquals(cyclesOf(rooms), []);
});

Deno.test("a circle is found, also one over types", () => {
  const circle = new Map([["a", new Set(["b"])], ["b", new Set(["c"])], ["c", new Set(["a", "d"])], [
    "d",
    new Set<string>(),
  ]]);
  assertEquals(cyclesOf(circle), [["a", "b", "c"]]);
  assertEquals(cyclesOf(new Map([["a", new Set(["a"])]])), [["a"]]);
});

Deno.test("the arrows that must never be are not there", () => {
  const found: string[] = [];
  for (const [file, targets] of graph) {
    for (const target of targets) {
      if (NEVER[roomOf(file)]?.includes(roomOf(target)) && roomOf(file) !== roomOf(target)) {
        found.push(`${file} → ${target}`);
      }
    }
  }
  assertEquals(found, []);
});

Deno.test("the rooms are those that are known, and the list of them has their lines", () => {
  const folders = [...Deno.readDirSync(new URL("../src", import.meta.url))].filter(({ isDirectory }) => isDirectory);
  assertEquals([...folders.map(({ name }) => name), "ffi"].sort(), [...ROOMS].sort());
  const lines = linesOf(graph);
  for (const floor of floorsOf(roomGraph(graph)).reverse()) {
    console.log(floor.map((room) => `${room} ${lines.get(room)}`).join(" · "));
  }
  console.log(`for every room: ${[...VOCABULARY].filter((room) => lines.has(room)).join(", ")}`);
});

Deno.test("the vocabulary of all rooms imports nothing but itself", () => {
  for (const [file, targets] of graph) {
    if (!VOCABULARY.has(roomOf(file))) continue;
    assertEquals([...targets].filter((target) => !VOCABULARY.has(roomOf(target))), [], file);
  }
});

Deno.test("every file of src and ffi is reachable from an entry point", () => {
  const unused = [...filesBelow("src"), ...filesBelow("ffi")].filter((file) => !graph.has(file));
  assertEquals(unused, []);
});

Deno.test("what a file exports is used by another file", () => {
  const files = new Map([...graph.keys(), ...["tests", "tools", "bench"].flatMap(filesBelow)].map((file) => [
    file,
    Deno.readTextFileSync(new URL(`../${file}`, import.meta.url)),
  ]));
  const unused: string[] = [];
  for (const file of [...filesBelow("src"), ...filesBelow("ffi")]) {
    if (file.includes("/gen/")) continue;
    for (const [, name] of files.get(file)!.matchAll(/^export (?:async )?(?:function\*?|const|let) (\w+)/gm)) {
      const word = new RegExp(`\\b${name}\\b`);
      if (![...files].some(([other, text]) => other !== file && word.test(text))) unused.push(`${file}: ${name}`);
    }
  }
  // `workerModule`, named here, is for `deno compile` alone.
  assertEquals(unused, []);
});

Deno.test("one module chooses the route of a URI, and the way from connect to the wire is known", () => {
  for (const [i, file] of WAY_OF_A_URI.entries()) {
    const next = WAY_OF_A_URI[i + 1];
    assert(graph.has(file), `${file} is gone: which file has its part?`);
    if (next !== undefined) assert(graph.get(file)!.has(next), `${file} does not lead to ${next} any more`);
  }
  console.log(WAY_OF_A_URI.join(" → "));
  const choosers = [...graph].filter(([, targets]) => targets.has("src/routes/flight.ts")).map(([file]) => file);
  assertEquals(choosers, ["src/routes/choose.ts"]);
});

/*
 * Such a call may still be under way when its isolate has ended, a web worker's or the program's own, and with it all memory of
 * JavaScript. What it writes then may overwrite something else.
 */
Deno.test("no call on another thread is given memory of JavaScript", () => {
  const calls = [...filesBelow("src"), ...filesBelow("ffi")].flatMap((file) => {
    const text = Deno.readTextFileSync(new URL(`../${file}`, import.meta.url));
    return [...text.matchAll(/\{[^{}]*\bnonblocking: true[^{}]*\}/g)].map(([call]) => ({ file, call }));
  });
  assert(calls.length > 20, `${calls.length} were found`);
  assertEquals(calls.filter(({ call }) => call.includes('"buffer"')), []);
});
