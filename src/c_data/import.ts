/**
 * Imports what another library of this process exports as `ArrowArray`.
 *
 * @module
 */
import type { MessageHeader } from "../ipc/message.ts";
import { readArrays } from "./array_in.ts";
import { ForeignBatch } from "./foreign_batch.ts";
import { ForeignMemory, takeBoth } from "./foreign_memory.ts";
import { type ForeignSchema, foreignSchema } from "./foreign_schema.ts";
import { type ForeignStream, type ImportStreamOptions, openStream, type StreamKind } from "./foreign_stream.ts";
import { readSchema } from "./schema_in.ts";

/**
 * Imports a record batch, without copying it. The structures are taken over: they are marked as released, and what they refer to is
 * released when the batch is disposed or collected, also if the import fails.
 *
 * @example Usage
 * ```ts ignore
 * using array = new CStruct("ArrowArray");
 * using schema = new CStruct("ArrowSchema");
 * library.symbols.produce(array.address, schema.address);
 * using batch = importRecordBatch(array.address, schema.address).toRecordBatch();
 * ```
 *
 * @param array Address of the `ArrowArray` of a struct, whose children are the columns
 * @param schema Address of its `ArrowSchema`, or the schema if it is known: that of a message, or of another import
 * @throws {DipcError} `invalid_argument` if there is no such structure; `invalid_data` if it contradicts its schema or itself;
 * `unsupported` for types that this version does not know, and for structs with null rows; `limit_exceeded`
 */
export function importRecordBatch(array: bigint, schema: bigint | MessageHeader): ForeignBatch {
  const memory = takeBoth("ArrowArray", array, schema);
  return batchOf(memory, () => foreignSchema(typeof schema === "bigint" ? readSchema(schema) : schema));
}

/** Takes an array with a known schema over. */
function takeBatch(array: bigint, schema: ForeignSchema): ForeignBatch {
  return batchOf(new ForeignMemory("ArrowArray", array), () => schema);
}

function batchOf(memory: ForeignMemory, schemaOf: () => ForeignSchema): ForeignBatch {
  let schema: ForeignSchema, arrays;
  try {
    schema = schemaOf();
    arrays = readArrays(schema.shape, memory.address);
  } catch (error) {
    memory.drop();
    throw error;
  }
  return new ForeignBatch(schema, arrays, memory);
}

/**
 * Imports a stream, without copying its batches. The structure is taken over, also if the import fails.
 *
 * The library's callbacks run on another thread, so that one that waits, such as for a database, does not stop this program.
 *
 * @example Usage
 * ```ts ignore
 * using out = new CStruct("ArrowArrayStream");
 * library.symbols.query(out.address);
 * for await (using batch of await importStream(out.address)) console.log(batch.numRows);
 * ```
 *
 * @param stream Address of an `ArrowArrayStream`
 * @throws {DipcError} `invalid_argument` if there is no such structure; what the library reports; as {@linkcode importRecordBatch}
 */
export function importStream(stream: bigint, options: ImportStreamOptions = {}): Promise<ForeignStream> {
  return openStream(HOST_STREAM, stream, options);
}

const HOST_STREAM: StreamKind = { stream: "ArrowArrayStream", item: "ArrowArray", take: takeBatch };
