/**
 * A server, in a process of its own, of datasets in the memory of a GPU that are shared.
 *
 *     ipc_server.ts '{"datasets":{"NAME":"FILE"}}'
 *
 * Prints the URIs as one JSON object; answers each line on standard input with what clients have, and ends with it.
 *
 * @module
 */
import { releaseDevices } from "../../../cuda.ts";
import { serve } from "../../../mod.ts";
import type { Dataset } from "../../../src/sources/dataset.ts";
import { releaseTransports } from "../../../src/wire/ucx/shared.ts";
import { generated } from "../../support/generated.ts";

/** What the program serves. */
export interface IpcServerTask {
  /** Files by the names of their datasets. */
  readonly files?: Readonly<Record<string, string>>;
  /** Batches and rows of generated datasets. */
  readonly generated?: Readonly<Record<string, readonly [batches: number, rows: number]>>;
  readonly memory?: string;
  readonly minBodyBytes?: number;
  /** Whether it is a Flight server, too. */
  readonly flight?: boolean;
}

if (import.meta.main) {
  const task: IpcServerTask = JSON.parse(Deno.args[0]);
  const { files = {}, memory = "cuda:0", minBodyBytes, flight } = task;
  const placed = (name: string, source: string | Dataset) => [name, { source, memory, share: true }] as const;
  const datasets = Object.fromEntries([
    ...Object.entries(files).map(([name, path]) => placed(name, path)),
    ...Object.entries(task.generated ?? {}).map(([name, [batches, rows]]) => placed(name, generated(batches, rows))),
  ]);
  const server = await serve({ datasets, sharing: { minBodyBytes }, flight: flight ? {} : undefined });
  const uris = server.datasets.map(({ name, uris }) => [name, uris[0]]);
  console.log(JSON.stringify({ ...Object.fromEntries(uris), flight: server.flight?.location }));
  const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
  for await (const _ of lines) console.log(JSON.stringify(server.sharing));
  await server.shutdown({ timeoutMs: 0 });
  await releaseTransports();
  await releaseDevices();
}
