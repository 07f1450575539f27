/** libcuda: its table of functions, how it is found and opened, and how memory spaces are written. */
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { openLibcuda } from "../../ffi/cuda.ts";
import { DipcError } from "../../src/errors.ts";
import { parseSpace } from "../../src/memory/cuda/space.ts";
import { assertDipcError } from "../support/assert.ts";
import { type Claims, compileCheck, readClaims } from "./support/cuda_signatures.ts";
import { cuda, needsCuda, needsSimulator } from "../support/cuda_sim.ts";
import { testNeeding } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";

peerTest(
  ["compiler", "cudaHeaders"],
  "every driver function, constant and size is what NVIDIA's cuda.h declares",
  ({ compiler, cudaHeaders }) => {
    const claims = readClaims();
    assert(claims.functions.length >= 50, `only ${claims.functions.length} functions were read`);
    assert(Object.keys(claims.constants).length >= 30, Object.keys(claims.constants).join());
    assertEquals(compileCheck(claims, compiler, cudaHeaders), "");
  },
);

/** What the check must notice, by the words of the compiler's message. */
const WRONG: [what: string, change: (claims: Claims) => void, message: RegExp][] = [
  ["a parameter too few", (claims) => functionOf(claims, "cuMemAlloc_v2").parameters.pop(), /cuMemAlloc_v2\(/],
  ["a parameter too many", (claims) => {
    functionOf(claims, "cuCtxSynchronize").parameters.push({ ffi: "u32", c: "unsigned int" });
  }, /cuCtxSynchronize\(unsigned int\)/],
  ["a parameter of another type", (claims) => {
    functionOf(claims, "cuMemHostAlloc").parameters[1].c = "unsigned int";
  }, /cuMemHostAlloc\(/],
  ["a wrong width", (claims) => {
    functionOf(claims, "cuMemAlloc_v2").parameters[1].ffi = "u32";
  }, /cuMemAlloc_v2: size_t as u32/],
  ["a wrong sign", (claims) => {
    functionOf(claims, "cuDeviceGet").parameters[1].ffi = "u32";
  }, /cuDeviceGet: int as u32/],
  ["a number for a pointer", (claims) => {
    functionOf(claims, "cuDeviceGet").parameters[0].ffi = "i32";
  }, /cuDeviceGet: CUdevice \* as i32/],
  ["a buffer for a device address", (claims) => {
    functionOf(claims, "cuMemFree_v2").parameters[0].ffi = "buffer";
  }, /cuMemFree_v2: CUdeviceptr as buffer/],
  ["a structure of the wrong size", (claims) => {
    functionOf(claims, "cuIpcOpenMemHandle_v2").parameters[1].ffi = 56;
  }, /cuIpcOpenMemHandle_v2: CUipcMemHandle as 56/],
  ["a wrong result", (claims) => {
    functionOf(claims, "cuInit").result = "i8";
  }, /cuInit: result i8/],
  ["a name without its version", (claims) => {
    functionOf(claims, "cuMemAlloc_v2").name = "cuMemAlloc";
  }, /cuMemAlloc. undeclared/],
  ["a function that there is not", (claims) => {
    functionOf(claims, "cuInit").name = "cuBegin";
  }, /cuBegin. undeclared/],
  ["a wrong constant", (claims) => {
    claims.constants.CUDA_ERROR_NOT_READY = 34;
  }, /CUDA_ERROR_NOT_READY is not 34/],
  ["a wrong size", (claims) => {
    claims.sizes.CUuuid = 36;
  }, /CUuuid has not 36 bytes/],
];

function functionOf(claims: Claims, name: string) {
  return claims.functions.find((signature) => signature.name === name)!;
}

peerTest(["compiler", "cudaHeaders"], "the check notices what is wrong", ({ compiler, cudaHeaders }) => {
  for (const [what, change, message] of WRONG) {
    const claims = readClaims();
    change(claims);
    assertMatch(compileCheck(claims, compiler, cudaHeaders), message, what);
  }
});

Deno.test("without libcuda the error names what was tried, each cause, and what to do", () => {
  const candidates = ["libcuda-that-is-not-there.so.1", "/nonexistent/libcuda.so.1"];
  const before = Deno.env.get("DIPC_LIBCUDA");
  Deno.env.delete("DIPC_LIBCUDA");
  try {
    const error = assertDipcError("library_not_found", "", () => openLibcuda(undefined, { candidates }));
    for (const path of candidates) assertStringIncludes(error.message, `${path}: cannot open shared object file`);
    assertStringIncludes(error.message, "install the NVIDIA driver");
    assertStringIncludes(error.message, "export DIPC_LIBCUDA=");
    assertStringIncludes(error.message, "--gpus all");
  } finally {
    if (before !== undefined) Deno.env.set("DIPC_LIBCUDA", before);
  }
});

Deno.test("a library that a caller or DIPC_LIBCUDA names is the only one tried, and the error says who named it", () => {
  const named = assertThrows(() => openLibcuda("/nonexistent/a.so"), DipcError, "the `library` option names");
  assertEquals(named.message.split("Tried:\n")[1].split("\n").length, 1);
  const before = Deno.env.get("DIPC_LIBCUDA");
  Deno.env.set("DIPC_LIBCUDA", "/nonexistent/b.so");
  try {
    assertThrows(() => openLibcuda(), DipcError, "cannot open the libcuda that DIPC_LIBCUDA names: ");
    assertThrows(() => openLibcuda(), DipcError, "/nonexistent/b.so: cannot open shared object file");
  } finally {
    if (before === undefined) Deno.env.delete("DIPC_LIBCUDA");
    else Deno.env.set("DIPC_LIBCUDA", before);
  }
});

Deno.test("a library that is not a CUDA driver, or an old one, is named with the function that it lacks", () => {
  assertDipcError(
    "library_not_found",
    /libc\.so\.6: .*symbol: cu\w+; dipc needs a driver of CUDA 11\.0 or newer/s,
    () => openLibcuda("libc.so.6"),
  );
});

/** Runs a module with some permissions. @returns what it printed */
async function evaluate(code: string, permissions: string[], env: Record<string, string> = {}): Promise<string> {
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(file, code);
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", "--quiet", "--no-prompt", ...permissions, file],
      cwd: ROOT,
      env,
      stdin: "null",
    }).output();
    return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  } finally {
    await Deno.remove(file);
  }
}

const OPEN = `import { openLibcuda } from "${ROOT}/ffi/cuda.ts";
try { openLibcuda(); console.log("opened"); } catch (error) { console.log(error.code, error.message); }`;

Deno.test("without permission for native libraries the error names the flag", async () => {
  const output = await evaluate(OPEN, ["--allow-env"]);
  assertMatch(output, /^permission_denied cannot open libcuda at .*run with --allow-ffi/);
});

Deno.test("a variable that may not be read is named in the error", async () => {
  const output = await evaluate(OPEN.replace("openLibcuda()", 'openLibcuda(undefined, { candidates: ["no.so"] })'), [
    "--allow-ffi",
  ]);
  assertMatch(output, /^library_not_found/);
  assertStringIncludes(output, "DIPC_LIBCUDA: not readable: needs --allow-env=DIPC_LIBCUDA");
});

testNeeding([needsCuda], "importing loads no library, opening it once does", async () => {
  const code = `import { openCuda } from "${ROOT}/src/memory/cuda/driver.ts";
    const loaded = () => Deno.readTextFileSync("/proc/self/maps").includes("libcuda");
    const before = loaded();
    const driver = openCuda();
    console.log(before, loaded(), openCuda() === driver, /^\\d+\\.\\d+$/.test(driver.version), driver.deviceCount > 0);`;
  const output = await evaluate(code, ["-A"], { ...cuda!.env });
  assertEquals(output.trim(), "false true true true true");
});

testNeeding(
  [needsSimulator],
  "a driver without a GPU is distinguished from no driver, with what to look at",
  async () => {
    const code = `import { openCuda } from "${ROOT}/src/memory/cuda/driver.ts";
    for (let i = 0; i < 2; i++) try { openCuda(); } catch (error) { console.log(error.code, error.message); }`;
    const output = await evaluate(code, ["-A"], { ...cuda!.env, CUDA_SIM_DEVICES: "0" });
    const lines = output.trim().split("\n");
    assertEquals(lines.length, 2, output);
    for (const line of lines) {
      assertMatch(
        line,
        /^unsupported cannot initialise the CUDA driver \(.*\): the CUDA driver reports CUDA_ERROR_NO_DEVICE \(100\)/,
      );
      assertStringIncludes(line, "no GPU is visible: look at nvidia-smi, CUDA_VISIBLE_DEVICES");
    }
  },
);

Deno.test("a memory space is host or cuda:N", () => {
  assertEquals(["host", "cuda:0", "cuda:15"].map(parseSpace), [null, 0, 15]);
  for (
    const space of ["", "cuda", "cuda:", "cuda:-1", "cuda:01", "cuda:1024", "cuda:99999", "CUDA:0", "gpu:0", "cuda:0 "]
  ) {
    assertDipcError(
      "invalid_argument",
      'give "host", or "cuda:N" with N the number of a GPU',
      () => parseSpace(space),
      space,
    );
  }
});
