/**
 * What runs on a machine with a GPU, tried out on one without: each part says clearly what it lacks, and the benchmark runs on
 * the simulated driver. The kit itself takes minutes to make, and is not made here.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { cuda, needsCuda } from "../support/cuda_sim.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";

async function run(command: string, args: readonly string[], env: Record<string, string> = {}) {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    cwd: ROOT,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

function program(path: string, args: readonly string[], env: Record<string, string> = {}) {
  return run(Deno.execPath(), ["run", "-A", "--quiet", "--no-check", `${ROOT}/${path}`, ...args], env);
}

Deno.test("the GPU suite without its kit says how to make it", async () => {
  using folder = new TemporaryFolder();
  Deno.mkdirSync(folder.file("tools"));
  Deno.copyFileSync(`${ROOT}/tools/gpu_suite.sh`, folder.file("tools/gpu_suite.sh"));
  const { code, stdout } = await run("bash", [folder.file("tools/gpu_suite.sh"), folder.file("results")]);
  assertEquals(code, 1);
  assertMatch(
    stdout,
    /^STOPPED {2}there is no kit in .*\.gpu-kit: run `deno task gpu:kit` on a machine with a network$/m,
  );
  assertEquals(Deno.readTextFileSync(folder.file("results/summary.txt")), stdout);
});

Deno.test("without a driver there are no facts of a GPU, and the suite would stop with what was tried", async () => {
  const { code, stdout, stderr } = await program("tools/gpu_facts.ts", [], { DIPC_LIBCUDA: "/nowhere/libcuda.so.1" });
  assertEquals([code, stdout], [3, ""]);
  assertStringIncludes(stderr, "cannot open the libcuda that DIPC_LIBCUDA names");
});

testNeeding([needsCuda], "with a driver the facts are one line that names the CUDA version", async () => {
  const { code, stdout } = await program("tools/gpu_facts.ts", [], cuda!.env);
  assertEquals(code, 0);
  assertMatch(stdout, /^.+ \(\d+ GiB\).*, driver for CUDA \d+\.\d+\n$/);
});

Deno.test("values are compared by a program of others, or it is said that they were not", async () => {
  using folder = new TemporaryFolder();
  const python = folder.file("python");
  Deno.writeTextFileSync(python, "#!/bin/sh\necho '[]'\n", { mode: 0o755 });
  const { code, stdout } = await program("tools/gpu_values.ts", [], { DIPC_GPU_PYTHON: python });
  assertEquals(code, 77);
  assertMatch(
    stdout,
    /^SKIPPED: the values were not compared by another program: .* neither CuPy nor PyTorch nor Numba/,
  );
  const absent = await program("tools/gpu_values.ts", [], { DIPC_GPU_PYTHON: "/nowhere/python3" });
  assertEquals(absent.code, 77);
  assertStringIncludes(absent.stdout, "/nowhere/python3 cannot be run");
});

testNeeding(
  [needsUcx, needsCuda],
  "another process reads memory of the GPU in place, or it is said that the driver refuses",
  async () => {
    const { code, stdout, stderr } = await program("tools/gpu_ipc.ts", [], cuda!.env);
    assertEquals([code, stderr], [0, ""]);
    assertMatch(stdout, /^8 batches, 67108864 bytes in place, all values right; /);
    const refused = { CUDA_SIM_FAIL_FUNCTION: "cuIpcGetMemHandle", CUDA_SIM_FAIL_WITH: "CUDA_ERROR_NOT_SUPPORTED" };
    const without = await program("tools/gpu_ipc.ts", [], { ...cuda!.env, ...refused });
    assertEquals(without.code, 77);
    assertMatch(without.stdout, /^SKIPPED: cannot share memory of cuda:0: its driver refuses that/);
  },
);

testNeeding([needsUcx, needsCuda], "the benchmark of GPU memory runs, and a rehearsal keeps no figures", async () => {
  using folder = new TemporaryFolder();
  const out = folder.file("bench.json");
  const { code, stdout, stderr } = await program("bench/gpu.ts", ["--rehearse", "--out", out], cuda!.env);
  assertEquals([code, stderr], [0, ""]);
  assert(!/B\/s/.test(stdout), stdout);
  const { rehearsal, results } = JSON.parse(Deno.readTextFileSync(out));
  assertEquals(rehearsal, true);
  const names = results.map(({ name }: { name: string }) => name);
  assert(names.includes("direct/1 MiB") && names.includes("staged/1 MiB"), `${names}`);
  assert(results.every((result: object) => !("ours" in result)), "a rehearsal measured something");
});
