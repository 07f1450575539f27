/**
 * A file as a dataset that notices when another file has taken its place, and when it was written to.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { textOf } from "../text.ts";
import type { Dataset, DatasetEngine, MessageStream } from "./dataset.ts";
import { FileHandle } from "./file_handle.ts";
import { FileLease } from "./file_lease.ts";

/** A file that was written to counts as whole once nothing was written for so long, in milliseconds. */
const SETTLED_MS = 1_000;
/** How often a file may change while it is opened, before that fails. */
const MAX_ATTEMPTS = 3;

/** What distinguishes a file, and its content, from another one. */
interface Identity {
  readonly dev: number;
  readonly ino: number | null;
  readonly size: number;
  readonly mtimeMs: number;
}

/** One content of the file, open as long as anything reads it. */
interface Generation {
  readonly dataset: Dataset;
  readonly identity: Identity;
  runs: number;
  isOver: boolean;
}

/** Opens what is at a path. */
type OpenFile<O> = (path: string, options: O) => Promise<Dataset>;

/** A file that is followed by its path. */
export class FollowedFile<O> implements Dataset {
  readonly #path: string;
  readonly #options: O;
  readonly #openFile: OpenFile<O>;
  readonly #first: Generation;
  #current: Generation;
  #reopening: Promise<void> | null = null;
  /** A changed file that was not taken for whole yet, and when it was first seen so. */
  #seen: { identity: Identity; sinceMs: number } | null = null;
  #isClosed = false;

  private constructor(path: string, options: O, openFile: OpenFile<O>, first: Generation) {
    this.#path = path;
    this.#options = options;
    this.#openFile = openFile;
    this.#first = this.#current = first;
  }

  /**
   * Opens a file.
   *
   * @param path Path of a regular file
   * @param options What `openFile` needs
   * @param openFile Opens what is at the path
   * @throws {DipcError} what it throws; `io` if the file changes again and again meanwhile
   */
  static async open<O>(path: string, options: O, openFile: OpenFile<O>): Promise<FollowedFile<O>> {
    return new FollowedFile(path, options, openFile, await openGeneration(path, options, openFile));
  }

  /** As its latest content has it; so is everything else. */
  get schema(): MessageHeader {
    return this.#current.dataset.schema;
  }

  get footerMetadata(): ReadonlyMap<string, string> | undefined {
    return this.#current.dataset.footerMetadata;
  }

  get rows(): number | undefined {
    return this.#current.dataset.rows;
  }

  get batches(): number | undefined {
    return this.#current.dataset.batches;
  }

  get bodyBytes(): number | undefined {
    return this.#current.dataset.bodyBytes;
  }

  get largestBodyBytes(): number | undefined {
    return this.#current.dataset.largestBodyBytes;
  }

  get hasFreeBatches(): boolean | undefined {
    return this.#current.dataset.hasFreeBatches;
  }

  get engine(): DatasetEngine | undefined {
    return this.#current.dataset.engine;
  }

  get readOnce(): boolean {
    return this.#current.dataset.readOnce;
  }

  /** Starts a run through what is at the path now. */
  async open(options: Parameters<Dataset["open"]>[0] = {}): Promise<MessageStream> {
    if (options.isPart) this.#checkFirst();
    else await this.refresh();
    this.#checkOpen();
    const generation = this.#current;
    generation.runs++;
    let run: MessageStream;
    try {
      run = await generation.dataset.open(options);
    } catch (error) {
      await this.#leave(generation);
      throw error;
    }
    let isOver = false;
    return {
      schema: generation.dataset.schema,
      next: () => run.next(),
      close: async () => {
        if (isOver) return;
        isOver = true;
        await run.close();
        await this.#leave(generation);
      },
    };
  }

  /** Opens the file anew if it has changed. @throws {DipcError} `io` if it has changed and is not whole */
  async refresh(): Promise<void> {
    this.#checkOpen();
    const found = identityOf(this.#path);
    // A file that was removed can still be read, and there is none in its place.
    if (found === null || isSame(found, this.#current.identity)) return;
    await (this.#reopening ??= this.#reopen(found).finally(() => this.#reopening = null));
  }

  /** Running streams of the latest content fail with `closed`; those of an earlier one go on. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#current.dataset.close();
  }

  async #reopen(found: Identity): Promise<void> {
    const before = this.#current;
    this.#checkWhole(found, before.identity);
    let next: Generation;
    try {
      next = await openGeneration(this.#path, this.#options, this.#openFile);
    } catch (cause) {
      throw this.#changed(`it cannot be opened again: ${textOf(cause)}`, cause);
    }
    if (this.#isClosed) {
      await next.dataset.close();
      return this.#checkOpen();
    }
    this.#seen = null;
    this.#current = next;
    before.isOver = true;
    if (before.runs === 0) await before.dataset.close();
  }

  /** A file that is being written to could be taken for whole although half of it is old. */
  #checkWhole(found: Identity, before: Identity): void {
    if (isOpenForWriting(this.#path)) throw this.#changed("a process is still writing to it");
    if (found.dev !== before.dev || found.ino !== before.ino) return;
    const nowMs = performance.now();
    if (this.#seen === null || !isSame(this.#seen.identity, found)) this.#seen = { identity: found, sinceMs: nowMs };
    // The clock of another machine may have set the time.
    const quietMs = Math.max(nowMs - this.#seen.sinceMs, Date.now() - found.mtimeMs);
    if (quietMs < SETTLED_MS) throw this.#changed(`it was written to less than ${SETTLED_MS / 1000} s ago`);
  }

  /** Metadata and bodies that are read apart must be of one content, and who reads the other half is not known here. */
  #checkFirst(): void {
    const found = identityOf(this.#path);
    if (this.#current === this.#first && (found === null || isSame(found, this.#first.identity))) return;
    throw new LocalError(
      "io",
      `cannot read "${this.#path}": it has changed since it was opened, and a server with a port of its own for metadata ` +
        "cannot serve it anew; start the server again",
    );
  }

  #changed(why: string, cause?: unknown): LocalError {
    return new LocalError(
      "io",
      `cannot read "${this.#path}": it has changed, and ${why}; it is read again once it is whole: write a new file and ` +
        "rename it over the old one, which is noticed at once",
      { cause },
    );
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new LocalError("closed", `cannot read "${this.#path}": it was closed`);
  }

  async #leave(generation: Generation): Promise<void> {
    if (--generation.runs === 0 && generation.isOver) await generation.dataset.close();
  }
}

/** Opens what is at the path, such that its identity is known. */
async function openGeneration<O>(path: string, options: O, openFile: OpenFile<O>): Promise<Generation> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const before = identityOf(path);
    const dataset = await openFile(path, options);
    const identity = identityOf(path);
    if (before !== null && identity !== null && isSame(before, identity)) {
      return { dataset, identity, runs: 0, isOver: false };
    }
    await dataset.close();
  }
  throw new LocalError("io", `cannot open "${path}": it changed again and again while it was being opened`);
}

/** `null` if there is nothing. */
function identityOf(path: string): Identity | null {
  try {
    const { dev, ino, size, mtime } = Deno.statSync(path);
    return { dev, ino, size, mtimeMs: mtime?.getTime() ?? 0 };
  } catch {
    return null;
  }
}

function isSame(one: Identity, other: Identity): boolean {
  return one.dev === other.dev && one.ino === other.ino && one.size === other.size && one.mtimeMs === other.mtimeMs;
}

function isOpenForWriting(path: string): boolean {
  try {
    using file = FileHandle.open(path);
    return new FileLease(file).isFileOpenForWriting();
  } catch {
    return false; // opening it as a dataset says why
  }
}
