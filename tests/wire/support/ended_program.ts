/**
 * A program that reads a stream by UCX, whose connection then waits for the next one, and ends. It prints how many connections to the
 * server's port it has after the stream and at its end.
 *
 * `deno run -A tests/wire/support/ended_program.ts URI return|exit`
 *
 * @module
 */
import { connect } from "../../../mod.ts";

const [uri, how] = Deno.args;
const port = Number(/:(\d+)\//.exec(uri)![1]).toString(16).toUpperCase().padStart(4, "0");

/** Sockets of this process that are connected to the server's port. */
function connections(): number {
  const own = new Set([...Deno.readDirSync("/proc/self/fd")].map(({ name }) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(Deno.readLinkSync(`/proc/self/fd/${name}`))?.[1];
    } catch {
      return undefined; // the descriptor of the folder itself
    }
  }));
  const lines = Deno.readTextFileSync("/proc/self/net/tcp").trim().split("\n").slice(1);
  return lines.map((line) => line.trim().split(/\s+/))
    .filter(([, , remote, , , , , , , inode]) => remote.endsWith(`:${port}`) && own.has(inode)).length;
}

{
  await using reader = await connect(uri);
  for await (using batch of reader) void batch;
}
const waiting = connections();
globalThis.addEventListener("unload", () => console.log(JSON.stringify({ waiting, left: connections() })));
if (how === "exit") Deno.exit();
