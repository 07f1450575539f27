/**
 * Describes the datasets of a server to its isolates: by address, by file, or as something that is lent.
 *
 * @module
 */
import { arrowFileShare } from "../../sources/arrow_file.ts";
import type { Dataset } from "../../sources/dataset.ts";
import { ResidentDataset } from "../../sources/resident.ts";
import { fromDataset } from "../../tell_peer.ts";
import type { MessageHeader } from "../../ipc/message.ts";
import type { DatasetSource, PostedDataset, PostedHeader } from "./messages.ts";
import { type SharedMessages, shareMessages } from "./shared_messages.ts";

/**
 * What is posted of the metadata of a message.
 *
 * @param header The metadata
 * @param isShared Whether clients may read its body in place
 */
export function postedHeader({ kind, bytes, rows, buffers }: MessageHeader, isShared: boolean): PostedHeader {
  return isShared ? { kind, bytes, rows, buffers: Float64Array.from(buffers) } : { kind, bytes, rows };
}

/** Describes datasets, each always in the same way. */
export class DatasetSources {
  readonly #ids = new WeakMap<Dataset, number>();
  #lastId = 0;
  /** Datasets in memory whose addresses the isolates know. */
  readonly #shared = new Map<ResidentDataset, SharedMessages>();

  /**
   * Describes a dataset.
   *
   * @throws {DipcError} what the dataset throws, such as `closed`
   */
  async describe(dataset: Dataset): Promise<PostedDataset> {
    return await fromDataset(() => {
      let id = this.#ids.get(dataset);
      if (id === undefined) this.#ids.set(dataset, id = ++this.#lastId);
      return { id, schema: postedHeader(dataset.schema, false), source: this.#sourceOf(dataset) };
    });
  }

  #sourceOf(dataset: Dataset): DatasetSource {
    if (dataset instanceof ResidentDataset) {
      dataset._check();
      let messages = this.#shared.get(dataset);
      if (messages === undefined) {
        messages = shareMessages(dataset);
        this.#shared.set(dataset, messages);
        // Even if its user closes it: the isolates go on sending from it.
        dataset._hold();
      }
      return { kind: "memory", messages };
    }
    const file = arrowFileShare(dataset);
    return file === null ? { kind: "lent" } : { kind: "file", file };
  }

  /** Gives datasets in memory free, once no isolate sends from them any more. */
  close(): void {
    for (const dataset of this.#shared.keys()) dataset._drop();
    this.#shared.clear();
  }
}
