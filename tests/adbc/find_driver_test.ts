/**
 * How an ADBC driver is found: by its path, by a manifest, by its name in folders; and TOML, which manifests are written in.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { openDatabase } from "../../adbc.ts";
import { defaultEntrypoint, findDriver } from "../../src/adbc/find_driver.ts";
import { PLATFORM, readManifest } from "../../src/adbc/manifest.ts";
import { parseToml } from "../../src/adbc/toml.ts";
import { assertDipcError } from "../support/assert.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";

/** A document, and what it means. */
const DOCUMENTS: readonly (readonly [string, unknown])[] = [
  ["", {}],
  ["a = 1 # comment\r\n\r\nb='two'\n", { a: 1, b: "two" }],
  ['\ufeffname = "\\u00fc\\t\\"\\\\\\U0001F600"', { name: 'ü\t"\\😀' }],
  ["a.b . c = true\na.d = false", { a: { b: { c: true }, d: false } }],
  ["[t]\nx = 1\n[t.u]\ny = 2\n[v]\n", { t: { x: 1, u: { y: 2 } }, v: {} }],
  ["[a.b]\nc = 1\n[a]\nd = 2", { a: { b: { c: 1 }, d: 2 } }],
  ["[[l]]\nx = 1\n[l.t]\ny = 2\n[[l]]\nx = 3", { l: [{ x: 1, t: { y: 2 } }, { x: 3 }] }],
  ["a = [1, 'x', [true,],\n # more\n { b = 2, c.d = 3 } ]", { a: [1, "x", [true], { b: 2, c: { d: 3 } }] }],
  ['a = """\nline\n  two \\\n   joined ""x"""""', { a: 'line\n  two joined ""x""' }],
  ["a = '''\nC:\\n ''x'''", { a: "C:\\n ''x" }],
  ["a = 1_000\nb = -0x1F_0\n".replace("-0x", "0x"), { a: 1000, b: 0x1f0 }],
  ["a = 0o17\nb = 0b101\nc = +9223372036854775807\nd = -7", { a: 15, b: 5, c: 9223372036854775807n, d: -7 }],
  ["a = 1.5\nb = -2e3\nc = inf\nd = -inf", { a: 1.5, b: -2000, c: Infinity, d: -Infinity }],
  ["a = 1979-05-27T07:32:00Z\nb = 1979-05-27 07:32:00\nc = 07:32:00", {
    ...{ a: "1979-05-27T07:32:00Z", b: "1979-05-27 07:32:00", c: "07:32:00" },
  }],
  ["\"quoted key\" = 1\n'k'.3-4 = 2\n__proto__ = 3", { "quoted key": 1, k: { "3-4": 2 }, ["__proto__"]: 3 }],
];

/** What is not TOML, and what the message says. */
const FAULTS: readonly (readonly [string, string])[] = [
  ["a", 'line 1 is not TOML: expected "="'],
  ["\na = ", "line 2 is not TOML: expected a value"],
  ["a = 1 b = 2", "something follows"],
  ["a = 1\na = 2", "a is defined twice"],
  ["[a]\n[a]", "a is defined twice"],
  ["a = 1\n[a]", "a is not a table"],
  ["a = {b = 1}\na.c = 2", "a is not a table"],
  ["a = [1]\n[[a]]", "a is not an array of tables"],
  ["[a.b]\n[a]\nb.c = 1", "b is defined twice"],
  ['a = "x', "does not end"],
  ["a = 'x\n'", "does not end"],
  ['a = "\\x"', "an escape"],
  ['a = "\\ud800"', "an escape"],
  ["a = 012", "expected a value"],
  ["a = 1__0", "expected a value"],
  ["a = yes", "expected a value"],
  ["= 1", "expected a key"],
  ["[a", 'expected "]"'],
  ["a = [1 2]", 'expected "," or "]"'],
  ["a = {b = 1", 'expected "}"'],
  [`a = ${"[".repeat(100)}`, "deeper than 64"],
];

Deno.test("TOML is read, and what is not TOML is refused with its line", () => {
  for (const [text, expected] of DOCUMENTS) {
    const plain = (value: unknown): unknown =>
      Array.isArray(value)
        ? value.map(plain)
        : typeof value === "object" && value !== null
        ? Object.fromEntries(Object.entries(value).map(([key, value]) => [key, plain(value)]))
        : value;
    assertEquals(plain(parseToml(text, "a document")), plain(expected), text);
  }
  for (const [text, fault] of FAULTS) {
    assertDipcError("invalid_data", fault, () => parseToml(text, "a document"), text);
  }
});

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
      assertDipcError("invalid_data", "second/bad.toml: line 1", () => findDriver("bad"));
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
