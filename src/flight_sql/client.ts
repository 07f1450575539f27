/**
 * The client of Flight SQL servers.
 *
 * @module
 */
import type { FlightClient } from "../flight/client.ts";
import type { CancelStatus, FlightInfo } from "../flight/model.ts";
import type { DissociatedStreamReader } from "../reader.ts";
import { connectClients } from "../routes/open_info.ts";
import { withPeerCheck } from "../routes/peer_check.ts";
import { checkDeno } from "../runtime.ts";
import { runAction } from "./action_call.ts";
import { SQL_ACTIONS } from "./actions.ts";
import { cancelQuery } from "./cancel.ts";
import { SqlMetadata } from "./metadata.ts";
import { checkSqlOptions, type FlightSqlOptions, type SqlCallOptions } from "./options.ts";
import { SqlSession } from "./session.ts";
import { FlightSqlTransaction } from "./transaction.ts";

/**
 * A connection to a Flight SQL server.
 *
 * @example Usage
 * ```ts ignore
 * import { FlightSqlClient } from "@arrow-ucx/dipc/flight-sql";
 *
 * await using client = await FlightSqlClient.connect("grpc://127.0.0.1:31337");
 * for await (using batch of await client.query("select 1 as one")) console.log(batch.numRows);
 * ```
 */
export class FlightSqlClient extends SqlMetadata implements AsyncDisposable {
  private constructor(session: SqlSession) {
    super(session);
  }

  /**
   * Connects, and authenticates if `user` is given. Servers without a handshake get user and password with every call.
   *
   * @param location `grpc://host:port`, `grpc+tcp://host:port`, `grpc+tls://host:port` or `grpc+unix:///path`
   * @param options Credentials, and how results are read
   * @throws {DipcError} `invalid_uri`, `invalid_argument`, `unreachable`, `permission_denied`, `timeout`, `cancelled`
   */
  static async connect(location: string | URL, options: FlightSqlOptions = {}): Promise<FlightSqlClient> {
    checkDeno();
    const { signal, ...checked } = checkSqlOptions(options);
    const { connectTimeoutMs, maxBatchBytes } = checked;
    const clients = await withPeerCheck(
      location,
      { signal, library: checked.library },
      (signal) => connectClients(location, { ...checked, signal }, { connectTimeoutMs, maxBatchBytes }),
    );
    return new FlightSqlClient(new SqlSession(clients, checked));
  }

  /** The Flight client beneath, for calls that are not about SQL: options of the session, other actions, lists of flights. */
  get flight(): FlightClient {
    return this._session.flight;
  }

  /**
   * Reads a result whose endpoints are known.
   *
   * @param info What `execute` returned
   * @param options Cancellation
   * @returns The reader, once the schema has arrived
   * @throws {DipcError} As `query`
   */
  async read(info: FlightInfo, options: SqlCallOptions = {}): Promise<DissociatedStreamReader> {
    return await this._session.open(info, options);
  }

  /**
   * Requests that a query be stopped, by CancelFlightInfo or, at older servers, by CancelQuery.
   *
   * @param info What `execute` returned
   * @param options Cancellation of this request
   * @throws {DipcError} What the server answers
   */
  async cancel(info: FlightInfo, options: SqlCallOptions = {}): Promise<CancelStatus> {
    return await cancelQuery(this.flight, info, options);
  }

  /**
   * Begins a transaction.
   *
   * @param options Cancellation
   * @throws {DipcError} What the server answers
   */
  async beginTransaction(options: SqlCallOptions = {}): Promise<FlightSqlTransaction> {
    const { transactionId } = await runAction(this.flight, SQL_ACTIONS.beginTransaction, {}, options);
    return this.transaction(transactionId);
  }

  /** A transaction that was begun before, perhaps by another client, by its id. */
  transaction(id: Uint8Array): FlightSqlTransaction {
    return new FlightSqlTransaction(this._session, id);
  }

  /** Cancels what is under way, and closes the connections. Idempotent. */
  close(): Promise<void> {
    return this._session.close();
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
