/**
 * The worker that decodes one Parquet file. It is a worker because the decoder is compiled Rust that aborts at some
 * kinds of damage: here that ends the worker, and not the server. It also decodes while the server sends.
 *
 * @module
 */
import { DipcError, LocalError } from "../../errors.ts";
import { textOf } from "../../text.ts";
import { FileHandle } from "../file_handle.ts";
import { DecoderRun } from "./decoder_run.ts";
import type { ParquetReply, ParquetRequest } from "./messages.ts";
import { OpenParquet } from "./open_file.ts";

/** The part of a worker's global scope that is used. */
interface WorkerScope {
  postMessage(message: ParquetReply, transfer?: Transferable[]): void;
  addEventListener(type: "message", listener: (event: MessageEvent<ParquetRequest>) => void): void;
  addEventListener(type: "error", listener: (event: ErrorEvent) => void): void;
  addEventListener(type: "unhandledrejection", listener: (event: PromiseRejectionEvent) => void): void;
}

const scope = globalThis as unknown as WorkerScope;

/** Bytes of the decoder's memory, which ends at 4 GiB, above which a crash is one for lack of memory. */
const FULL_BYTES = 3.5 * 2 ** 30;

let opening: Promise<OpenParquet> | null = null;
/** Path of the file, for messages. */
let path = "";
/** The file, once it is open. */
let openFile: OpenParquet | null = null;
const runs = new Map<number, DecoderRun>();
/** The last step of each run: steps run one after another. */
const steps = new Map<number, Promise<void>>();

scope.addEventListener("message", ({ data }) => {
  switch (data.op) {
    case "open":
      path = data.path;
      opening = open(data);
      opening.catch((cause) => fail(-1, cause));
      break;
    case "start":
      enqueue(data.run, async () => void runs.set(data.run, new DecoderRun(await opening!)));
      break;
    case "next":
      enqueue(data.run, () => next(data.run));
      break;
    case "stop":
      enqueue(data.run, () => stop(data.run));
      break;
  }
});

// A crash of the decoder arrives here; without this handler it would end the whole process.
scope.addEventListener("error", (event) => {
  event.preventDefault();
  reportCrash(event.message);
});
scope.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  reportCrash(textOf(event.reason));
});

async function open({ fd, stamp, choice }: ParquetRequest & { op: "open" }): Promise<OpenParquet> {
  openFile = await OpenParquet.open(FileHandle.borrow(fd, path, stamp), choice);
  scope.postMessage({ op: "opened", info: openFile.info });
  return openFile;
}

async function next(run: number): Promise<void> {
  const bytes = await runs.get(run)!.next();
  scope.postMessage({ op: "batch", run, bytes }, bytes === null ? [] : [bytes.buffer]);
}

async function stop(run: number): Promise<void> {
  const ended = runs.get(run)!;
  runs.delete(run);
  steps.delete(run);
  await ended.stop();
}

/** Runs a step of a run after those before it; after one that fails, the others do nothing. */
function enqueue(run: number, step: () => Promise<void>): void {
  const before = steps.get(run) ?? Promise.resolve();
  const after = before.then(step);
  steps.set(run, after);
  // Batches requested ahead fail in the same way; only the first failure is reported.
  before.then(() => after).catch((cause) => {
    if (steps.get(run) === undefined) return;
    steps.delete(run);
    fail(run, runs.get(run)?.takeFailure() ?? cause);
  });
}

function fail(run: number, error: unknown): void {
  const { code, message } = error instanceof DipcError ? error : decodingError(textOf(error));
  scope.postMessage({ op: "failed", run, code, message });
  // After a trap the state of the decoder's memory is unknown.
  if (error instanceof WebAssembly.RuntimeError) reportCrash(textOf(error));
}

function reportCrash(text: string): void {
  const failure = [...runs.values()].map((run) => run.takeFailure()).find((error) => error !== null);
  const { code, message } = failure ?? decodingError(text);
  scope.postMessage({ op: "crashed", code, message });
}

/** What a failure of the decoder means: everything that it does not support was refused before. */
function decodingError(text: string): DipcError {
  const memory = openFile?.memoryBytes ?? 0;
  if (memory > FULL_BYTES) {
    return new LocalError(
      "out_of_memory",
      `cannot decode the Parquet file "${path}": the decoder used up its 4 GiB of memory; read fewer rows at a time ` +
        "(batchRows), or write smaller row groups",
    );
  }
  const groups = new Set([...runs.values()].map(({ group }) => group));
  const part = groups.size === 1 ? ` in its row group ${[...groups][0]}` : "";
  const doubt = openFile?.doubt ?? "";
  return new LocalError(
    "invalid_data",
    `cannot decode the Parquet file "${path}": it is damaged${part}${doubt}, the decoder reports: ${text}`,
  );
}
