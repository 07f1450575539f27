/**
 * Prepared statements of clients.
 *
 * @module
 */
import { MIB } from "../../bytes.ts";
import { BatchDecoder, type OwnedRecordBatch } from "../../ipc/decode.ts";
import type { MessageHeader } from "../../ipc/message.ts";
import type { ClientStream } from "../../flight/service/exchange.ts";
import { PeerError } from "../../tell_peer.ts";
import type { EngineConnection, EngineParameters, EngineStatement } from "../engine.ts";
import type { Open } from "./handles.ts";
import type { Transaction } from "./transaction.ts";

/** Most bytes of the parameters of one call. */
const MAX_PARAMETER_BYTES = 64 * MIB;
/** What a message and a row count at least, in bytes: they take memory here even if they have no bytes, as nulls have none. */
const MESSAGE_BYTES = 1024, ROW_BYTES = 64;

/** A statement, and the connection on which it can be executed. */
export interface Instance {
  readonly connection: EngineConnection;
  readonly statement: EngineStatement;
}

/** Prepares the statement once more, on a connection of its own. */
export type Prepare = (signal: AbortSignal) => Promise<Instance>;

/** A prepared statement. */
export class PreparedStatement implements Open {
  readonly kind = "prepared statement";
  /** It ends with its client's connection. */
  readonly timeoutMs = Infinity;
  readonly schema: MessageHeader | null;
  readonly parameterSchema: MessageHeader;
  readonly isOrdered: boolean;
  /** The transaction in which it was prepared. */
  readonly transaction: Transaction | null;
  readonly #prepare: Prepare;
  /** One that is not being executed. */
  #idle: Instance | null;
  #bound: OwnedRecordBatch[] = [];
  #calls = 0;
  #isClosed = false;

  constructor(first: Instance, transaction: Transaction | null, prepare: Prepare) {
    const { schema, parameterSchema, isOrdered } = first.statement;
    this.schema = schema;
    this.parameterSchema = parameterSchema;
    this.isOrdered = isOrdered;
    this.transaction = transaction;
    this.#idle = first;
    this.#prepare = prepare;
  }

  get isBusy(): boolean {
    return this.#calls > 0;
  }

  /** The rows of parameters that are bound. */
  get parameters(): EngineParameters[] {
    return rowsOf(this.#bound);
  }

  /** Binds the parameters of later executions. */
  bind(batches: OwnedRecordBatch[]): void {
    for (const batch of this.#bound) batch[Symbol.dispose]();
    this.#bound = batches;
  }

  /** Takes an instance that is not being executed. In a transaction there is one. */
  async take(signal: AbortSignal): Promise<Instance> {
    this.#calls++;
    try {
      const idle = this.#idle;
      if (this.transaction !== null) return idle!;
      this.#idle = null;
      return idle ?? await this.#prepare(signal);
    } catch (error) {
      this.#calls--;
      throw error;
    }
  }

  /** Gives an instance back. */
  async giveBack(instance: Instance): Promise<void> {
    this.#calls--;
    if (this.transaction !== null) return;
    if (this.#idle === null && !this.#isClosed) this.#idle = instance;
    else await instance.connection.close();
  }

  async close(_error?: PeerError): Promise<void> {
    this.#isClosed = true;
    this.bind([]);
    const idle = this.#idle;
    this.#idle = null;
    if (idle === null) return;
    if (this.transaction === null) await idle.connection.close();
    else await idle.statement.close().catch(() => {});
  }
}

/** Every row of batches. */
export function rowsOf(batches: readonly OwnedRecordBatch[]): EngineParameters[] {
  return batches.flatMap((batch) => Array.from({ length: batch.numRows }, (_, row) => ({ batch, row })));
}

/** The batches that a client uploads. The caller disposes of them. */
export async function batchesOf(upload: ClientStream): Promise<OwnedRecordBatch[]> {
  const batches: OwnedRecordBatch[] = [];
  let decoder: BatchDecoder | null = null, byteLength = 0;
  try {
    for await (const { message } of upload) {
      if (message === null) continue;
      const rows = message.header.kind === "batch" ? message.header.rows : 0;
      byteLength += MESSAGE_BYTES + Math.max(message.body?.byteLength ?? 0, rows * ROW_BYTES);
      if (byteLength > MAX_PARAMETER_BYTES) {
        message.body?.release();
        throw new PeerError(
          "limit_exceeded",
          `cannot bind the parameters: they have more than ${MAX_PARAMETER_BYTES} bytes, each row counted as ${ROW_BYTES} or ` +
            "more; bind fewer at a time, or ingest the rows",
        );
      }
      decoder ??= new BatchDecoder(upload.schema!);
      const batch = await decoder.decodeAsync(message);
      if (batch !== null) batches.push(batch);
    }
    return batches;
  } catch (error) {
    for (const batch of batches) batch[Symbol.dispose]();
    throw error;
  }
}
