/**
 * Lists of one length: Parquet stores how long each list is, and only the writer's Arrow schema says that all are equally
 * long. The decoder crashes if they are not, and makes a list of nulls of an empty one.
 *
 * @module
 */
import { LocalError } from "../../errors.ts";
import type { IpcMessage } from "../../ipc/message.ts";
import type { FieldLayout } from "../../ipc/layout.ts";
import { quoted } from "../../ipc/quote.ts";
import type { GroupInfo } from "./footer.ts";
import type { LeafColumn } from "./node.ts";

/** A column of lists of one length. */
export interface FixedLists {
  /** Name for messages. */
  readonly path: string;
  /** Items of each list. */
  readonly size: number;
  /** Index of its node in a batch. */
  readonly node: number;
  /** Lists that have all their items: the others are null. */
  readonly full: number;
}

/**
 * How many lists have all their items, if the others are null or empty.
 *
 * @param groups Row groups of the file
 * @param index Index of a leaf in the items
 * @param leaf The leaf
 * @param size Items of each list, at least 1
 * @returns null if some lists have another length; undefined if the numbers of values do not tell
 */
export function fullLists(
  groups: readonly GroupInfo[],
  index: number,
  leaf: LeafColumn,
  size: number,
): number | null | undefined {
  if (leaf.repetitions !== 1) return undefined;
  let full = 0;
  for (const { rows, chunks } of groups) {
    // A list that is null or empty takes the place of one value.
    const more = Number(chunks[index].metadata.num_values) - rows;
    const lists = size === 1 ? 0 : more / (size - 1);
    if (size === 1 ? more !== 0 : !Number.isInteger(lists) || lists < 0 || lists > rows) return null;
    full += lists;
  }
  return size === 1 ? undefined : full;
}

/** The columns whose lists can be counted. */
export function fixedLists(
  columns: readonly FieldLayout[],
  groups: readonly GroupInfo[],
  leaves: readonly LeafColumn[],
): FixedLists[] {
  const found: FixedLists[] = [];
  let node = 0, leaf = 0;
  const visit = (field: FieldLayout): void => {
    node++;
    if (field.children.length === 0) leaf++;
    field.children.forEach(visit);
  };
  for (const field of columns) {
    const { type, path } = field;
    const full = type.id === "fixed_size_list" ? fullLists(groups, leaf, leaves[leaf], type.listSize) : undefined;
    if (type.id === "fixed_size_list" && typeof full === "number") {
      found.push({ path, size: type.listSize, node, full });
    }
    visit(field);
  }
  return found;
}

/**
 * What may be wrong besides the file if the decoder crashes, as it follows the message.
 *
 * @param columns The columns; without lists of one length, there is no doubt, and the text is empty
 */
export function doubtOf(columns: readonly FieldLayout[]): string {
  for (const { type, path, children } of columns) {
    if (type.id === "fixed_size_list") {
      const lists = `the lists of column ${quoted(path)}`;
      return `, or ${lists} are not all of length ${type.listSize}, as its Arrow schema says`;
    }
    const inner = doubtOf(children);
    if (inner !== "") return inner;
  }
  return "";
}

/** Counts the lists of a run. */
export class ListCounter {
  readonly #lists: readonly FixedLists[];
  readonly #counts: number[];

  /** @param lists The columns */
  constructor(lists: readonly FixedLists[]) {
    this.#lists = lists;
    this.#counts = lists.map(() => 0);
  }

  /** Counts those of a batch that are not null. */
  add({ kind, nodes }: IpcMessage["header"]): void {
    if (kind !== "batch") return;
    this.#lists.forEach(({ node }, i) => this.#counts[i] += nodes[2 * node] - nodes[2 * node + 1]);
  }

  /**
   * Checks at the end of the run that there were as many as the file has.
   *
   * @param file Path of the file, for the error
   * @throws {DipcError} `invalid_data` if there were more: empty ones have become lists of nulls
   */
  check(file: string): void {
    const wrong = this.#lists.find(({ full }, i) => this.#counts[i] !== full);
    if (wrong === undefined) return;
    const lists = `lists of column ${quoted(wrong.path)}`;
    throw new LocalError(
      "invalid_data",
      `cannot read "${file}": ${lists} are empty, but its Arrow schema says that all are of length ${wrong.size}; ` +
        "write it without that schema",
    );
  }
}
