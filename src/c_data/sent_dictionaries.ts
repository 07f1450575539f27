/**
 * The dictionaries that a stream of messages has sent: a batch in C brings its own each time, a message only what has changed.
 *
 * @module
 */
import { libc } from "../../ffi/libc.ts";
import type { NodePlan, SchemaLayout } from "../ipc/layout.ts";
import type { IpcMessage } from "../ipc/message.ts";
import type { ForeignBody } from "./foreign_body.ts";
import type { ForeignMemory } from "./foreign_memory.ts";
import type { ArrayNumbers } from "./numbers.ts";

/** One that was sent. Its memory is kept, so that equal addresses mean equal values. */
interface Sent {
  readonly numbers: ArrayNumbers;
  readonly memory: ForeignMemory;
}

/** Knows what was sent, and leaves out what has not changed. */
export class SentDictionaries {
  readonly #layout: SchemaLayout;
  readonly #sent = new Map<bigint, Sent>();

  /** @param layout The schema */
  constructor(layout: SchemaLayout) {
    this.#layout = layout;
  }

  /**
   * The messages of a batch that are to be sent.
   *
   * @param messages Those of `ForeignBatch.toMessages()`; bodies of messages that are left out are released
   */
  select(messages: readonly IpcMessage[]): IpcMessage[] {
    const changed = new Set<bigint>();
    return messages.filter(({ header: { kind, dictionaryId: id }, body }) => {
      if (kind === "batch") return true;
      const foreign = body as ForeignBody;
      const sent = this.#sent.get(id);
      const { plan } = this.#layout.dictionaries.get(id)!;
      const refersToChanged = plan.fields.some((field, i) => i > 0 && changed.has(field.dictionary?.id ?? -1n));
      if (sent !== undefined && !refersToChanged && sameValues(plan, sent.numbers, foreign.numbers)) {
        foreign.release();
        return false;
      }
      changed.add(id);
      sent?.memory.drop();
      this.#sent.set(id, { numbers: foreign.numbers, memory: foreign.share() });
      return true;
    });
  }

  /** Releases what is kept. */
  close(): void {
    for (const { memory } of this.#sent.values()) memory.drop();
    this.#sent.clear();
  }
}

/** Whether two trees hold the same bytes; of a changed slice it is not known. */
function sameValues(plan: NodePlan, a: ArrayNumbers, b: ArrayNumbers): boolean {
  if (a.changes !== null || b.changes !== null || a.rows !== b.rows) return false;
  if (a.at.length !== b.at.length || plan.nodeCount * 2 !== a.nodes.length) return false;
  for (let i = 0; i < a.nodes.length; i++) if (a.nodes[i] !== b.nodes[i]) return false;
  for (let i = 0; i < a.at.length; i++) {
    const bytes = a.buffers[2 * i + 1];
    if (bytes !== b.buffers[2 * i + 1]) return false;
    if (bytes === 0 || a.at[i] === b.at[i]) continue;
    if (libc().memcmp(BigInt(a.at[i]), BigInt(b.at[i]), BigInt(bytes)) !== 0) return false;
  }
  return true;
}
