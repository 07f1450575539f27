/**
 * Provides the peers of the tests: a virtual environment of Python, the older UCX of Debian 12 unpacked beside the copy of
 * UCX in the user's cache folder, NVIDIA's `cuda.h`, Flight programs on arrow-go, grpc-js, nginx and HAProxy. Installs
 * nothing in the system.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { readZip } from "../src/setup_zip.ts";
import {
  CUDA_HEADERS_VERSION,
  cudaHeadersFolder,
  findCommand,
  findPeers,
  OLDER_UCX_VERSION,
  olderUcxFolder,
  PEER_ADVICE,
  type PeerName,
  type Peers,
  peersFolder,
  pythonPath,
  REPOSITORY,
} from "./peers.ts";
import { provideFlightGo } from "./setup_flight_go.ts";
import { provideGoPrograms } from "./setup_go_programs.ts";
import { provideGrpcJs } from "./setup_grpc_js.ts";
import { provideProxies } from "./setup_proxies.ts";
import { type Report, run, Unavailable } from "./setup_run.ts";

/** A Python that the pinned packages support. */
async function findPython(): Promise<string> {
  const tried: string[] = [];
  for (const name of ["python3", "python3.13", "python3.12", "python3.11"]) {
    if (findCommand(name) === null) continue;
    const { stdout } = await new Deno.Command(name, {
      args: ["-c", "import sys; print(*sys.version_info[:2])"],
      stderr: "null",
    }).output();
    const [major, minor] = new TextDecoder().decode(stdout).trim().split(" ").map(Number);
    if (major === 3 && minor >= 11) return name;
    tried.push(`${name} is ${major}.${minor}`);
  }
  throw new Unavailable(
    tried.length > 0 ? `${tried.join(", ")}, needed is 3.11 or newer` : "there is no python3 in PATH",
  );
}

/** Makes the virtual environment, or brings it to what `requirements.txt` asks for. */
async function providePython(folder: string, report: Report): Promise<void> {
  if (Deno.env.get("DIPC_PYTHON")) return;
  const wanted = await Deno.readTextFile(`${REPOSITORY}/tests/python/requirements.txt`);
  const environment = `${folder}/venv`;
  const marker = `${environment}/requirements.done`;
  const done = await Deno.readTextFile(marker).catch(() => "");
  if (done === wanted) return;
  const python = await findPython();
  report(`making a Python environment with ${wanted.split("\n").filter((line) => line.includes("==")).join(", ")}`);
  await Deno.remove(environment, { recursive: true }).catch(() => {});
  const requirements = ["--disable-pip-version-check", "-q", "-r", `${REPOSITORY}/tests/python/requirements.txt`];
  const inside = pythonPath(folder);
  try {
    await run(python, ["-m", "venv", environment]);
    await run(inside, ["-m", "pip", "install", "--only-binary=:all:", ...requirements]);
  } catch (error) {
    // Debian keeps what venv needs for its own pip in another package; the machine's pip will do.
    try {
      await run(python, ["-m", "venv", "--clear", "--without-pip", environment]);
      await run(python, ["-m", "pip", "--python", inside, "install", "--only-binary=:all:", ...requirements]);
    } catch (second) {
      throw new Unavailable(`${(error as Error).message}; ${(second as Error).message}`);
    }
  }
  await Deno.writeTextFile(marker, wanted);
}

/** Unpacks Debian's UCX with apt's own download; needs no root. */
async function provideOlderUcx(folder: string, report: Report): Promise<void> {
  if (findPeers().olderUcx !== null) return;
  for (const name of ["apt-get", "dpkg"]) {
    if (findCommand(name) === null) throw new Unavailable(`there is no ${name} in PATH`);
  }
  const temporary = await Deno.makeTempDir({ dir: folder, prefix: ".setup-" });
  try {
    report(`fetching UCX ${OLDER_UCX_VERSION} of Debian 12, to test with an older version too`);
    const version = `${OLDER_UCX_VERSION}-1`;
    const packages = [`libucx0=${version}`, `libucx-dev=${version}`, `ucx-utils=${version}`, "libnuma1"];
    await run("apt-get", ["download", "-q", ...packages], { cwd: temporary });
    for (const entry of [...Deno.readDirSync(temporary)].filter((entry) => entry.name.endsWith(".deb"))) {
      await run("dpkg", ["-x", `${temporary}/${entry.name}`, `${temporary}/all`]);
    }
    await Deno.remove(olderUcxFolder(folder), { recursive: true }).catch(() => {});
    await Deno.rename(`${temporary}/all`, olderUcxFolder(folder));
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}

/** SHA-256 of the wheel on PyPI for x86-64. Its header is the same for other machines. */
const CUDA_WHEEL_SHA256 = "25bba2dfb01d48a9b59ca474a1ac43c6ebf7011f1b0b8cc44f54eb6ac48a96c3";

/** Takes NVIDIA's `cuda.h`, and nothing else, out of its wheel on PyPI. */
async function provideCudaHeaders(folder: string, report: Report): Promise<void> {
  if (findPeers().cudaHeaders !== null) return;
  const python = await findPython();
  const temporary = await Deno.makeTempDir({ dir: folder, prefix: ".setup-" });
  try {
    report(`fetching NVIDIA's cuda.h ${CUDA_HEADERS_VERSION} (nvidia-cuda-runtime-cu12 from PyPI, about 3.5 MB)`);
    const pip = ["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--platform=manylinux2014_x86_64", "-q"];
    pip.push("--python-version=3.12", "--no-cache-dir", "--disable-pip-version-check", "-d", temporary);
    await run(python, [...pip, `nvidia-cuda-runtime-cu12==${CUDA_HEADERS_VERSION}`]);
    const names = [...Deno.readDirSync(temporary)].map(({ name }) => name).filter((name) => name.endsWith(".whl"));
    if (names.length !== 1) throw new Unavailable(`pip download gave ${names.length} wheels instead of one`);
    const wheel = await Deno.readFile(`${temporary}/${names[0]}`);
    const digest = createHash("sha256").update(wheel).digest("hex");
    if (digest !== CUDA_WHEEL_SHA256) {
      throw new Unavailable(`${names[0]} has SHA-256 ${digest}, expected ${CUDA_WHEEL_SHA256}`);
    }
    const wanted = readZip(wheel).filter(({ name }) => /\/include\/cuda\.h$|\/licenses\/License\.txt$/.test(name));
    if (wanted.length !== 2) throw new Unavailable(`${names[0]} lacks cuda.h or its license`);
    await Deno.mkdir(`${temporary}/headers`);
    for (const entry of wanted) {
      await Deno.writeFile(`${temporary}/headers/${entry.name.replace(/.*\//, "")}`, entry.read());
    }
    await Deno.remove(cudaHeadersFolder(folder), { recursive: true }).catch(() => {});
    await Deno.rename(`${temporary}/headers`, cudaHeadersFolder(folder));
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}

/**
 * Provides what can be provided and says what cannot.
 *
 * @returns What is there, and the cause for each peer that is not
 */
export async function setupPeers(report: Report): Promise<{ peers: Peers; missing: Map<PeerName, string> }> {
  const missing = new Map<PeerName, string>();
  const folder = peersFolder();
  if (folder !== null) {
    await Deno.mkdir(folder, { recursive: true });
    // One at a time: an environment cannot be made elsewhere and then moved into place.
    using lock = await Deno.open(`${folder}/.setup.lock`, { create: true, write: true });
    await lock.lock(true);
    const steps = {
      python: providePython,
      olderUcx: provideOlderUcx,
      cudaHeaders: provideCudaHeaders,
      flightGo: provideFlightGo,
      goPrograms: provideGoPrograms,
      grpcJs: provideGrpcJs,
      proxies: provideProxies,
    } as const;
    for (const [name, provide] of Object.entries(steps)) {
      try {
        await provide(folder, report);
      } catch (error) {
        if (!(error instanceof Unavailable)) throw error;
        missing.set(name as PeerName, error.message);
      }
    }
  }
  const peers = findPeers();
  for (const name of Object.keys(peers) as PeerName[]) {
    if (peers[name] === null && !missing.has(name)) missing.set(name, "not found");
  }
  for (const [name, cause] of missing) report(`missing: ${PEER_ADVICE[name]}: ${cause}`);
  return { peers, missing };
}
