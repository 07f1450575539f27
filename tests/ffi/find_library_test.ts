/**
 * Which libucp is chosen, and the message if there is none.
 *
 * @module
 */
import { assert, assertEquals, assertGreater, assertLess, assertMatch, assertStringIncludes } from "@std/assert";
import { compareVersions, type FindLibucpOptions, type rankLibucp, versionInFile } from "../../ffi/find.ts";
import { peers, peerTest } from "../support/peers.ts";
import { runLibraryChild } from "../support/run_library_child.ts";

const NOWHERE: FindLibucpOptions = { systemFolders: [], systemLoader: false, rdmaFolder: "/nonexistent" };

/** Folder with a file that says it is a libucp of this version. */
async function fakeSystem(version: string): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "dipc-find-" });
  await Deno.writeTextFile(`${folder}/libucp.so.0`, `\x7fELF\0GLIBC_2.2.5\0GLIBC_2.3.4\0A${version}\0rest`);
  return folder;
}

/** Cache folder with something in the place of the copy of `dipc setup`. */
async function fakeSetup(): Promise<string> {
  const cache = await Deno.makeTempDir({ prefix: "dipc-find-" });
  await Deno.mkdir(`${cache}/dipc/ucx-1.22.0/libucx/lib`, { recursive: true });
  await Deno.writeTextFile(`${cache}/dipc/ucx-1.22.0/libucx/lib/libucp.so.0`, "");
  return cache;
}

async function rank(search: FindLibucpOptions, env: Record<string, string>, option?: string) {
  const { result } = await runLibraryChild({ do: "rank", search, option }, { env });
  return result as ReturnType<typeof rankLibucp>;
}

const origins = (ranking: ReturnType<typeof rankLibucp>): string[] =>
  ranking.candidates.map(({ origin, version }) => `${origin} ${version}`);

Deno.test("versions are compared by number, not by text", () => {
  assertLess(compareVersions("1.9.0", "1.18.0"), 0);
  assertGreater(compareVersions("1.22.0", "1.18.0"), 0);
  assertEquals(compareVersions("1.18", "1.18.0"), 0);
});

Deno.test("the version of a library file is the one text N.N.N that is not a symbol version", () => {
  const file = (text: string) => versionInFile(new TextEncoder().encode(text));
  assertEquals(file("GLIBC_2.2.5\0xx1.20.3\0"), "1.20.3");
  assertEquals(file("1.20.3\0 and again 1.20.3\0"), "1.20.3");
  assertEquals(file("1.20.3\0 or 1.19.0\0"), null);
  assertEquals(file("1.20.3.4\0 1.20 1.20.3"), null);
});

peerTest(["ucx", "olderUcx"], "the version in a library file is the one that the library tells", async (found) => {
  for (const { library, version } of [found.ucx, found.olderUcx]) {
    assertEquals(versionInFile(await Deno.readFile(library)), version);
    const { result } = await runLibraryChild({ do: "find", option: library });
    assertEquals([result.path, result.version, result.origin], [library, version, "option"]);
  }
});

Deno.test("the system's UCX comes first from 1.18 on, and last before", async () => {
  const cache = await fakeSetup();
  const [recent, old] = [await fakeSystem("1.18.0"), await fakeSystem("1.17.9")];
  const env = { XDG_CACHE_HOME: cache };
  const search = (...systemFolders: string[]) => ({ ...NOWHERE, systemFolders });
  assertEquals(origins(await rank(search(recent), env)), ["system 1.18.0", "setup 1.22.0"]);
  assertEquals(origins(await rank(search(old), env)), ["setup 1.22.0", "system 1.17.9"]);
  assertEquals(origins(await rank(search(old, recent), env)), ["system 1.18.0", "setup 1.22.0", "system 1.17.9"]);
  const alone = await rank(search(old), { XDG_CACHE_HOME: "/nonexistent" });
  assertEquals([origins(alone), alone.isSatisfied], [["system 1.17.9"], false]);
  assertStringIncludes(alone.candidates[0].notes[0], "`dipc setup` fetches 1.22.0");
});

Deno.test("an older UCX of the system comes first if there is RDMA hardware", async () => {
  const [old, rdmaFolder] = [await fakeSystem("1.13.1"), await Deno.makeTempDir()];
  const env = { XDG_CACHE_HOME: await fakeSetup() };
  const search = { ...NOWHERE, systemFolders: [old], rdmaFolder };
  assertEquals(origins(await rank(search, env)), ["setup 1.22.0", "system 1.13.1"]);
  await Deno.mkdir(`${rdmaFolder}/mlx5_0`);
  const ranking = await rank(search, env);
  assertEquals([origins(ranking), ranking.isSatisfied], [["system 1.13.1", "setup 1.22.0"], true]);
});

Deno.test("a UCX before 1.13 is refused, with the reason", async () => {
  const ranking = await rank({ ...NOWHERE, systemFolders: [await fakeSystem("1.12.1")] }, { HOME: "/nonexistent" });
  assertEquals(ranking.candidates, []);
  assertStringIncludes(ranking.attempts[0].cause, "UCX 1.12.1 is older than 1.13.0");
});

Deno.test("a library that the caller or DIPC_LIBUCP names is the only one considered", async () => {
  const env = { XDG_CACHE_HOME: await fakeSetup(), DIPC_LIBUCP: "/nonexistent/env.so" };
  const search = { ...NOWHERE, systemFolders: [await fakeSystem("1.22.0")] };
  assertEquals((await rank(search, env)).candidates.map(({ path }) => path), ["/nonexistent/env.so"]);
  const { candidates } = await rank(search, env, "/nonexistent/option.so");
  assertEquals(candidates.map(({ path }) => path), ["/nonexistent/option.so"]);
  const { error } = await runLibraryChild({ do: "find", search }, { env });
  assertEquals(error?.code, "library_not_found");
  assertMatch(
    error!.message,
    /^cannot load the libucp that DIPC_LIBUCP names, \/nonexistent\/env\.so: cannot open .*No such file.*; correct the path/,
  );
});

Deno.test("the error names every path, the cause of each and what to do", async () => {
  const broken = await fakeSystem("1.20.0");
  const old = await fakeSystem("1.9.0");
  const absent = await Deno.makeTempDir();
  const search = { systemFolders: [absent, old, broken], systemLoader: false };
  const { error } = await runLibraryChild({ do: "find", search }, { env: { HOME: "/nonexistent" } });
  assertEquals(error?.code, "library_not_found");
  for (
    const expected of [
      `not there: ${absent}/libucp.so.0`,
      `${old}/libucp.so.0: UCX 1.9.0 is older`,
      `${broken}/libucp.so.0: `,
      "/nonexistent/.cache/dipc/ucx-1.22.0/libucx/lib/libucp.so.0: not there: `dipc setup` has not been run",
      "sudo apt-get install libucx0",
      "  dipc setup\n",
      "DIPC_LIBUCP=",
    ]
  ) assertStringIncludes(error!.message, expected);
});

peerTest(["ucx"], "a candidate that cannot be loaded is passed over", async ({ ucx }) => {
  const cache = ucx.library.replace(/\/dipc\/ucx-.*/, "");
  const search = { ...NOWHERE, systemFolders: [await fakeSystem("1.25.0")] };
  const { result, loaded } = await runLibraryChild({ do: "find", search }, { env: { XDG_CACHE_HOME: cache } });
  assertEquals([result.path, result.origin], [ucx.library, "setup"]);
  assertEquals(loaded.length, 4);
});

for (const name of ["ucx", "olderUcx"] as const) {
  peerTest([name], `all libraries of one UCX come from the same folder: ${name}`, async (found) => {
    // The other one is what the loader would find by name.
    const other = peers[name === "ucx" ? "olderUcx" : "ucx"]?.library.replace(/\/[^/]*$/, "");
    const env: Record<string, string> = other === undefined ? {} : { LD_LIBRARY_PATH: other };
    const { loaded } = await runLibraryChild({ do: "find", option: found[name].library }, { env });
    const folder = found[name].library.replace(/\/[^/]*$/, "");
    assertEquals(loaded.map((file) => file.replace(/\/[^/]*$/, "")), [folder, folder, folder, folder]);
  });
}

peerTest(["ucx", "olderUcx"], "a process refuses to load a second UCX", async ({ ucx, olderUcx }) => {
  const again = await runLibraryChild({ do: "find", option: ucx.library, second: ucx.library });
  assertEquals(again.result.version, "1.22.0");
  const { error, loaded } = await runLibraryChild({ do: "find", option: ucx.library, second: olderUcx.library });
  assertEquals(error?.code, "invalid_argument");
  assertStringIncludes(error!.message, "two copies of UCX");
  assert(loaded.every((file) => !file.includes(olderUcx.version)), loaded.join());
});

peerTest(
  ["ucx"],
  "the copy of setup is found with --allow-ffi and two variables, and nothing is asked",
  async ({ ucx }) => {
    const cache = ucx.library.replace(/\/dipc\/ucx-.*/, "");
    const { result } = await runLibraryChild({ do: "find", search: NOWHERE }, {
      env: { XDG_CACHE_HOME: cache },
      permissions: ["--allow-ffi", "--allow-env=XDG_CACHE_HOME,HOME"],
    });
    assertEquals([result.path, result.version, result.origin], [ucx.library, "1.22.0", "setup"]);
  },
);

peerTest(
  ["olderUcx"],
  "a library unpacked anywhere is loaded with its own folder's libraries without --allow-read",
  async (found) => {
    const { library, version } = found.olderUcx;
    const env = { DIPC_LIBUCP: library };
    const permissions = ["--allow-ffi", "--allow-env=DIPC_LIBUCP"];
    const { result } = await runLibraryChild({ do: "find" }, { env, permissions });
    assertEquals([result.path, result.version, result.origin], [library, version, "DIPC_LIBUCP"]);
  },
);

Deno.test("what the permissions hide is said", async () => {
  const search = { systemFolders: ["/usr/lib", "/usr/lib64"], systemLoader: false };
  const { error } = await runLibraryChild({ do: "find", search }, { permissions: ["--allow-ffi"] });
  assertEquals(error?.code, "library_not_found");
  assertStringIncludes(error!.message, "--allow-env does not cover them");
  assertStringIncludes(error!.message, "--allow-env=DIPC_LIBUCP");
  assertStringIncludes(error!.message, "the system's folders: not readable: needs --allow-read=/usr/lib,/usr/lib64");
});

peerTest(["ucx"], "without --allow-ffi the error says so", async ({ ucx }) => {
  for (const permissions of [[], ["--allow-ffi=/nonexistent"]]) {
    const { error } = await runLibraryChild({ do: "find", option: ucx.library }, { permissions });
    assertEquals(error?.code, "permission_denied");
    assertMatch(error!.message, /--allow-ffi.*without a path/);
  }
});
