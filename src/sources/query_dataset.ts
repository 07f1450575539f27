/**
 * The rows of a query as a dataset, which is executed anew for each run.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { MessageHeader } from "../ipc/message.ts";
import type { Dataset, MessageStream } from "./dataset.ts";

/** Executes the query, which `signal` cancels; closing the run closes all that it has opened. */
export type OpenRun = (signal?: AbortSignal) => Promise<MessageStream>;

/** A query of a database. */
export class QueryDataset implements Dataset {
  readonly schema: MessageHeader;
  readonly readOnce = false;
  readonly hasFreeBatches = true;
  readonly #openRun: OpenRun;
  readonly #runs = new Set<MessageStream>();
  #isClosed = false;

  /**
   * @param schema The schema message of its rows
   * @param openRun Executes it once
   */
  constructor(schema: MessageHeader, openRun: OpenRun) {
    this.schema = schema;
    this.#openRun = openRun;
  }

  async open({ signal, isPart = false }: { signal?: AbortSignal; isPart?: boolean } = {}): Promise<MessageStream> {
    if (isPart) {
      throw new DipcError(
        "unsupported",
        "cannot read metadata and bodies of a query apart: each is a run of its own, and the rows may change between " +
          "them; serve it without metadataPort",
      );
    }
    this.#checkOpen();
    const inner = await this.#openRun(signal);
    let closing: Promise<void> | null = null;
    const run: MessageStream = {
      schema: inner.schema,
      next: () => inner.next(),
      close: () => {
        this.#runs.delete(run);
        return closing ??= Promise.resolve(inner.close());
      },
    };
    this.#runs.add(run);
    if (this.#isClosed) await run.close();
    this.#checkOpen();
    return run;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#runs].map((run) => run.close()));
  }

  #checkOpen(): void {
    if (this.#isClosed) {
      throw new DipcError("closed", "cannot read the query: its dataset was closed; make another one");
    }
  }
}
