/**
 * How an ADBC driver is found: by its path, by a manifest, by its name in folders; and TOML, which manifests are written in.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { openDatabase } from "../../adbc.ts";
import { defaultEntrypoint, findDriver } from "../../src/adbc/find_driver.ts";
import { PLATFORM, readManifest } from "../../src/adbc/manifest.ts";
import { assertDipcError } from "../support/assert.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";

Deno.test("a manifest names the driver of this system", () => {
  const read = (text: string) => readManifest(text, "m.toml");
  const full = `manifest_version = 1\nname = 'x'\n[ADBC]\nversion = '1.1.0'\n[Driver]\nentrypoint = 'e'\n`;
  assertEquals(read(`${full}[Driver.shared]\nother = '/a.so'\n${PLATFORM} = '/b.so'`), {
    library: "/b.so",
    entrypoint: "e",
  });
  assertEquals(read("[Driver]\nshared = 'libx.so'"), { library: "libx.so", entrypoint: null });
  assertDipcError(
    "not_found",
    `no driver for ${PLATFORM}, only for a, b`,
    () => read("Driver.shared = {a = '', b = ''}"),
  );
  assertDipcError("unsupported", "manifest_version is 2", () => read("manifest_version = 2\nDriver.shared = '/a.so'"));
  for (const text of ["", "Driver = 1", "Driver.shared = ''", `Driver.shared = {${PLATFORM} = ''}`]) {
    assertDipcError("invalid_data", "the path of the driver", () => read(text), text);
  }
  assertDipcError("invalid_data", "cannot read the manifest m.toml: ", () => read("[Driver\nshared = 'a'"));
  assertDipcError("invalid_data", "Driver.shared is not a string", () => read("Driver.shared = 1"));
  assertDipcError("invalid_data", "entrypoint is not a string", () => read("[Driver]\nshared = 'a'\nentrypoint = 1"));
});

Deno.test("the entry point follows from the name of the library, as with other driver managers", () => {
  const names = [
    "/x/libadbc_driver_sqlite.so.2.0.0",
    "adbc_driver_sqlite.dll",
    "proprietary_driver",
    "adbc-driver-x.so",
  ];
  assertEquals(names.map(defaultEntrypoint), [
    "AdbcDriverSqliteInit",
    "AdbcDriverSqliteInit",
    "AdbcProprietaryDriverInit",
    "AdbcDriverXInit",
  ]);
});

peerTest(
  ["adbc"],
  "a driver is found by path, by manifest and by name, in the order of the folders",
  async ({ adbc }) => {
    using folder = new TemporaryFolder();
    const saved = ["ADBC_DRIVER_PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "XDG_CONFIG_HOME"].map((name) =>
      [name, Deno.env.get(name)] as const
    );
    const path = (name: string): string => folder.file(name);
    const manifest = (name: string, text: string): void => {
      Deno.mkdirSync(path(name).replace(/[^/]*$/, ""), { recursive: true });
      Deno.writeTextFileSync(path(name), text);
    };
    try {
      for (const [name] of saved) Deno.env.delete(name);
      Deno.env.set("XDG_CONFIG_HOME", path("config"));
      const missing = assertDipcError(
        "library_not_found",
        "ADBC_DRIVER_PATH: it is not set",
        () => findDriver("no_driver"),
      );
      for (const part of [path("config/adbc/drivers"), "/etc/adbc/drivers", "libno_driver.so", "cannot open"]) {
        assertEquals(missing.message.includes(part), true, part);
      }
      const good = `[Driver]\nshared = ${JSON.stringify(adbc.sqlite)}`;
      manifest("config/adbc/drivers/mine.toml", good);
      assertEquals(findDriver("mine").path, adbc.sqlite);
      // Earlier folders win, and one that only has a driver for other systems is passed over.
      manifest("first/mine.toml", "[Driver.shared]\nplan9_vax = '/x.so'");
      manifest("second/mine.toml", `${good}\nentrypoint = 'AdbcDriverInit'`);
      Deno.env.set("ADBC_DRIVER_PATH", `${path("first")}::${path("second")}`);
      assertEquals(findDriver("mine").path, adbc.sqlite);
      Deno.env.set("VIRTUAL_ENV", path("venv"));
      manifest("venv/etc/adbc/drivers/other.toml", "[Driver]\nshared = '/no/such.so'");
      assertDipcError("library_not_found", "/no/such.so: ", () => findDriver("other"));
      manifest("second/bad.toml", "[Driver");
      assertDipcError("invalid_data", "second/bad.toml: line 1: Invalid TOML", () => findDriver("bad"));
      // A shared object in a folder, and paths.
      Deno.symlinkSync(adbc.sqlite, path("second/libadbc_driver_here.so"));
      Deno.symlinkSync(adbc.sqlite, path("second/bare"));
      assertEquals(findDriver("bare").path, path("second/bare"));
      assertEquals(findDriver("adbc_driver_here").path, path("second/libadbc_driver_here.so"));
      assertEquals(findDriver(path("second/mine.toml")).path, adbc.sqlite);
      assertEquals(findDriver(path("second/mine")).path, adbc.sqlite);
      assertEquals(findDriver(path("second/libadbc_driver_here.so")).path, path("second/libadbc_driver_here.so"));
      assertDipcError("library_not_found", "No such file", () => findDriver(path("none.toml")));
      assertDipcError("library_not_found", "no entry point nothing", () => findDriver(adbc.sqlite, "nothing"));
      assertDipcError("invalid_argument", "it has no name", () => findDriver(""));
      await using database = await openDatabase("mine", { uri: ":memory:" });
      assertEquals(database.version, "1.1.0");
    } finally {
      for (const [name, value] of saved) value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
    }
  },
);

Deno.test({
  name: "what Deno denies is named once, with the flags that allow it",
  permissions: { ffi: true, env: false, read: false },
  fn: () => {
    const { message } = assertDipcError("library_not_found", "no_driver", () => findDriver("no_driver"));
    const denied = "Deno denied env access to ADBC_DRIVER_PATH, VIRTUAL_ENV, CONDA_PREFIX, HOME, XDG_CONFIG_HOME; " +
      "Deno denied read access to /etc/adbc/drivers; give its path, set ADBC_DRIVER_PATH";
    assertEquals(message.includes(denied), true, message);
    assertEquals(message.endsWith("or run again with --allow-env --allow-read"), true, message);
    assertEquals(message.match(/run again/g)?.length, 1);
  },
});
