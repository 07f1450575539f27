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
  seed: number;
  /** Keep inputs with new answers in the corpus. */
  save: boolean;
  /** u32 number of runs, u32 length of the current input, then the input. */
  shared: SharedArrayBuffer;
}

/** Bytes of the memory shared with the watcher. */
export const SHARED_BYTES = 8 + MAX_INPUT_BYTES;

async function work({ target: name, seconds, seed, save, shared }: FuzzJob): Promise<FuzzReport> {
  const target = (await loadTargets()).find((each) => each.name === name)!;
  const counters = new Uint32Array(shared, 0, 2);
  const current = new Uint8Array(shared, 8);
  return await fuzz(target, {
    seconds,
    seed,
    corpus: loadCorpus(target),
    onInput(input) {
      Atomics.add(counters, 0, 1);
      counters[1] = Math.min(input.byteLength, MAX_INPUT_BYTES);
      current.set(input.subarray(0, MAX_INPUT_BYTES));
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
