/**
 * A program that starts children at the moments when UCX has just opened something: with a server that listens, in the middle of a
 * stream between it and a client of its own, and after it. Prints the server's URI and the children's process ids, then waits.
 *
 * @module
 */
import { connect, fromBatches, serve } from "../../../mod.ts";
import { tripsTable } from "../../support/cli_data.ts";

const children: number[] = [];

function startChild(): void {
  const child = new Deno.Command("sleep", { args: ["60"], stdin: "null", stdout: "null", stderr: "null" }).spawn();
  child.unref();
  children.push(child.pid);
}

const server = await serve({ datasets: { x: await fromBatches(tripsTable(20).batches) } });
startChild();
const uri = server.datasets[0].uris[0];
let batches = 0;
for await (using _batch of await connect(uri)) if (++batches === 1) startChild();
startChild();
console.log(JSON.stringify({ uri, children }));
await Deno.stdin.read(new Uint8Array(1));
