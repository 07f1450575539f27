/**
 * A client, in a process of its own, that receives a stream into the memory of a GPU and checks it.
 *
 *     ipc_client.ts URI
 *
 * Prints what it has seen as one JSON object, holding the last batch; ends with its standard input.
 *
 * @module
 */
import { connectCuda, releaseDevices } from "../../../cuda.ts";
import { releaseTransports } from "../../../src/wire/ucx/shared.ts";

/** What the program says. */
export interface IpcClientFacts {
  /** First value of each batch of int64. */
  readonly firsts: string[];
  readonly bodyBytes: number;
  readonly sharedBytes: number;
  readonly sharingReason: string | null;
}

if (import.meta.main) {
  const stream = await connectCuda(Deno.args[0]);
  const firsts: string[] = [];
  let held: Disposable | null = null;
  for await (const batch of stream) {
    held?.[Symbol.dispose]();
    held = batch;
    using host = await batch.toHost();
    firsts.push(String(host.getChildAt(0)!.get(0)));
  }
  const { bodyBytes, sharedBytes, sharingReason } = stream.stats;
  console.log(JSON.stringify({ firsts, bodyBytes, sharedBytes, sharingReason } satisfies IpcClientFacts));
  await Array.fromAsync(Deno.stdin.readable);
  held?.[Symbol.dispose]();
  await releaseTransports();
  await releaseDevices();
}
