/**
 * Streams of servers in several isolates, and ways to make an isolate fail.
 *
 * @module
 */
import { connect, type Dataset, type DissociatedStreamReader, fromBatches } from "../../../mod.ts";
import { tripsTable } from "../../support/cli_data.ts";

/**
 * Connects to memory that is shared. On a busy machine an isolate may not answer within the second that a client waits for it before
 * it has bodies sent; then the client asks again.
 */
export async function connectShared(uris: string | readonly string[]): Promise<DissociatedStreamReader> {
  for (let tries = 1;; tries++) {
    const reader = await connect(uris);
    if (tries === 10 || !/did not answer in time/.test(reader.stats.sharingReason ?? "")) return reader;
    await reader.cancel();
  }
}

/** Reads a dataset whole: see {@linkcode sumOf}. */
export async function readAll(uris: string | readonly string[]): Promise<{ rows: number; sum: number }> {
  return await sumOf(await connect(uris));
}

/** Sum of all ids of a stream, and its rows. */
export async function sumOf(reader: DissociatedStreamReader): Promise<{ rows: number; sum: number }> {
  let rows = 0, sum = 0;
  for await (using batch of reader) {
    rows += batch.numRows;
    for (const id of batch.getChild("id")!.toArray() as Int32Array) sum += id;
  }
  return { rows, sum };
}

/** What {@linkcode sumOf} must return for a table of so many batches. */
export function wholeOf(batches: number): { rows: number; sum: number } {
  const rows = 1000 * batches;
  return { rows, sum: rows * (rows - 1) / 2 };
}

/** A dataset that never ends, made of batches on request. */
export async function endless(): Promise<Dataset> {
  const { batches } = tripsTable(4);
  return await fromBatches(function* () {
    for (;;) yield* batches;
  });
}

/** The web workers that are started until it is disposed, in order. */
export class StartedWorkers implements Disposable {
  readonly all: Worker[] = [];
  readonly #original = globalThis.Worker;

  constructor() {
    const { all } = this;
    globalThis.Worker = class extends this.#original {
      constructor(...parameters: ConstructorParameters<typeof Worker>) {
        super(...parameters);
        all.push(this);
      }
    };
  }

  /** Causes an error in a worker that nothing there catches. */
  crash(index: number): void {
    this.all[index].postMessage({ op: "no such message" });
  }

  [Symbol.dispose](): void {
    globalThis.Worker = this.#original;
  }
}
