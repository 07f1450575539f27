/**
 * The messages between {@link ./parquet.ts} and its worker.
 *
 * @module
 */
import type { DipcErrorCode } from "../errors.ts";
import type { FileStamp } from "./file_handle.ts";

/** To the worker. */
export type ParquetRequest =
  /** Opens the file behind a descriptor of this process, whose status must still be the given one. Comes first. */
  | { readonly op: "open"; readonly fd: number; readonly path: string; readonly stamp: FileStamp }
  /** Starts to decode. */
  | { readonly op: "start"; readonly run: number; readonly batchRows: number }
  /** Requests one more batch. */
  | { readonly op: "next"; readonly run: number }
  /** Ends a run. */
  | { readonly op: "stop"; readonly run: number };

/** From the worker. */
export type ParquetReply =
  /** The file is open. */
  | {
    readonly op: "opened";
    /** An Arrow stream that holds only the schema. */
    readonly schema: Uint8Array<ArrayBuffer>;
    /** Rows of each row group. */
    readonly groupRows: number[];
  }
  /** A batch as an Arrow stream of its own, or null at the end. */
  | { readonly op: "batch"; readonly run: number; readonly bytes: Uint8Array<ArrayBuffer> | null }
  /** A run, or with -1 the file, has failed. */
  | { readonly op: "failed"; readonly run: number; readonly code: DipcErrorCode; readonly message: string }
  /** The decoder has crashed: no further message follows. */
  | { readonly op: "crashed"; readonly message: string };
