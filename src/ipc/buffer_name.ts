/**
 * Names the buffers of a message, for errors.
 *
 * @module
 */
import { buffersIn } from "./buffers.ts";
import type { VerifiedHeader } from "./header.ts";
import { quoted } from "./quote.ts";

/**
 * What a buffer of a message is: `the value buffer of column "a"`.
 *
 * @param header Header of a batch or dictionary
 * @param index Number of the buffer in the message, from 0
 */
export function bufferName(header: VerifiedHeader, index: number): string {
  const { plan, version, variadicCounts, kind } = header;
  const specsOf = buffersIn(version);
  let end = 0, view = 0;
  for (let node = 0; node < plan.nodeCount; node++) {
    for (const { name, role } of specsOf[plan.kinds[node]]) {
      end += role === "variadic" ? variadicCounts[view++] : 1;
      if (index >= end) continue;
      const of = kind === "dictionary" ? "the dictionary of column" : "column";
      return `the ${name} buffer of ${of} ${quoted(plan.fields[node].path)}`;
    }
  }
  return `buffer ${index}`;
}
