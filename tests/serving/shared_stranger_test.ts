/**
 * A client of shared memory that somebody else wrote, from the document alone; and one of another user.
 *
 * @module
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { serve } from "../../mod.ts";
import { releaseDevices } from "../../cuda.ts";
import { releaseTransports } from "../../src/wire/ucx/shared.ts";
import { cuda, needsCuda } from "../support/cuda_sim.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { resident } from "../support/generated.ts";
import { ROOT } from "../support/paths.ts";

const ROWS = 10_000;
const PYTHON = "/usr/bin/python3";
const needsPlainPython = {
  what: PYTHON,
  present: (() => {
    try {
      return Deno.statSync(PYTHON).isFile;
    } catch {
      return false;
    }
  })(),
  how: "sudo apt-get install python3",
};
/** Another user than root. */
const NOBODY = 65534;

function client(socket: string, ticket: string, uid?: number): Promise<Record<string, unknown>> {
  return run("share_client.py", [socket, ticket], uid);
}

async function run(name: string, args: readonly string[], uid?: number): Promise<Record<string, unknown>> {
  // The other user may not read this folder: the program comes as text.
  const program = await Deno.readTextFile(`${ROOT}/tests/python/${name}`);
  const { stdout, stderr } = await new Deno.Command(PYTHON, {
    args: ["-c", program, ...args],
    cwd: "/",
    ...(uid === undefined ? {} : { uid, gid: uid }),
  }).output();
  const [text, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  if (text === "" || errors !== "") throw new Error(errors);
  return JSON.parse(text);
}

testNeeding(
  [needsUcx, needsPlainPython],
  "a client written from the document gets memory that it can read and not change",
  async () => {
    await using server = await serve({ datasets: { t: { source: resident(2, ROWS), share: true } } });
    const socket = new URL(server.datasets[0].uris[0]).searchParams.get("share")!;
    const { said, ...facts } = await client(socket, "t");
    assertEquals(facts, {
      ...{ seals: 1 + 2 + 4 + 8, size: said, base: 0, first: 0 },
      refused: ["shrink", "write", "map to write", "open to write"],
    });
    assertEquals((await client(socket, "other")).code, "not_found");
    if (Deno.uid() !== 0) return console.log("SKIPPED the client of another user: only root can start one");
    const { code, message } = await client(socket, "t", NOBODY);
    assertEquals(code, "permission_denied");
    assertStringIncludes(String(message), `another user (${NOBODY})`);
  },
);

testNeeding(
  [needsUcx, needsPlainPython, needsCuda],
  "a client written from the document opens memory of a GPU, and says that of a memfd is another kind",
  async () => {
    Deno.env.set("DIPC_LIBCUDA", cuda!.library);
    const source = resident(2, ROWS);
    {
      await using server = await serve({
        datasets: { t: { source, memory: "cuda:0", share: true }, host: { source, share: true } },
      });
      const socket = new URL(server.datasets[0].uris[0]).searchParams.get("share")!;
      const facts = await run("share_cuda_client.py", [cuda!.library, socket, "t"]);
      const expected = {
        kind: 1,
        descriptors: 0,
        base: 0,
        size: 2 << 20,
        same_gpu: true,
        event: true,
        start: [0, 1, 2],
      };
      assertEquals(facts, expected);
      assertEquals((await client(socket, "t")).code, "unsupported");
      assertEquals((await run("share_cuda_client.py", [cuda!.library, socket, "host"])).code, "unsupported");
    }
    await releaseTransports();
    await releaseDevices();
    assertEquals(cuda!.control?.complaints ?? [], []);
  },
);
