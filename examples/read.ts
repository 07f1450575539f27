/**
 * Reads a dataset batch by batch and adds up its numbers, in memory that does not grow with the data.
 *
 * ```sh
 * deno run --allow-ffi --allow-env=DIPC_LIBUCP,HOME,XDG_CACHE_HOME examples/read.ts URI
 * ```
 *
 * @module
 */
import { connect } from "@arrow-ucx/dipc";
import { DataType } from "apache-arrow";

const [uri] = Deno.args;
if (uri === undefined) throw new Error("usage: read.ts URI");

await using stream = await connect(uri);
const numbers = stream.schema.fields.filter(({ type }) => DataType.isFloat(type) || DataType.isInt(type));
const sums = new Map(numbers.map(({ name }) => [name, 0]));
// `using` gives the memory of each batch back at once.
for await (using batch of stream) {
  for (const { name } of numbers) {
    let sum = 0;
    for (const value of batch.getChild(name)!) sum += Number(value ?? 0);
    sums.set(name, sums.get(name)! + sum);
  }
}

for (const [name, sum] of sums) console.log(`sum of ${name}: ${sum}`);
const { rows, bodyBytes, seconds, transports } = stream.stats;
console.log(`${rows} rows, ${bodyBytes} bytes in ${seconds.toFixed(3)} s over ${transports.join(", ")}`);
