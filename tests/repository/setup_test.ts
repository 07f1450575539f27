/**
 * `dipc setup` in a machine made up for the test: what it says, what it refuses, what it leaves behind.
 *
 * The download itself is tested by running: `deno task test` starts with it.
 *
 * @module
 */
import { assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { crc32, deflateRawSync } from "node:zlib";
import { DipcError } from "../../src/errors.ts";
import { readZip } from "../../src/setup_zip.ts";
import { readTar } from "../../src/setup_tar.ts";
import { peerTest } from "../support/peers.ts";
import { dipc } from "../support/processes.ts";
import { runLibraryChild } from "../support/run_library_child.ts";

const NO_SYSTEM = { systemFolders: [], systemLoader: false, rdmaFolder: "/nonexistent" };

/** A folder with programs, to be the whole `PATH`. */
async function fakePath(programs: Record<string, string>): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "dipc-path-" });
  for (const [name, script] of Object.entries(programs)) {
    await Deno.writeTextFile(`${folder}/${name}`, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  return folder;
}

async function setupWith(programs: Record<string, string>) {
  const cache = await Deno.makeTempDir({ prefix: "dipc-cache-" });
  const env = { PATH: await fakePath(programs), XDG_CACHE_HOME: cache };
  const answer = await runLibraryChild({ do: "setup", search: NO_SYSTEM }, { env });
  const left = [...Deno.readDirSync(`${cache}/dipc`)].map((entry) => entry.name);
  return { ...answer, left };
}

Deno.test("without pip the error gives the cause of each attempt and the commands to choose from", async () => {
  const { error, lines, left } = await setupWith({});
  assertEquals(error?.code, "library_not_found");
  for (const command of ["python3", "pip3", "pip"]) {
    assertStringIncludes(error!.message, `there is no ${command} in PATH`);
  }
  assertStringIncludes(error!.message, "sudo apt-get install libucx0");
  assertStringIncludes(error!.message, "sudo apt-get install python3-pip");
  assertStringIncludes(error!.message, "DIPC_LIBUCP=");
  assertMatch(lines.join("\n"), /fetching UCX 1\.22\.0 .*43 MB/);
  assertEquals(left, []);
});

Deno.test("where pip fails the error tells what it said, and the next pip is tried", async () => {
  const { error } = await setupWith({
    python3: `echo "/usr/bin/python3: No module named pip" >&2; exit 1`,
    pip3: `echo "WARNING: retrying" >&2; echo "ERROR: Could not find a version that satisfies libucx-cu12" >&2; exit 1`,
  });
  assertEquals(error?.code, "library_not_found");
  assertMatch(error!.message, /python3 -m pip download .*: exit status 1: .*No module named pip/);
  assertMatch(error!.message, /pip3 download .*: exit status 1: ERROR: Could not find a version/);
  assertStringIncludes(error!.message, "there is no pip in PATH");
});

// The last argument but one of `pip download … -d FOLDER REQUIREMENT`.
const TARGET = `for a in "$@"; do if [ "$previous" = -d ]; then target=$a; fi; previous=$a; done`;

Deno.test("a download that is not the pinned file is refused and removed", async () => {
  const { error, left } = await setupWith({ python3: `${TARGET}\nprintf PK > "$target/libucx_cu12-1.22.0.whl"` });
  assertEquals(error?.code, "invalid_data");
  assertMatch(error!.message, /SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}; check the index/);
  assertEquals(left, []);
});

Deno.test("a pip that succeeds without a file is a failure", async () => {
  const { error } = await setupWith({ python3: "exit 0" });
  assertEquals(error?.code, "library_not_found");
  assertStringIncludes(error!.message, "expected one wheel, found 0");
});

Deno.test("what an interrupted setup left is removed, but not what is being made now", async () => {
  const cache = await Deno.makeTempDir({ prefix: "dipc-cache-" });
  for (const name of [".setup-old", ".setup-new", "ucx-other"]) {
    await Deno.mkdir(`${cache}/dipc/${name}`, { recursive: true });
    const hoursAgo = name === ".setup-new" ? 0 : 2;
    await Deno.utime(`${cache}/dipc/${name}`, new Date(), new Date(Date.now() - hoursAgo * 3_600_000));
  }
  const env = { PATH: "/nonexistent", XDG_CACHE_HOME: cache };
  await runLibraryChild({ do: "setup", search: NO_SYSTEM }, { env });
  assertEquals([...Deno.readDirSync(`${cache}/dipc`)].map(({ name }) => name).sort(), [".setup-new", "ucx-other"]);
});

Deno.test("a cache folder that cannot be written is named", async () => {
  const file = await Deno.makeTempFile();
  const env = { PATH: "/nonexistent", XDG_CACHE_HOME: file };
  const { error } = await runLibraryChild({ do: "setup", search: NO_SYSTEM }, { env });
  assertEquals(error?.code, "io");
  assertStringIncludes(error!.message, `cannot set up UCX in ${file}/dipc: `);
});

Deno.test("without HOME there is no folder to put UCX into, and setup says so", async () => {
  const { error } = await runLibraryChild({ do: "setup", search: NO_SYSTEM }, { env: { PATH: "/nonexistent" } });
  assertEquals(error?.code, "library_not_found");
  assertStringIncludes(error!.message, "neither XDG_CACHE_HOME nor HOME is set");
});

peerTest(["ucx"], "setup does nothing if the copy is there", async ({ ucx }) => {
  const env = { PATH: "/nonexistent", XDG_CACHE_HOME: ucx.library.replace(/\/dipc\/ucx-.*/, "") };
  const { result, lines } = await runLibraryChild({ do: "setup", search: NO_SYSTEM, tools: true }, { env });
  assertEquals([result.path, result.origin, result.downloaded], [ucx.library, "setup", false]);
  assertEquals(lines, [`libucp 1.22.0 at ${ucx.library}: the copy that \`dipc setup\` made`]);
});

const VARIABLES = "--allow-env=DIPC_LIBUCP,HOME,XDG_CACHE_HOME";

peerTest(["ucx"], "setup takes a copy that it may load but not look at", async ({ ucx }) => {
  const env = { PATH: "/nonexistent", XDG_CACHE_HOME: ucx.library.replace(/\/dipc\/ucx-.*/, "") };
  const permissions = ["--allow-ffi", VARIABLES];
  const { result } = await runLibraryChild({ do: "setup", search: NO_SYSTEM }, { env, permissions });
  assertEquals([result.path, result.origin, result.downloaded], [ucx.library, "setup", false]);
});

Deno.test("setup names all the permissions that it lacks, and the whole command, in one line", async () => {
  const cache = await Deno.makeTempDir({ prefix: "dipc-cache-" });
  const env = { PATH: "/nonexistent", XDG_CACHE_HOME: cache };
  const permissions = ["--allow-ffi", VARIABLES];
  const { error, lines } = await runLibraryChild({ do: "setup", search: NO_SYSTEM }, { env, permissions });
  assertEquals([error?.code, lines], ["permission_denied", []]);
  assertEquals(
    error!.message,
    "cannot set up UCX: fetching it needs --allow-read, --allow-write, --allow-run; run deno run --allow-ffi " +
      `${VARIABLES} --allow-read=${cache},/usr/lib --allow-write=${cache} --allow-run=python3,pip3,pip cli.ts setup ` +
      "in the folder of the clone",
  );
});

peerTest(
  ["olderUcx"],
  "an older UCX of the system is used if nothing newer can be fetched",
  async ({ olderUcx }) => {
    const cache = await Deno.makeTempDir();
    const search = { ...NO_SYSTEM, systemFolders: [olderUcx.library.replace(/\/[^/]*$/, "")] };
    const env = { PATH: "/nonexistent", XDG_CACHE_HOME: cache };
    const { result, lines } = await runLibraryChild({ do: "setup", search }, { env });
    assertEquals([result.path, result.origin, result.downloaded], [olderUcx.library, "system", false]);
    assertStringIncludes(lines.join("\n"), "there is no python3 in PATH");
    assertStringIncludes(lines.join("\n"), `going on with UCX ${olderUcx.version}`);
  },
);

type ZipField = [offset: number, bytes: 2 | 4, value: number];

function zipRecord(size: number, tail: Uint8Array, fields: ZipField[]): Uint8Array {
  const bytes = new Uint8Array(size + tail.length);
  const view = new DataView(bytes.buffer);
  for (const [offset, length, value] of fields) {
    if (length === 2) view.setUint16(offset, value, true);
    else view.setUint32(offset, value, true);
  }
  bytes.set(tail, size);
  return bytes;
}

/** A ZIP archive by the book (APPNOTE.TXT 6.3.10), with a comment at its end. */
function makeZip(files: Record<string, string>): Uint8Array {
  const encoder = new TextEncoder();
  const entries: Uint8Array[] = [];
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const [path, text] of Object.entries(files)) {
    const [name, plain] = [encoder.encode(path), encoder.encode(text)];
    const method = text.length > 20 ? 8 : 0;
    const packed = method === 8 ? new Uint8Array(deflateRawSync(plain)) : plain;
    const crc = crc32(plain);
    const local: ZipField[] = [[0, 4, 0x04034b50], [8, 2, method], [14, 4, crc]];
    local.push([18, 4, packed.length], [22, 4, plain.length], [26, 2, name.length]);
    const entry: ZipField[] = [[0, 4, 0x02014b50], [10, 2, method], [16, 4, crc], [20, 4, packed.length]];
    entry.push([24, 4, plain.length], [28, 2, name.length], [42, 4, at]);
    entries.push(zipRecord(46, name, entry));
    parts.push(zipRecord(30, name, local), packed);
    at += 30 + name.length + packed.length;
  }
  const size = entries.reduce((sum, entry) => sum + entry.length, 0);
  const comment = encoder.encode("a comment");
  const end: ZipField[] = [[0, 4, 0x06054b50], [8, 2, entries.length], [10, 2, entries.length], [12, 4, size]];
  end.push([16, 4, at], [20, 2, comment.length]);
  return new Uint8Array(Buffer.concat([...parts, ...entries, zipRecord(22, comment, end)]));
}

const FILES = { "a/stored.txt": "short", "a/deflated.txt": "long and long and long and long", "empty": "" };

Deno.test("the files of a ZIP archive are read, stored and deflated", () => {
  const entries = readZip(makeZip(FILES));
  const texts = entries.map((entry) => [entry.name, new TextDecoder().decode(entry.read())]);
  assertEquals(Object.fromEntries(texts), FILES);
  assertEquals(entries.map((entry) => entry.byteLength), [5, 31, 0]);
});

Deno.test("a damaged ZIP archive is an error, wherever the damage is", () => {
  const whole = makeZip(FILES);
  const readAll = (archive: Uint8Array) => readZip(archive).map((entry) => entry.read());
  assertThrows(() => readAll(new Uint8Array(10)), DipcError, "expected an end record, found none");
  assertThrows(() => readAll(whole.subarray(0, whole.length - 40)), DipcError, "expected an end record");
  assertThrows(() => readAll(whole.subarray(20)), DipcError, "cannot read the ZIP archive");
  const [local, entry] = [[0x50, 0x4b, 3, 4], [0x50, 0x4b, 1, 2]].map((signature) =>
    whole.findIndex((_, i) => signature.every((byte, j) => whole[i + j] === byte))
  );
  // Every offset, size and method, of the first and of the second file.
  const damage: [at: number, expected: string][] = [
    [local, "has no header"],
    [entry, "expected entry 0 of 3"],
    [entry + 11, "packed by method"],
    [entry + 21, "does not fit"],
    [entry + 25, "has"],
    [entry + 29, "does not fit"],
    [entry + 43, "no header"],
  ];
  for (const [at, expected] of damage) {
    const archive = whole.slice();
    archive[at] ^= 0x7f;
    assertThrows(() => readAll(archive), DipcError, expected, `byte ${at}`);
  }
});

Deno.test("a file of a ZIP archive that unpacks to more than it declares is refused", () => {
  const archive = makeZip({ bomb: "0".repeat(1_000_000) });
  const entry = archive.findLastIndex((_, i) => archive[i] === 0x50 && archive[i + 1] === 0x4b && archive[i + 2] === 1);
  new DataView(archive.buffer).setUint32(entry + 24, 1000, true);
  assertThrows(() => readZip(archive)[0].read(), DipcError, "cannot unpack bomb from the ZIP archive");
});

Deno.test("setup duckdb refuses what is not the pinned package, and says what a registry answers", async () => {
  const answers = [() => new Response("no", { status: 404 }), () => new Response("not the package")];
  const paths: string[] = [];
  await using registry = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { pathname } = new URL(request.url);
    // Deno itself looks for dipc's dependencies there, too.
    if (!pathname.includes("/-/node-bindings")) return new Response("no", { status: 404 });
    paths.push(pathname);
    return answers.shift()!();
  });
  const cache = await Deno.makeTempDir({ prefix: "dipc-cache-" });
  const env = {
    NPM_CONFIG_REGISTRY: `http://127.0.0.1:${registry.addr.port}/npm/`,
    XDG_CACHE_HOME: cache,
    DIPC_LIBDUCKDB: "",
  };
  for (
    const [code, text] of [["unreachable", "answers 404"], ["invalid_data", /SHA-512 \S{88}, expected \S{88}/]] as const
  ) {
    const outcome = await dipc(["setup", "duckdb", "--json"], { env });
    const { error } = JSON.parse(outcome.stdout);
    assertEquals([outcome.code, error.code], [1, code]);
    assertMatch(error.message, typeof text === "string" ? new RegExp(text) : text);
    assertStringIncludes(outcome.stderr, "fetching DuckDB");
  }
  assertMatch(paths[0], /^\/npm\/@duckdb\/node-bindings-linux-\w+\/-\/node-bindings-linux-\w+-1\.5\.6-r\.1\.tgz$/);
  assertEquals([...Deno.readDirSync(cache)].map(({ name }) => name).filter((name) => name === "dipc"), []);
  const argument = await dipc(["setup", "nonsense"]);
  assertEquals([argument.code, argument.stderr.includes("no argument but duckdb")], [2, true]);
});

Deno.test("a TAR archive gives the files that are looked for, and a damaged one is an error", () => {
  const file = (name: string, content: string): Uint8Array => {
    const bytes = new Uint8Array(512 + Math.ceil(content.length / 512) * 512);
    const put = (at: number, text: string) => bytes.set(new TextEncoder().encode(text), at);
    put(0, name);
    put(124, content.length.toString(8).padStart(11, "0"));
    put(148, "        ");
    put(156, "0");
    put(148, `${bytes.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, "0")}\0 `);
    put(512, content);
    return bytes;
  };
  const archive = new Uint8Array([...file("a/b", "one"), ...file("c", "x".repeat(600)), ...new Uint8Array(1024)]);
  const texts = [...readTar(archive, ["c", "a/b", "d"])].map((
    [name, bytes],
  ) => [name, new TextDecoder().decode(bytes)]);
  assertEquals(texts, [["a/b", "one"], ["c", "x".repeat(600)]]);
  for (const at of [3, 130, 1024]) {
    const damaged = archive.slice();
    damaged[at] ^= 0x55;
    const error = assertThrows(() => readTar(damaged, ["c"]), DipcError);
    assertEquals(error.code, "invalid_data");
  }
  assertThrows(() => readTar(archive.subarray(0, 1700), ["c"]), DipcError);
});
