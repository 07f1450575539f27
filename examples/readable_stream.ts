/**
 * Takes a dataset as a `ReadableStream` of Arrow IPC bytes: for a file, an HTTP response, or any reader of Arrow streams.
 *
 * ```sh
 * deno run --allow-ffi --allow-env=DIPC_LIBUCP,HOME,XDG_CACHE_HOME --allow-write=. \
 *   examples/readable_stream.ts URI copy.arrows
 * ```
 *
 * @module
 */
import { connect } from "@arrow-ucx/dipc";
import { RecordBatchReader } from "apache-arrow";

const [uri, path] = Deno.args;
if (path === undefined) throw new Error("usage: readable_stream.ts URI FILE");

// Once into a file, byte for byte what an Arrow stream is.
{
  await using stream = await connect(uri);
  const file = await Deno.open(path, { write: true, create: true, truncate: true });
  await stream.toReadableStream().pipeTo(file.writable);
  console.log(`${path}: ${stream.stats.rows} rows`);
}

// Once into apache-arrow's own reader.
{
  await using stream = await connect(uri);
  const reader = await RecordBatchReader.from(stream.toReadableStream());
  let rows = 0;
  for await (const batch of reader) rows += batch.numRows;
  console.log(`apache-arrow read ${rows} rows`);
}
