/**
 * `timeoutMs` is the longest wait for a server that has stopped, at whatever moment: for the connection, the request and the schema
 * together, and for the next message after it. Each had its own, and one began anew when UCX moved something of its own: 8.3 s were
 * seen of 4.
 */
import { assertGreater, assertLess } from "@std/assert";
import { connect, releaseTransports } from "../../mod.ts";
import { cString, libc } from "../../ffi/libc.ts";
import { assertDipcError } from "../support/assert.ts";
import { tripsBytes } from "../support/cli_data.ts";
import { testNeeding, ucxVersions } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { type Running, startDipc } from "../support/processes.ts";

const TIMEOUT_MS = 2_000;
/** Room for a busy machine; a second wait would take twice as long. */
const LATE_MS = 1_500;
const [main] = ucxVersions;

async function withServer(use: (server: Running, uri: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeFile(`${folder}/x.arrows`, tripsBytes("stream", 400));
    await using server = startDipc([`${folder}/x.arrows`], { program: `${ROOT}/tests/wire/support/event_server.ts` });
    await use(server, JSON.parse((await server.firstLine)!)[0]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function timesOut(act: () => Promise<unknown>): Promise<void> {
  const start = performance.now();
  await assertDipcError("timeout", "", act);
  const milliseconds = performance.now() - start;
  assertGreater(milliseconds, TIMEOUT_MS / 2);
  assertLess(milliseconds, TIMEOUT_MS + LATE_MS);
}

async function stopsInTheMiddle(server: Running, uri: string): Promise<void> {
  await using reader = await connect(uri, { timeoutMs: TIMEOUT_MS });
  await reader.next();
  server.kill("SIGSTOP");
  // What had been sent before still arrives.
  await timesOut(async () => {
    for await (using _batch of reader);
  });
}

testNeeding([main.need], "a server that stands still before it is connected to costs one time-out", async () => {
  await withServer(async (server, uri) => {
    server.kill("SIGSTOP");
    await timesOut(() => connect(uri, { timeoutMs: TIMEOUT_MS }));
  });
});

testNeeding([main.need], "a server that stands still in the middle of a stream costs one time-out", async () => {
  await withServer(stopsInTheMiddle);
});

/**
 * UCX asks every 20 s whether the peer's system is still there. That was taken for news of the stream, so that a time-out longer
 * than that, as the default of 30 s, never ended on a server that had stopped. Here it asks every second.
 */
testNeeding(
  [main.need],
  "what UCX asks by itself does not extend the wait for a server that stands still",
  async () => {
    await releaseTransports();
    libc().setenv(cString("UCX_KEEPALIVE_INTERVAL"), cString("1s"), 1);
    try {
      await withServer(stopsInTheMiddle);
    } finally {
      libc().unsetenv(cString("UCX_KEEPALIVE_INTERVAL"));
      await releaseTransports();
    }
  },
);
