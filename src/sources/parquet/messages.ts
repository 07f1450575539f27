/**
 * The messages between {@link ./decoder.ts} and its worker.
 *
 * @module
 */
import type { DipcErrorCode } from "../../errors.ts";
import type { FileStamp } from "../file_handle.ts";
import type { FixedLists } from "./fixed_lists.ts";

/** How batches are made. */
export interface BatchChoice {
  /** Rows of each batch. */
  readonly batchRows: number;
  /** Whether fewer rows may be chosen for the sake of smaller batches. */
  readonly hasFreeBatches: boolean;
}

/** What is known of a file before it is decoded. */
export interface ParquetInfo {
  /** Metadata of the schema message that is served. */
  readonly schema: Uint8Array<ArrayBuffer>;
  /** Metadata of the schema message that the decoder's batches have. */
  readonly decoded: Uint8Array<ArrayBuffer>;
  /** Rows of each row group, and rows of each of its batches; the last one may have fewer. */
  readonly groups: readonly { readonly rows: number; readonly batchRows: number }[];
  /** Columns of lists of one length, for whose number there is a check. */
  readonly fixedLists: readonly FixedLists[];
  /** Whether batches may also have fewer rows at the end of a page. */
  readonly followsPages: boolean;
  /** Why DuckDB would read it otherwise than the decoder, as far as the footer says; else `null`. */
  readonly obstacle: string | null;
  /** Batches that are requested ahead of the next one. */
  readonly ahead: number;
}

/** To the worker. */
export type ParquetRequest =
  /** Opens the file behind a descriptor of this process, whose status must still be the given one. Comes first. */
  | {
    readonly op: "open";
    readonly fd: number;
    readonly path: string;
    readonly stamp: FileStamp;
    readonly choice: BatchChoice;
  }
  /** Starts to decode. */
  | { readonly op: "start"; readonly run: number }
  /** Requests one more batch. */
  | { readonly op: "next"; readonly run: number }
  /** Ends a run. */
  | { readonly op: "stop"; readonly run: number };

/** From the worker. */
export type ParquetReply =
  /** The file is open. */
  | { readonly op: "opened"; readonly info: ParquetInfo }
  /** A batch as an Arrow stream of its own, or null at the end. */
  | { readonly op: "batch"; readonly run: number; readonly bytes: Uint8Array<ArrayBuffer> | null }
  /** A run, or with -1 the file, has failed. */
  | { readonly op: "failed"; readonly run: number; readonly code: DipcErrorCode; readonly message: string }
  /** The decoder has crashed: no further message follows. */
  | { readonly op: "crashed"; readonly code: DipcErrorCode; readonly message: string };
