/**
 * Exchanges record batches with a library in C through Arrow's asynchronous device stream: the library calls when it has data, and is
 * called when this program has some. The library is one that exports the functions of `native/async_conformance/kit.h`, such as
 * `sample.c` beside it: `cc -shared -fPIC -pthread -I<folder of arrow/c/abi.h> -o sample.so native/async_conformance/sample.c`.
 *
 * ```sh
 * deno run --allow-ffi examples/async_stream.ts ./sample.so
 * ```
 *
 * @module
 */
import { exportAsyncStream, importAsyncStream } from "@arrow-ucx/dipc/c-data";
import { tableFromArrays } from "apache-arrow";

const [path] = Deno.args;
if (path === undefined) throw new Error("usage: async_stream.ts LIBRARY");
const library = Deno.dlopen(path, {
  // Returns when the stream has ended, so it is called on a thread of its own.
  async_produce: { parameters: ["usize", "i64", "i64", "i64"], result: "void", nonblocking: true },
  async_consume: { parameters: ["buffer"], result: "usize" },
  async_read: { parameters: ["usize", "buffer"], result: "i32", nonblocking: true },
  async_close: { parameters: ["usize"], result: "void", nonblocking: true },
}).symbols;

// The library produces five batches; it is never more than two ahead of the loop.
const stream = await importAsyncStream((handler) => library.async_produce(handler, 5n, -1n, 0n), { window: 2 });
for await (using batch of stream) console.log(`received ${batch.numRows} rows from ${batch.getChild("n")?.get(0)} on`);

// The library consumes three batches, as it requests them.
function* batches() {
  for (let i = 0n; i < 3n; i++) yield tableFromArrays({ n: BigInt64Array.of(10n * i, 10n * i + 1n) }).batches[0];
}
const handler = new Uint8Array(128); // memory for an ArrowAsyncDeviceStreamHandler, which the library fills
const consumer = library.async_consume(handler);
const sent = exportAsyncStream(batches(), BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(handler))));
const first = new BigInt64Array(16);
while (await library.async_read(consumer, new Uint8Array(first.buffer)) === 1) {
  console.log(`sent a batch from ${first[0]} on`);
}
await library.async_close(consumer);
const { end, batches: count } = await sent;
console.log(`${end}: ${count} batches`);
