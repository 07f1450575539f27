/**
 * The worker that decodes one Parquet file. It is a worker because the decoder is compiled Rust that aborts at some
 * kinds of damage: here that ends the worker, and not the server. It also decodes while the server sends.
 *
 * @module
 */
import type * as ParquetWasm from "parquet-wasm";
import { DipcError } from "../errors.ts";
import { textOf } from "../text.ts";
import { FileBlob } from "./file_blob.ts";
import { FileHandle } from "./file_handle.ts";
import type { ParquetReply, ParquetRequest } from "./parquet_messages.ts";
import { loadParquetWasm } from "./parquet_wasm.ts";

/** The part of a worker's global scope that is used. */
interface WorkerScope {
  postMessage(message: ParquetReply, transfer?: Transferable[]): void;
  addEventListener(type: "message", listener: (event: MessageEvent<ParquetRequest>) => void): void;
  addEventListener(type: "error", listener: (event: ErrorEvent) => void): void;
  addEventListener(type: "unhandledrejection", listener: (event: PromiseRejectionEvent) => void): void;
}

const scope = globalThis as unknown as WorkerScope;

interface OpenFile {
  readonly path: string;
  readonly blob: FileBlob;
  readonly file: ParquetWasm.ParquetFile;
}

interface Run {
  readonly reader: ReadableStreamDefaultReader<ParquetWasm.RecordBatch>;
}

let openFile: Promise<OpenFile> | null = null;
const runs = new Map<number, Promise<Run>>();
/** The last step of each run: steps run one after another. */
const steps = new Map<number, Promise<void>>();

scope.addEventListener("message", ({ data }) => {
  switch (data.op) {
    case "open":
      openFile = open(data.fd, data.path, data.stamp);
      openFile.catch((cause) => fail(-1, data.path, cause, null));
      break;
    case "start":
      enqueue(data.run, async () => {
        const started = start(data.batchRows);
        runs.set(data.run, started);
        await started;
      });
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
  scope.postMessage({ op: "crashed", message: event.message });
});
scope.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  scope.postMessage({ op: "crashed", message: textOf(event.reason) });
});

async function open(fd: number, path: string, stamp: Parameters<typeof FileHandle.borrow>[2]): Promise<OpenFile> {
  const parquet = await loadParquetWasm();
  const blob = new FileBlob(FileHandle.borrow(fd, path, stamp));
  let file: ParquetWasm.ParquetFile;
  try {
    file = await parquet.ParquetFile.fromFile(blob);
  } catch (cause) {
    throw blob.takeFailure() ?? cause;
  }
  const schema = file.schema().intoIPCStream() as Uint8Array<ArrayBuffer>;
  using metadata = file.metadata();
  const groupRows: number[] = [];
  for (let i = 0; i < metadata.numRowGroups(); i++) {
    using group = metadata.rowGroup(i);
    groupRows.push(group.numRows());
  }
  scope.postMessage({ op: "opened", schema, groupRows }, [schema.buffer]);
  return { path, blob, file };
}

async function start(batchRows: number): Promise<Run> {
  const { file } = await openFile!;
  const stream: ReadableStream<ParquetWasm.RecordBatch> = await file.stream({ batchSize: batchRows });
  return { reader: stream.getReader() };
}

async function next(run: number): Promise<void> {
  const { reader } = await runs.get(run)!;
  const result = await reader.read();
  if (result.done) {
    scope.postMessage({ op: "batch", run, bytes: null });
  } else {
    // Takes the batch out of the decoder's memory.
    const bytes = result.value.intoIPCStream() as Uint8Array<ArrayBuffer>;
    scope.postMessage({ op: "batch", run, bytes }, [bytes.buffer]);
  }
}

async function stop(run: number): Promise<void> {
  const { reader } = await runs.get(run)!;
  runs.delete(run);
  steps.delete(run);
  await reader.cancel();
}

/** Runs a step of a run after those before it; after one that fails, the others do nothing. */
function enqueue(run: number, step: () => Promise<void>): void {
  const before = steps.get(run) ?? Promise.resolve();
  const after = before.then(step);
  steps.set(run, after);
  // Batches requested ahead fail in the same way; only the first failure is reported.
  before.then(() => after).catch(async (cause) => {
    if (steps.get(run) === undefined) return;
    steps.delete(run);
    const file = await openFile?.catch(() => null) ?? null;
    fail(run, file?.path ?? "", cause, file?.blob ?? null);
  });
}

function fail(run: number, path: string, cause: unknown, blob: FileBlob | null): void {
  const error = blob?.takeFailure() ?? cause;
  const { code, message } = error instanceof DipcError ? error : {
    code: "invalid_data" as const,
    message: `cannot decode the Parquet file "${path}": ${
      textOf(error)
    }; the file is damaged, or has a feature that is not supported${
      error instanceof WebAssembly.RuntimeError
        ? ", or a batch needs more than the decoder's 4 GiB of memory: read fewer rows at a time (batchRows)"
        : ""
    }`,
  };
  scope.postMessage({ op: "failed", run, code, message });
  // After a trap the state of the decoder's memory is unknown.
  if (error instanceof WebAssembly.RuntimeError) scope.postMessage({ op: "crashed", message: textOf(error) });
}
