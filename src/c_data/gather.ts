/**
 * Reads the structures of a batch in one native call: dozens of calls that copy a few words each would cost more than all else.
 *
 * @module
 */
import { callPointer } from "../../ffi/raw_memory.ts";
import { NodeKind } from "../ipc/buffers.ts";
import { nativeCode } from "./native_code.ts";
import { scratch } from "./raw.ts";

/** What is planned of an array. */
interface PlannedArray {
  readonly kind: NodeKind;
  readonly bufferCount: number;
  readonly children: readonly PlannedArray[];
  readonly values: PlannedArray | null;
  readonly word: number;
  readonly isColumn: boolean;
}

/** The plan of a schema's arrays. */
export class Gather {
  readonly #memory: ReturnType<typeof scratch>;
  readonly #code: bigint | null;

  /**
   * @param target Address of the memory that takes the structures
   * @param columns What they must look like
   */
  constructor(target: bigint, columns: readonly PlannedArray[]) {
    const words = [target, BigInt(columns.length)];
    for (const column of columns) addPlan(column, words);
    this.#memory = scratch(8 * words.length);
    this.#memory.words.set(words);
    this.#code = findCode();
  }

  /**
   * Reads the structures.
   *
   * @param address Address of the batch's `ArrowArray`
   * @returns Whether all are as planned and were read, with the first and the last offset of each column that has some; if not,
   * they are to be read one by one
   */
  read(address: bigint): boolean {
    return this.#code !== null && callPointer(this.#code, this.#memory.address, address);
  }
}

function addPlan(array: PlannedArray, words: bigint[]): void {
  const { kind, bufferCount, children, values, word, isColumn } = array;
  const buffers = kind === NodeKind.view ? -bufferCount : bufferCount;
  words.push(
    ...[BigInt(word), BigInt.asUintN(64, BigInt(buffers)), BigInt(children.length)],
    ...[values === null ? 0n : 1n, isColumn ? offsetBytes(kind) : 0n],
  );
  for (const child of children) addPlan(child, words);
  if (values !== null) addPlan(values, words);
}

function offsetBytes(kind: NodeKind): bigint {
  if (kind === NodeKind.binary32 || kind === NodeKind.list32) return 4n;
  return kind === NodeKind.binary64 || kind === NodeKind.list64 ? 8n : 0n;
}

/** Some systems allow no executable memory. */
function findCode(): bigint | null {
  try {
    return nativeCode().gather_arrays;
  } catch {
    return null;
  }
}
