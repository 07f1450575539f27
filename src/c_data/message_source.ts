/**
 * Messages as arrays to be exported: their buffers in place, with the dictionaries that came before them.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { NodeKind } from "../ipc/buffers.ts";
import { checkContent } from "../ipc/content_checks.ts";
import { decompressMessage } from "../ipc/decompress.ts";
import { type FlatValues, GrowingValues } from "../ipc/growing_values.ts";
import { HeaderReader, verified, type VerifiedHeader } from "../ipc/header.ts";
import type { NodePlan } from "../ipc/layout.ts";
import type { IpcMessage } from "../ipc/message.ts";
import type { Body } from "../memory/block.ts";
import { EMPTY_BODY } from "../memory/empty.ts";
import { hostPool } from "../memory/host_pool.ts";
import { privateCopy } from "../memory/private_copy.ts";
import { concatenate } from "./concatenate.ts";
import { type Exportable, placedNumbers } from "./export.ts";
import { numbersOfBody } from "./export_shape.ts";
import { ForeignBody } from "./foreign_body.ts";
import { type LocatedTree, placed } from "./located_tree.ts";
import type { ArrayNumbers } from "./numbers.ts";

const NO_LIMITS = { maxMetadataBytes: Infinity, maxBodyBytes: Infinity, maxRows: Infinity };

/** A body with several users. */
class SharedBody {
  readonly body: Body;
  #users = 1;

  constructor(body: Body) {
    this.body = body;
  }

  hold(): void {
    this.#users++;
  }

  drop(): void {
    if (--this.#users === 0) this.body.release();
  }
}

/** Deltas from which on the values of a dictionary are kept in one piece: each of many would cost every batch its part of the work. */
const MANY_CHUNKS = 16;

/** A message of a dictionary. */
interface DictionaryChunk {
  readonly tree: LocatedTree;
  readonly body: SharedBody;
}

/** The values of a dictionary, as one or more messages have brought them. */
interface Dictionary {
  readonly rows: number;
  readonly chunks: readonly DictionaryChunk[];
  /** In place of the chunks, if they were many: the first so many parts of what grows. */
  readonly grown: { readonly values: GrowingValues; readonly parts: number } | null;
  /** All values in one tree, once they were needed. */
  tree: LocatedTree | null;
}

/** Turns the messages of one stream into arrays, in order. */
export class MessageArrays {
  readonly #schema: VerifiedHeader;
  readonly #reader: HeaderReader;
  #dictionaries: ReadonlyMap<bigint, Dictionary> = new Map();

  /** @param schema The schema message of the stream */
  constructor(schema: VerifiedHeader) {
    this.#schema = schema;
    this.#reader = HeaderReader.continuing(schema, NO_LIMITS);
  }

  /**
   * Takes a message over.
   *
   * @returns the batch; `null` for a schema, or a dictionary, which is kept
   * @throws {DipcError} `invalid_data` if its content leads out of its buffers; `unsupported`
   */
  take(message: IpcMessage): Exportable | null | Promise<Exportable | null> {
    const { header, body } = message;
    try {
      if (header.kind === "schema") {
        body?.release();
        return null;
      }
      const known = verified(header, this.#reader);
      if (body !== null && body.space !== "host") throw notHost(body.space);
      if (known.compression !== "none") return this.#decompress(known, body ?? EMPTY_BODY);
      return this.#takeOwn(known, privateCopy(body ?? EMPTY_BODY));
    } catch (error) {
      body?.release();
      throw error;
    }
  }

  /** Releases the dictionaries. Batches that were taken keep theirs. */
  close(): void {
    for (const { chunks } of this.#dictionaries.values()) for (const { body } of chunks) body.drop();
    this.#dictionaries = new Map();
  }

  /** Takes a body over, also if that fails. */
  #takeOwn(header: VerifiedHeader, body: Body): Exportable | null {
    try {
      return this.#takePlain(header, body);
    } catch (error) {
      body.release();
      throw error;
    }
  }

  async #decompress(header: VerifiedHeader, body: Body): Promise<Exportable | null> {
    let plain;
    try {
      plain = await decompressMessage(this.#schema, header, body, hostPool(), Infinity);
    } finally {
      body.release();
    }
    return this.#takeOwn(plain.header, plain.body);
  }

  #takePlain(header: VerifiedHeader, body: Body): Exportable | null {
    const tree = this.#tree(header, body);
    if (header.kind === "batch") return this.#exportable(tree.numbers, body);
    const chunk = { tree, body: new SharedBody(body) };
    const next = new Map(this.#dictionaries);
    const before = this.#dictionaries.get(header.dictionaryId);
    next.set(header.dictionaryId, extended(header.isDelta ? before : undefined, chunk, header.plan));
    this.#dictionaries = next;
    if (!header.isDelta) { for (const { body } of before?.chunks ?? []) body.drop(); }
    return null;
  }

  /** The buffers of a message; checked, unless they come from a library of this process. */
  #tree(header: VerifiedHeader, body: Body): LocatedTree {
    if (body instanceof ForeignBody) {
      const numbers = placedNumbers(body);
      const count = numbers.at.length;
      return { numbers, buffers: { length: count, get: (index) => body.bufferInPlace(index) } };
    }
    const numbers = numbersOfBody(header, body.address);
    const bytes = body.byteLength === 0 ? new Uint8Array(0) : body.bytes();
    const base = Number(body.address);
    const buffer = (index: number): Uint8Array<ArrayBuffer> => {
      const byteLength = numbers.buffers[2 * index + 1];
      const at = byteLength === 0 ? 0 : numbers.at[index] - base;
      return new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset + at, byteLength);
    };
    checkContent({
      plan: header.plan,
      version: 5,
      nodes: numbers.nodes,
      variadicCounts: numbers.variadicCounts,
      buffer,
      dictionaryLength: (id) => this.#length(id),
      isDictionary: header.kind === "dictionary",
    });
    return { numbers, buffers: { length: numbers.at.length, get: buffer } };
  }

  #length(id: bigint): number | null {
    return this.#dictionaries.get(id)?.rows ?? null;
  }

  #exportable(batch: ArrayNumbers, body: Body): Exportable {
    const dictionaries = this.#dictionaries;
    const held = [...dictionaries.values()].flatMap(({ chunks }) => chunks.map((chunk) => chunk.body));
    for (const each of held) each.hold();
    const used = new Map<bigint, LocatedTree>();
    const values = (id: bigint): ArrayNumbers => {
      let tree = used.get(id);
      if (tree === undefined) used.set(id, tree = this.#values(id, dictionaries));
      return tree.numbers;
    };
    return {
      layout: this.#schema.layout,
      arrays: { batch, dictionary: values },
      release: () => {
        used.clear();
        body.release();
        for (const each of held) each.drop();
      },
    };
  }

  #values(id: bigint, dictionaries: ReadonlyMap<bigint, Dictionary>): LocatedTree {
    const { plan } = this.#schema.layout.dictionaries.get(id)!;
    const dictionary = dictionaries.get(id);
    // A column of nulls alone may come without its dictionary.
    if (dictionary === undefined) return concatenate(plan, []);
    return treeOf(plan, dictionary);
  }
}

/** A dictionary with the values of one more message. The bodies of messages that were put together are dropped. */
function extended(before: Dictionary | undefined, chunk: DictionaryChunk, plan: NodePlan): Dictionary {
  const rows = (before?.rows ?? 0) + chunk.tree.numbers.rows;
  const chunks = [...before?.chunks ?? [], chunk];
  const isFlat = plan.nodeCount === 1;
  const values = before?.grown?.values ??
    (isFlat && chunks.length > MANY_CHUNKS ? GrowingValues.of(plan.kinds[0], plan.bits[0]) : null);
  if (values === null) return { rows, chunks, grown: null, tree: null };
  if (!chunks.every(({ tree }) => values.append(flatValues(tree)))) {
    const first = before!.grown === null ? [] : [{ tree: treeOf(plan, before!), body: new SharedBody(EMPTY_BODY) }];
    return { rows, chunks: [...first, ...chunks], grown: null, tree: null };
  }
  for (const { body } of chunks) body.drop();
  return { rows, chunks: [], grown: { values, parts: values.parts }, tree: null };
}

/** All values of a dictionary in one tree. */
function treeOf(plan: NodePlan, dictionary: Dictionary): LocatedTree {
  const { chunks, grown } = dictionary;
  dictionary.tree ??= grown !== null
    ? grownTree(plan, grown.values.first(grown.parts))
    : chunks.length === 1
    ? chunks[0].tree
    : concatenate(plan, chunks.map(({ tree }) => tree));
  return dictionary.tree;
}

/** The buffers of a tree of one node, whose offsets, if it has some, are the second. */
function flatValues({ numbers: { rows, nodes }, buffers }: LocatedTree): FlatValues {
  const [validity, data] = [buffers.get(0), buffers.get(buffers.length - 1)];
  const offsets = buffers.length === 3 ? buffers.get(1) : new Uint8Array(0);
  return { rows, nullCount: nodes[1], validity, offsets, data };
}

function grownTree(plan: NodePlan, { rows, nullCount, validity, offsets, data }: FlatValues): LocatedTree {
  const buffers = plan.kinds[0] === NodeKind.fixed ? [validity, data] : [validity, offsets, data];
  return placed(rows, [rows, nullCount], [], buffers as Uint8Array<ArrayBuffer>[]);
}

function notHost(space: string): DipcError {
  return new DipcError(
    "unsupported",
    `cannot export a batch in ${space}: it is in the memory of a device; use exportDeviceBatch, or copy it with toHost()`,
  );
}
