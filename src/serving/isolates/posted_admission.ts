/**
 * Has the main isolate decide about requests, and makes datasets of what it answers.
 *
 * @module
 */
import { DipcError } from "../../errors.ts";
import type { StreamRole } from "../../protocol/role.ts";
import { openSharedArrowFile } from "../../sources/arrow_file.ts";
import type { Dataset } from "../../sources/dataset.ts";
import type { SendableDataset, SendableHeader, SendableMessage, SendableStream } from "../../stream/sendable.ts";
import { fromDataset } from "../../tell_peer.ts";
import { type DatasetMemory, PackedMemory, StreamMemory } from "../shared_memory.ts";
import type { StreamAdmission, StreamGrant } from "../stream_plane.ts";
import { BorrowedDataset } from "./borrowed_dataset.ts";
import type { Link } from "./link.ts";
import type { PostedDataset, PostedGrant } from "./messages.ts";
import { SharedDataset } from "./shared_messages.ts";

/** The admission of an isolate that holds connections. */
export class PostedAdmission implements StreamAdmission {
  readonly #link: Link;
  /** Datasets that are the same for all streams, by number. */
  readonly #known = new Map<number, SendableDataset>();
  readonly #files: Dataset[] = [];
  /** Memory of shared datasets by their names, and which dataset of that name it is of. */
  readonly #memories = new Map<string, { readonly dataset: number; readonly memory: DatasetMemory }>();
  readonly #arenaBytes: number;

  /**
   * @param link To the main isolate
   * @param arenaBytes Size of the arena of each shared dataset that is not in memory, in bytes
   */
  constructor(link: Link, arenaBytes: number) {
    this.#link = link;
    this.#arenaBytes = arenaBytes;
  }

  /** Decides about a request for which no stream follows, so that nobody forgets the grant. */
  async look(ticket: Uint8Array, role: StreamRole): Promise<StreamGrant> {
    const grant = await this.admit(ticket, role);
    grant.forget();
    return grant;
  }

  /** Memory of a dataset that a request has been admitted for; `undefined` if it is not shared. */
  memoryOf(name: string): DatasetMemory | undefined {
    return this.#memories.get(name)?.memory;
  }

  /** Bytes of the arenas of this isolate that are in use. */
  get arenaBytes(): number {
    return this.#memories.values().reduce((sum, { memory }) => sum + memory.usedBytes, 0);
  }

  async admit(ticket: Uint8Array, role: StreamRole): Promise<ReceivedGrant> {
    const grant = await this.#link.ask((request) => ({ op: "admit", request, ticket, role }));
    if (grant === null) throw new DipcError("internal", "cannot admit the request: the answer to it has no grant");
    try {
      this.#noteMemory(grant);
      return new ReceivedGrant(grant, await fromDataset(() => this.#dataset(grant)), this.#link);
    } catch (error) {
      this.#link.post({ op: "forget", grant: grant.id });
      throw error;
    }
  }

  /** Closes the files that were opened here; no stream reads them any more. */
  async close(): Promise<void> {
    for (const file of this.#files) await file.close();
    for (const { memory } of this.#memories.values()) memory.close();
  }

  /** A dataset of the same name may have taken the place of an earlier one. */
  #noteMemory({ name, dataset, memory }: PostedGrant): void {
    const known = this.#memories.get(name);
    if (known?.dataset === dataset.id) return;
    known?.memory.close();
    this.#memories.delete(name);
    if (memory === undefined) return;
    const opened = memory.kind === "packed"
      ? new PackedMemory(memory.grant, () => {})
      : new StreamMemory(this.#arenaBytes);
    this.#memories.set(name, { dataset: dataset.id, memory: opened });
  }

  #dataset({ id, dataset }: PostedGrant): SendableDataset {
    let known = this.#known.get(dataset.id);
    if (known !== undefined) return known;
    if (dataset.source.kind === "lent") return new BorrowedDataset(dataset.schema, this.#link, id);
    known = this.#open(dataset);
    this.#known.set(dataset.id, known);
    return known;
  }

  #open({ schema, source }: PostedDataset): SendableDataset {
    if (source.kind === "memory") return new SharedDataset(schema, source.messages);
    if (source.kind !== "file") throw new DipcError("internal", "cannot open the dataset: it is lent for one stream");
    const file = openSharedArrowFile(source.file);
    this.#files.push(file);
    return file;
  }
}

/** A grant as its stream uses it. */
class ReceivedGrant implements StreamGrant {
  readonly entry: { readonly name: string; readonly dataset: SendableDataset };
  #outcome: { readonly error: unknown } | null = null;
  /** Has the main isolate forget it; no stream follows. */
  readonly forget: () => void;

  constructor({ id, name, mustSpend }: PostedGrant, dataset: SendableDataset, link: Link) {
    const spend = async (): Promise<void> => {
      try {
        await link.ask((request) => ({ op: "spend", request, grant: id }));
      } catch (error) {
        this.#outcome = { error };
      }
    };
    const forget = this.forget = (): void => link.post({ op: "forget", grant: id });
    this.entry = { name, dataset: new GrantedDataset(dataset, mustSpend ? spend : null, forget) };
  }

  spend(): void {
    if (this.#outcome !== null) throw this.#outcome.error;
  }
}

/** A dataset that spends the grant as soon as its first message is there, or its end: the main isolate cannot answer at once. */
class GrantedDataset implements SendableDataset {
  readonly schema: SendableHeader;
  readonly #dataset: SendableDataset;
  readonly #spend: (() => Promise<void>) | null;
  readonly #onEnd: () => void;

  constructor(dataset: SendableDataset, spend: (() => Promise<void>) | null, onEnd: () => void) {
    this.schema = dataset.schema;
    this.#dataset = dataset;
    this.#spend = spend;
    this.#onEnd = onEnd;
  }

  async open(options?: Parameters<SendableDataset["open"]>[0]): Promise<SendableStream> {
    try {
      return this.#granted(await this.#dataset.open(options));
    } catch (error) {
      this.#onEnd();
      throw error;
    }
  }

  #granted(run: SendableStream): SendableStream {
    let spend = this.#spend;
    const first = async (spend: () => Promise<void>): Promise<SendableMessage | null> => {
      const message = await run.next();
      await spend();
      return message;
    };
    return {
      next: () => {
        if (spend === null) return run.next();
        const spendNow = spend;
        spend = null;
        return first(spendNow);
      },
      close: async () => {
        try {
          await run.close();
        } finally {
          this.#onEnd();
        }
      },
    };
  }
}
