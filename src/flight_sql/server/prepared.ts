/**
 * Prepared statements of clients.
 *
 * @module
 */
import { MIB } from "../../bytes.ts";
import { BatchDecoder, type OwnedRecordBatch } from "../../ipc/decode.ts";
import type { IpcMessage, MessageHeader } from "../../ipc/message.ts";
import type { ClientStream } from "../../flight/service/exchange.ts";
import { PeerError } from "../../tell_peer.ts";
import type { EngineConnection, EngineParameters, EngineStatement } from "../engine.ts";
import { unknownHandle } from "./failure.ts";
import type { Open } from "./handles.ts";
import type { Transaction } from "./transaction.ts";

/** Most bytes of the parameters of one call. */
const MAX_PARAMETER_BYTES = 64 * MIB;
/** What a message and a row count at least, in bytes: they take memory here even if they have no bytes, as nulls have none. */
const MESSAGE_BYTES = 1024, ROW_BYTES = 64;
/** Most bytes of the parameters of all clients that are bound or being received. */
const MAX_TOTAL_BYTES = 512 * MIB;

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
  readonly statementBytes: number;
  /** Size of its text. */
  readonly textBytes: number;
  readonly #prepare: Prepare;
  /** One that is not being executed. */
  #idle: Instance | null;
  #bound: BoundRows | null = null;
  #calls = 0;
  #isClosed = false;

  /**
   * @param first The statement
   * @param transaction In which it was prepared
   * @param prepare Prepares it again
   * @param textBytes Size of its text
   */
  constructor(first: Instance, transaction: Transaction | null, prepare: Prepare, textBytes: number) {
    const { schema, parameterSchema, isOrdered } = first.statement;
    this.textBytes = textBytes;
    this.statementBytes = textBytes + (schema?.bytes.byteLength ?? 0) + parameterSchema.bytes.byteLength;
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

  /** The rows of parameters that are bound, for an execution, which disposes of them. */
  holdParameters(): BoundRows | null {
    return this.#bound?.hold() ?? null;
  }

  /** Binds the parameters of later executions, which it takes over. */
  bind(rows: BoundRows): void {
    // It may have been closed while they came.
    if (this.#isClosed) return rows[Symbol.dispose]();
    this.#bound?.[Symbol.dispose]();
    this.#bound = rows;
  }

  /** Takes an instance that is not being executed. In a transaction there is one. @throws {DipcError} `not_found` if it was closed */
  async take(signal: AbortSignal): Promise<Instance> {
    if (this.#isClosed) throw unknownHandle("prepared statement");
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
    this.#bound?.[Symbol.dispose]();
    this.#bound = null;
    const idle = this.#idle;
    this.#idle = null;
    if (idle === null) return;
    if (this.transaction === null) await idle.connection.close();
    else await idle.statement.close().catch(() => {});
  }
}

/** How much the parameters of all clients take. */
export class ParameterMemory {
  /** Bytes that are taken. */
  bytes = 0;

  /** @throws {DipcError} `limit_exceeded` if there is no room for so many bytes more */
  take(bytes: number): void {
    if (this.bytes + bytes > MAX_TOTAL_BYTES) {
      throw new PeerError(
        "limit_exceeded",
        `cannot bind the parameters: those of all clients would have more than ${MAX_TOTAL_BYTES} bytes; close prepared ` +
          "statements, or try again later",
      );
    }
    this.bytes += bytes;
  }
}

/** Rows of parameters. Whoever has them, or holds them, disposes of them. */
export class BoundRows implements Disposable {
  readonly #memory: ParameterMemory;
  readonly #batches: OwnedRecordBatch[] = [];
  #bytes = 0;
  #holders = 1;

  private constructor(memory: ParameterMemory) {
    this.#memory = memory;
  }

  /** Receives what a client uploads. @throws {DipcError} `limit_exceeded`; what the upload throws */
  static async receive(upload: ClientStream, memory: ParameterMemory): Promise<BoundRows> {
    const bound = new BoundRows(memory);
    let decoder: BatchDecoder | null = null;
    try {
      for await (const { message } of upload) {
        if (message === null) continue;
        bound.#count(message);
        decoder ??= new BatchDecoder(upload.schema!);
        const batch = await decoder.decodeAsync(message);
        if (batch !== null) bound.#batches.push(batch);
      }
      return bound;
    } catch (error) {
      bound[Symbol.dispose]();
      throw error;
    }
  }

  /** Every row. */
  get rows(): EngineParameters[] {
    return this.#batches.flatMap((batch) => Array.from({ length: batch.numRows }, (_, row) => ({ batch, row })));
  }

  /** Holds them once more. */
  hold(): this {
    this.#holders++;
    return this;
  }

  [Symbol.dispose](): void {
    if (--this.#holders > 0) return;
    for (const batch of this.#batches.splice(0)) batch[Symbol.dispose]();
    this.#memory.bytes -= this.#bytes;
    this.#bytes = 0;
  }

  #count({ header, body }: IpcMessage): void {
    const rows = header.kind === "batch" ? header.rows : 0;
    const bytes = MESSAGE_BYTES + Math.max(body?.byteLength ?? 0, rows * ROW_BYTES);
    try {
      if (this.#bytes + bytes > MAX_PARAMETER_BYTES) {
        throw new PeerError(
          "limit_exceeded",
          `cannot bind the parameters: they have more than ${MAX_PARAMETER_BYTES} bytes, each row counted as ${ROW_BYTES} or ` +
            "more; bind fewer at a time, or ingest the rows",
        );
      }
      this.#memory.take(bytes);
    } catch (error) {
      body?.release();
      throw error;
    }
    this.#bytes += bytes;
  }
}
