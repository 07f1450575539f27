/**
 * Fuzzes one target in a worker, so that a run that never comes back is noticed from outside.
 *
 * @module
 */
import { fuzz, MAX_INPUT_BYTES } from "./fuzzer.ts";
import { corpusFolder, loadCorpus, loadTargets } from "./registry.ts";
import type { FuzzReport } from "./target.ts";

/** What to do. */
export interface FuzzJob {
  target: string;
  seconds: number;
  /** Ends after so many runs if the time has not ended before; default any number. */
  executions?: number;
  seed: number;
  /** Keep inputs with new answers in the corpus. */
  save: boolean;
  /** Three u32, of which {@linkcode RUNS} and the others are the places, then from {@linkcode INPUT_AT} the input. */
  shared: SharedArrayBuffer;
}

/** Places in the shared memory, in u32: number of runs; length of the current input; the watcher's clock in milliseconds. */
export const RUNS = 0, LENGTH = 1, CLOCK = 2;
/** Start of the current input in the shared memory, in bytes. */
export const INPUT_AT = 16;
/** Bytes of the memory shared with the watcher. */
export const SHARED_BYTES = INPUT_AT + MAX_INPUT_BYTES;

async function work({ target: name, seconds, executions, seed, save, shared }: FuzzJob): Promise<FuzzReport> {
  const target = (await loadTargets()).find((each) => each.name === name)!;
  const state = new Uint32Array(shared, 0, 3);
  return await fuzz(target, {
    ...{ seconds, executions, seed },
    corpus: loadCorpus(target),
    scratch: new Uint8Array(shared, INPUT_AT),
    clock: () => state[CLOCK],
    onRun(inputBytes) {
      state[LENGTH] = inputBytes;
      state[RUNS]++;
    },
    onNew(input, answer) {
      if (!save || target.corpusOf !== undefined || /^finding|crashed/.test(answer)) return;
      Deno.mkdirSync(corpusFolder(name), { recursive: true });
      const file = answer.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 80);
      const url = new URL(file, corpusFolder(name));
      if (!exists(url)) Deno.writeFileSync(url, input);
    },
  });
}

function exists(url: URL): boolean {
  try {
    return Deno.statSync(url).isFile;
  } catch {
    return false;
  }
}

interface WorkerScope {
  onmessage: ((event: MessageEvent<FuzzJob>) => void) | null;
  postMessage(value: unknown): void;
}

const scope = globalThis as unknown as WorkerScope;
// The watcher imports this module for its types and sizes: only a worker has a name for its scope.
if ("WorkerGlobalScope" in globalThis) {
  scope.onmessage = async (event) => scope.postMessage(await work(event.data));
}
