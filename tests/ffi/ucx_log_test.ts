/**
 * What UCX logs is kept in memory of a fixed size. UCX has been seen to write 28 million lines, 8.4 GB, in two minutes, when it
 * had no file descriptors left. This test writes as UCX does: into the file that the variable names when it is loaded.
 */
import { assert, assertEquals, assertLess } from "@std/assert";
import { recentUcxMessages, withUcxLog } from "../../ffi/ucx_log.ts";

const encoder = new TextEncoder();

function line(text: string, level = "ERROR"): Uint8Array {
  return encoder.encode(`[1795900080.554257] [host:4095 :0]            sock.c:355  UCX  ${level} ${text}\n`);
}

/** Writes until the log takes nothing more. @returns how many lines it took */
function fill(file: Deno.FsFile): number {
  for (let count = 0;; count++) {
    try {
      if (file.writeSync(line("connect() failed")) === 0) return count;
    } catch {
      return count;
    }
  }
}

Deno.test("the log of UCX is read once, bounded, and begins anew when it has been read", () => {
  recentUcxMessages();
  const variables = ["UCX_LOG_FILE", "UCX_LOG_LEVEL"];
  assertEquals(variables.map((name) => Deno.env.get(name)), [undefined, undefined]);
  using file = withUcxLog(() => {
    assertEquals(Deno.env.get("UCX_LOG_LEVEL"), "warn");
    return Deno.openSync(Deno.env.get("UCX_LOG_FILE")!, { write: true, truncate: true });
  });
  // A child of this process would find no such file.
  assertEquals(variables.map((name) => Deno.env.get(name)), [undefined, undefined]);
  for (const text of ["first", "second", "second", "third", "fourth"]) file.writeSync(line(text));
  file.writeSync(line("seen elsewhere", "INFO"));
  assertEquals(recentUcxMessages(), ["second", "third", "fourth"]);
  assertEquals(recentUcxMessages(), []);
  for (let round = 0; round < 3; round++) {
    const count = fill(file);
    assert(count > 100);
    assertLess(count * line("connect() failed").byteLength, 65_536);
    assertEquals(recentUcxMessages(), ["connect() failed"]);
    file.writeSync(line(`after round ${round}`));
    assertEquals(recentUcxMessages(), [`after round ${round}`]);
  }
});

Deno.test("a user who names a file or a level of the log gets it there", () => {
  for (const [name, value, file] of [["UCX_LOG_FILE", "/dev/null", "/dev/null"], ["UCX_LOG_LEVEL", "info", "stderr"]]) {
    Deno.env.set(name, value);
    try {
      withUcxLog(() => assertEquals([Deno.env.get(name), Deno.env.get("UCX_LOG_FILE")], [value, file]));
      assertEquals(Deno.env.get(name), value);
    } finally {
      Deno.env.delete(name);
    }
  }
  assertEquals(Deno.env.get("UCX_LOG_FILE"), undefined);
});
