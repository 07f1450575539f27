/**
 * One dataset as a server sends it.
 *
 * @module
 */
import type { Dataset } from "../sources/dataset.ts";
import type { DatasetMemory } from "./shared_memory.ts";

/** One dataset that is served. */
export interface Entry {
  /** Its name. */
  readonly name: string;
  /** What is served. */
  readonly dataset: Dataset;
  /** True if the server made the dataset itself and therefore closes it. */
  readonly owned: boolean;
  /** The same with bodies in host memory, for readers that cannot use those of the dataset. */
  readonly inHost?: Dataset;
  /** Memory space that its bodies are sent from, if that is not host memory. */
  readonly memory?: string;
  /** Whether they are staged through host memory; otherwise they are sent directly. */
  readonly staged?: boolean;
  /** Why they are staged or not. */
  readonly stagingReason?: string;
  /** Memory in which clients of this machine read its bodies, if it is shared. */
  readonly shared?: DatasetMemory;
}
