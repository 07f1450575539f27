/**
 * The result of a statement, as datasets that clients fetch by its tickets.
 *
 * @module
 */
import type { MessageHeader } from "../../ipc/message.ts";
import type { Dataset, MessageStream } from "../../sources/dataset.ts";
import { ResidentDataset } from "../../sources/resident.ts";
import { PeerError, RefusedError } from "../../tell_peer.ts";
import type { Run } from "./run.ts";

/** A result. */
export interface SqlResult {
  readonly schema: MessageHeader;
  /** What is fetched: the parts together are the result, each of its rows once. */
  readonly parts: readonly Dataset[];
  /** Number of rows; -1 if it is not known yet. */
  readonly rows: number;
  /** Size in bytes; -1 if it is not known yet. */
  readonly bytes: number;
  /** Bytes of it that are in memory and wait to be fetched, for the first time or again. */
  readonly keptBytes: number;
  readonly isOrdered: boolean;
  /** Whether all of it is in memory. */
  readonly isSmall: boolean;
  /** Whether its statement is still open. */
  readonly isRunning: boolean;
  /** Whether it is being fetched. */
  readonly isBeingRead: boolean;
  /** Whether all of it was fetched once, or it has failed. */
  readonly wasRead: boolean;
  /** Ends it; whoever fetches it gets the error. Idempotent. */
  close(error: unknown): Promise<void>;
}

/**
 * Reads the beginning of a result: all of a small one.
 *
 * @param run The execution, taken over
 * @param isOrdered Whether its rows have an order
 * @param room Most bytes of a small one
 * @param parts Parts of another one, unless its rows have an order
 * @throws {DipcError} what the engine throws, `limit_exceeded`, `timeout`
 */
export async function resultOf(run: Run, isOrdered: boolean, room: number, parts: number): Promise<SqlResult> {
  const messages = await run.readAhead(room);
  if (messages !== null) return new SmallResult(new ResidentDataset(run.schema, messages), isOrdered);
  return new SharedResult(run, isOrdered || run.hasDictionaries ? 1 : parts, isOrdered);
}

/** A result that is in memory, which can be fetched more than once. */
export class SmallResult implements SqlResult {
  readonly schema: MessageHeader;
  readonly parts: readonly Dataset[];
  readonly rows: number;
  readonly bytes: number;
  readonly keptBytes: number;
  readonly isOrdered: boolean;
  readonly isSmall = true;
  readonly isRunning = false;
  wasRead = false;
  #readers = 0;
  readonly #dataset: ResidentDataset;

  /** @param dataset Its rows, taken over @param isOrdered Whether they have an order */
  constructor(dataset: ResidentDataset, isOrdered = true) {
    this.schema = dataset.schema;
    this.#dataset = dataset;
    this.rows = this.#dataset.rows;
    this.bytes = this.keptBytes = this.#dataset.bodyBytes;
    this.isOrdered = isOrdered;
    this.parts = [watched(this.#dataset, (isBegun) => {
      this.#readers += isBegun ? 1 : -1;
      if (!isBegun) this.wasRead = true;
    })];
  }

  get isBeingRead(): boolean {
    return this.#readers > 0;
  }

  close(): Promise<void> {
    this.#dataset.close();
    return Promise.resolve();
  }
}

/** Tells when a dataset is being read, and when no more. */
function watched(dataset: ResidentDataset, tell: (isBegun: boolean) => void): Dataset {
  const { schema, rows, batches, bodyBytes, largestBodyBytes } = dataset;
  return {
    ...{ schema, rows, batches, bodyBytes, largestBodyBytes },
    readOnce: false,
    hasFreeBatches: true,
    open(options) {
      const run = dataset.open(options);
      tell(true);
      let isOpen = true;
      return {
        next: () => run.next(),
        close() {
          run.close();
          if (isOpen) tell(false);
          isOpen = false;
        },
      };
    },
    close() {},
  };
}

/** A result that is computed as it is fetched. Its parts take the batches in turns, and each batch once. */
class SharedResult implements SqlResult {
  readonly schema: MessageHeader;
  readonly parts: readonly Dataset[];
  readonly rows = -1;
  readonly bytes = -1;
  readonly isOrdered: boolean;
  readonly isSmall = false;
  readonly #run: Run;
  #readers = 0;
  /** Parts that nobody has fetched yet: they are empty once the others were fetched, and fetched all the same. */
  #untouched: number;

  constructor(run: Run, parts: number, isOrdered: boolean) {
    this.#run = run;
    this.#untouched = parts;
    this.schema = run.schema;
    this.isOrdered = isOrdered;
    this.parts = Array.from({ length: parts }, () => this.#part());
  }

  get isBeingRead(): boolean {
    return this.#readers > 0;
  }

  get isRunning(): boolean {
    return !this.#run.hasEnded;
  }

  get keptBytes(): number {
    return this.#run.readyBytes;
  }

  get wasRead(): boolean {
    return this.#readers === 0 && this.#run.hasEnded && (this.#untouched === 0 || this.#run.hasFailed);
  }

  async close(error: unknown): Promise<void> {
    await this.#run.fail(error);
  }

  #part(): Dataset {
    let isTaken = false;
    return {
      schema: this.schema,
      readOnce: true,
      hasFreeBatches: true,
      open: ({ isPart = false } = {}): MessageStream => {
        if (isPart) {
          throw new RefusedError(
            "unsupported",
            "cannot read metadata and bodies of a result apart; fetch it by Flight",
          );
        }
        if (isTaken) {
          throw new PeerError("busy", "cannot fetch the result: it was fetched before; execute the statement again");
        }
        isTaken = true;
        this.#untouched--;
        this.#readers++;
        return this.#reader(() => {
          isTaken = false;
          this.#untouched++;
        });
      },
      close() {},
    };
  }

  #reader(giveBack: () => void): MessageStream {
    let hasTaken = false, hasEnded = false, isClosed = false;
    return {
      next: async () => {
        hasTaken = true;
        const message = await this.#run.take();
        hasEnded = message === null;
        return message;
      },
      close: async () => {
        if (isClosed) return;
        isClosed = true;
        this.#readers--;
        // Another attempt finds all of it.
        if (!hasTaken) return giveBack();
        // What this one has taken is lost to the others: they must not be complete without it.
        if (!hasEnded) {
          await this.#run.fail(
            new PeerError(
              "cancelled",
              "cannot go on with the result: one of its readers has left; execute the statement again",
            ),
          );
        }
      },
    };
  }
}
