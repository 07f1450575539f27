/**
 * A client of shared memory that somebody else wrote, from the document alone; and one of another user.
 *
 * @module
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { serve } from "../../mod.ts";
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

async function client(socket: string, ticket: string, uid?: number): Promise<Record<string, unknown>> {
  // The other user may not read this folder: the program comes as text.
  const program = await Deno.readTextFile(`${ROOT}/tests/python/share_client.py`);
  const { stdout, stderr } = await new Deno.Command(PYTHON, {
    args: ["-c", program, socket, ticket],
    cwd: "/",
    ...(uid === undefined ? {} : { uid, gid: uid }),
  }).output();
  const text = new TextDecoder().decode(stdout);
  if (text === "") throw new Error(new TextDecoder().decode(stderr));
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
