/**
 * Schemas that a driver gives without a stream.
 *
 * @module
 */
import type { Schema } from "apache-arrow";
import type { AdbcFunctionName } from "../../ffi/adbc.ts";
import { foreignSchema } from "../c_data/foreign_schema.ts";
import { readSchema } from "../c_data/schema_in.ts";
import { CStruct } from "../c_data/structs.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { Arena } from "../c_data/arena.ts";
import type { AdbcArgument } from "./driver.ts";
import type { Handle } from "./handle.ts";

/** A schema. */
export class AdbcSchema {
  /** The schema message, for every Arrow type. */
  readonly schemaHeader: MessageHeader;

  /** @ignore */
  constructor(schemaHeader: MessageHeader) {
    this.schemaHeader = schemaHeader;
  }

  /** The schema. @throws {DipcError} `unsupported` if apache-arrow has no such type */
  get schema(): Schema {
    return foreignSchema(this.schemaHeader).decoded.batch.schema;
  }
}

/**
 * Calls a function that gives a schema.
 *
 * @param argsOf Its arguments after the handle, given the address of memory for the schema, and an arena for others
 * @throws {DipcError} `closed`, what the driver reports
 */
export async function fetchSchema(
  handle: Handle,
  name: AdbcFunctionName,
  action: string,
  argsOf: (schema: bigint, arena: Arena) => readonly AdbcArgument[],
): Promise<AdbcSchema> {
  using arena = new Arena();
  using schema = new CStruct("ArrowSchema");
  await handle.call(name, action, argsOf(schema.address, arena));
  return new AdbcSchema(readSchema(schema.address));
}
