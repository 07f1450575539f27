/**
 * Flight SQL as a server answers it: the calls of Flight whose commands, tickets and actions are messages of SQL.
 *
 * @module
 */
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { CancelStatus, FlightDescriptor, FlightEndpoint, FlightInfo, PollInfo } from "../../flight/model.ts";
import type { FlightContext } from "../../flight/service/context.ts";
import type { FlightUpload } from "../../flight/service/exchange.ts";
import type { FlightHandlers } from "../../flight/service/options.ts";
import { frameMetadata } from "../../ipc/frame.ts";
import type { IpcMessage, MessageHeader } from "../../ipc/message.ts";
import type { Approach } from "../../reachable_host.ts";
import type { Dataset } from "../../sources/dataset.ts";
import { PeerError } from "../../tell_peer.ts";
import { packedName } from "../any.ts";
import type { EngineInfoValue, SqlEngine } from "../engine.ts";
import * as sql from "../gen/flight_sql_pb.ts";
import { actionHandlers } from "./action_handlers.ts";
import { Executor } from "./executor.ts";
import { unknownHandle } from "./failure.ts";
import { type Caller, callerOf } from "./handles.ts";
import { infoOf } from "./info.ts";
import type { SqlLimits } from "./limits.ts";
import { isMetadata, metadata } from "./metadata.ts";
import { PendingQuery, POLL_MS, pollCommand, pollHandle } from "./pending.ts";
import { changePlace } from "./place.ts";
import { BoundRows } from "./prepared.ts";
import { commandOf, ingestOf, readPacked, statementOf } from "./requests.ts";
import { StoredResult } from "./stored_result.ts";
import type { ProgressWatch } from "./watch.ts";

const NOTHING = new Uint8Array(0);
/** Beginning of the names of parts of results. */
export const PART_PREFIX = "sql:";

/** The server around it, which makes tickets and knows by which routes a result can be fetched. */
export interface SqlHost {
  /**
   * An endpoint.
   *
   * @param name Name of a part of a result
   * @param isSmall Whether it is fetched by the connection of the query
   * @param lifetimeMs How long its ticket is valid, in milliseconds
   */
  endpoint(name: string, isSmall: boolean, lifetimeMs: number, approach: Approach): Promise<FlightEndpoint>;
  /** The name that a ticket stands for; `null` if it is none. @throws {DipcError} `permission_denied` for a bad ticket */
  nameOf(ticket: Uint8Array): Promise<string | null>;
}

/** Answers the calls of Flight SQL. */
export class SqlService {
  readonly #host: SqlHost;
  readonly #executor: Executor;
  readonly #info: ReadonlyMap<number, EngineInfoValue>;

  constructor(engine: SqlEngine, limits: SqlLimits, host: SqlHost) {
    this.#host = host;
    this.#executor = new Executor(engine, limits);
    this.#info = infoOf(engine.facts, limits);
  }

  /** How much clients have open. */
  get openHandles(): number {
    return this.#executor.handles.size;
  }

  /** Ends what clients have open. */
  close(): Promise<void> {
    return this.#executor.handles.close();
  }

  /** A connection of a client is over. */
  connectionEnded(connection: number): void {
    this.#executor.handles.connectionEnded(connection);
  }

  /** A part of a result, by the name that its ticket has. */
  find(name: string): Dataset | undefined {
    const found = this.#part(name);
    return found?.stored.result.parts[found.index];
  }

  /** The calls that it answers. */
  get handlers(): FlightHandlers {
    return {
      getFlightInfo: (descriptor, context) => this.#getFlightInfo(descriptor, context),
      getSchema: (descriptor, context) => this.#getSchema(descriptor, context),
      pollFlightInfo: (descriptor, context) => this.#pollFlightInfo(descriptor, context),
      doGet: (ticket, context) => this.#doGet(ticket, context),
      doPut: (upload, context) => this.#doPut(upload, context),
      cancelFlightInfo: (info, context) => this.#cancel(info, context),
      renewFlightEndpoint: (endpoint, context) => this.#renew(endpoint, context),
      _changeSession: (changes, current) => changePlace(this.#executor.engine, changes, current),
      actions: actionHandlers(this.#executor, (info, context) => this.#cancel(info, context)),
    };
  }

  async #getFlightInfo(descriptor: FlightDescriptor, context: FlightContext): Promise<FlightInfo | undefined> {
    const command = commandOf(descriptor);
    const stored = command && await this.#run(command, context, context.signal);
    return stored ? await this.#infoOf(stored, descriptor, context._approach) : undefined;
  }

  /** Executes a command; `null` if it is none of Flight SQL. */
  async #run(
    command: Uint8Array,
    context: FlightContext,
    signal: AbortSignal,
    watch?: ProgressWatch,
  ): Promise<StoredResult | null> {
    const name = packedName(command);
    if (name === null) return null;
    const caller = callerOf(context);
    const execution = { caller, signal, watch };
    if (isMetadata(name)) {
      const { engine } = this.#executor;
      return await this.#executor.store(await metadata({ engine, info: this.#info }, name, command), caller);
    }
    if (name === "CommandPreparedStatementQuery") {
      const { preparedStatementHandle } = readPacked(sql.CommandPreparedStatementQuerySchema, command);
      return await this.#executor.queryPrepared(
        this.#executor.prepared(preparedStatementHandle, caller),
        execution,
      );
    }
    const { text, transaction } = this.#statement(name, command, caller);
    return await this.#executor.query(text, transaction, execution);
  }

  #statement(name: string, command: Uint8Array, caller: Caller) {
    const { text, transactionId } = statementOf(name, command);
    return { text: { ...text, place: caller.place }, transaction: this.#executor.transaction(transactionId, caller) };
  }

  async #infoOf(stored: StoredResult, descriptor: FlightDescriptor, approach: Approach): Promise<FlightInfo> {
    const { result, timeoutMs } = stored;
    const handle = this.#executor.handleOf(stored);
    return {
      schema: frameMetadata(result.schema),
      descriptor,
      endpoints: await Promise.all(
        result.parts.map((_, index) =>
          this.#host.endpoint(`${PART_PREFIX}${handle}:${index}`, result.isSmall, timeoutMs, approach)
        ),
      ),
      totalRecords: BigInt(result.rows),
      totalBytes: BigInt(result.bytes),
      ordered: result.isOrdered,
      appMetadata: NOTHING,
    };
  }

  async #getSchema(descriptor: FlightDescriptor, context: FlightContext): Promise<MessageHeader | undefined> {
    const command = commandOf(descriptor);
    const name = command && packedName(command);
    if (command === null || name === null) return undefined;
    const caller = callerOf(context);
    if (name === "CommandPreparedStatementQuery") {
      const { preparedStatementHandle } = readPacked(sql.CommandPreparedStatementQuerySchema, command);
      const { schema } = this.#executor.prepared(preparedStatementHandle, caller);
      if (schema === null) throw new PeerError("invalid_argument", "cannot read the schema: the statement has no rows");
      return schema;
    }
    if (isMetadata(name)) {
      const stored = (await this.#run(command, context, context.signal))!;
      this.#executor.handles.drop(this.#executor.handleOf(stored));
      return stored.result.schema;
    }
    const { text, transaction } = this.#statement(name, command, caller);
    return await this.#executor.schemaOf(text, transaction, context.signal);
  }

  async #pollFlightInfo(descriptor: FlightDescriptor, context: FlightContext): Promise<PollInfo | undefined> {
    const command = commandOf(descriptor);
    if (command === null) return undefined;
    const { handles, limits } = this.#executor;
    const known = pollHandle(command);
    let handle: Uint8Array, query: PendingQuery;
    if (known !== null) {
      handle = known;
      query = handles.find(PendingQuery, "query", handle, callerOf(context));
    } else {
      if (packedName(command) === null) return undefined;
      const { byteLength } = command;
      handles.checkRoom(callerOf(context), byteLength);
      const calls: ConstructorParameters<typeof PendingQuery>[0] = {
        execute: (signal, watch) => this.#run(command, context, signal, watch),
        discard: (result, error) => handles.end(this.#executor.handleOf(result), error),
      };
      query = new PendingQuery(calls, limits.resultTimeoutMs, byteLength);
      handle = handles.add(query, callerOf(context));
    }
    const stored = await query.wait(POLL_MS, context.signal).catch(async (error) => {
      if (!query.isBusy) await handles.end(handle.toHex(), error);
      throw error;
    });
    if (stored !== null) {
      handles.drop(handle.toHex());
      const info = await this.#infoOf(stored, query.descriptor ?? descriptor, context._approach);
      return { info, descriptor: null, progress: 1, expirationTime: null };
    }
    if (known === null) query.descriptor = descriptor;
    const next = { command: pollCommand(handle) };
    const info: FlightInfo = {
      ...{ schema: NOTHING, descriptor: next, endpoints: [], totalRecords: -1n, totalBytes: -1n, ordered: false },
      appMetadata: NOTHING,
    };
    return { info, descriptor: next, progress: query.watch.progress, expirationTime: null };
  }

  async #doGet(ticket: Uint8Array, context: FlightContext): Promise<Dataset | undefined> {
    const name = await this.#host.nameOf(ticket);
    if (name === null || !name.startsWith(PART_PREFIX)) return undefined;
    return this.#owned(name, context).dataset;
  }

  async #doPut(upload: FlightUpload, context: FlightContext): Promise<void | false> {
    const command = upload.descriptor && commandOf(upload.descriptor);
    const name = command && packedName(command);
    if (!command || name === null) return false;
    const caller = callerOf(context);
    const { signal } = context;
    switch (name) {
      case "CommandPreparedStatementQuery": {
        const { preparedStatementHandle } = readPacked(sql.CommandPreparedStatementQuerySchema, command);
        const prepared = this.#executor.prepared(preparedStatementHandle, caller);
        prepared.bind(await BoundRows.receive(upload, this.#executor.parameterMemory));
        return await upload.acknowledge(bytes(sql.DoPutPreparedStatementResultSchema, { preparedStatementHandle }));
      }
      case "CommandPreparedStatementUpdate": {
        const { preparedStatementHandle } = readPacked(sql.CommandPreparedStatementUpdateSchema, command);
        const prepared = this.#executor.prepared(preparedStatementHandle, caller);
        using bound = await BoundRows.receive(upload, this.#executor.parameterMemory);
        return await acknowledge(upload, await this.#executor.updatePrepared(prepared, bound.rows, signal));
      }
      case "CommandStatementIngest": {
        const request = readPacked(sql.CommandStatementIngestSchema, command);
        const transaction = this.#executor.transaction(request.transactionId, caller);
        const rows = { schemaHeader: await upload._readSchema(), messages: () => messagesOf(upload) };
        return await acknowledge(upload, await this.#executor.ingest(ingestOf(request), rows, transaction, caller));
      }
      default: {
        const { text, transaction } = this.#statement(name, command, caller);
        return await acknowledge(upload, await this.#executor.update(text, transaction, signal));
      }
    }
  }

  async #cancel(info: FlightInfo, context: FlightContext): Promise<CancelStatus | undefined> {
    const error = new PeerError("cancelled", "cannot complete the query: its client has cancelled it");
    const caller = callerOf(context);
    const { handles } = this.#executor;
    const polled = info.descriptor === null ? null : pollHandle(commandOf(info.descriptor) ?? NOTHING);
    if (polled !== null) {
      handles.find(PendingQuery, "query", polled, caller);
      await handles.end(polled.toHex(), error);
      return "cancelled";
    }
    const names = await Promise.all(info.endpoints.map(({ ticket }) => this.#host.nameOf(ticket)));
    const own = names.filter((name) => name?.startsWith(PART_PREFIX)) as string[];
    if (own.length === 0) return undefined;
    for (const name of own) {
      if (this.#part(name) !== null) await handles.end(this.#owned(name, context).handle, error);
    }
    return "cancelled";
  }

  async #renew(endpoint: FlightEndpoint, context: FlightContext): Promise<FlightEndpoint | undefined> {
    const name = await this.#host.nameOf(endpoint.ticket);
    if (name === null || !name.startsWith(PART_PREFIX)) return undefined;
    const { stored } = this.#owned(name, context);
    const { ticket, expirationTime } = await this.#host.endpoint(name, true, stored.timeoutMs, context._approach);
    return { ...endpoint, ticket, expirationTime };
  }

  /** A part of a result of the caller. @throws {DipcError} `not_found`, `permission_denied` */
  #owned(name: string, context: FlightContext) {
    const found = this.#part(name);
    if (found === null) throw unknownHandle("ticket");
    if (found.identity !== callerOf(context).identity) {
      throw new PeerError("permission_denied", "cannot accept the ticket: it is for a result of another user");
    }
    return { ...found, dataset: found.stored.result.parts[found.index] };
  }

  #part(name: string) {
    const [, handle, index] = /^sql:([0-9a-f]{32}):(\d{1,4})$/.exec(name) ?? [];
    const entry = handle === undefined ? undefined : this.#executor.handles.peek(handle);
    if (!(entry?.open instanceof StoredResult)) return null;
    return { handle, stored: entry.open, identity: entry.identity, index: Number(index) };
  }
}

function bytes<T extends DescMessage>(schema: T, message: MessageInitShape<T>): Uint8Array {
  return toBinary(schema, create(schema, message));
}

async function acknowledge(upload: FlightUpload, changed: number): Promise<void> {
  await upload.acknowledge(bytes(sql.DoPutUpdateResultSchema, { recordCount: BigInt(changed) }));
}

async function* messagesOf(upload: FlightUpload): AsyncGenerator<IpcMessage, undefined> {
  for await (const { message } of upload) if (message !== null) yield message;
}
