/**
 * One dataset as a server sends it.
 *
 * @module
 */
import type { Dataset } from "../sources/dataset.ts";

/** One dataset that is served. */
export interface Entry {
  /** Its name. */
  readonly name: string;
  /** What is served. */
  readonly dataset: Dataset;
  /** True where the server made the dataset itself and therefore closes it. */
  readonly owned: boolean;
  /** The same with bodies in host memory, for what cannot read those of the dataset. */
  readonly inHost?: Dataset;
  /** Memory space that its bodies are sent from, where that is not host memory. */
  readonly memory?: string;
  /** Whether they are staged through host memory; otherwise they go to the wire as they are. */
  readonly staged?: boolean;
  /** Why so. */
  readonly stagingReason?: string;
}
