/**
 * The client of Flight SQL servers.
 *
 * @module
 */
import { FlightClient } from "../flight/client.ts";
import type { FlightCallOptions, FlightClientOptions } from "../flight/client_options.ts";
import { runAction } from "./action_call.ts";
import { SQL_ACTIONS } from "./actions.ts";
import { ActionEndTransactionRequest_EndTransaction as EndTransaction } from "./gen/flight_sql_pb.ts";

/** A connection to a Flight SQL server. */
export class FlightSqlClient implements AsyncDisposable {
  /** The Flight client beneath, for calls that are not about SQL. */
  readonly flight: FlightClient;

  private constructor(flight: FlightClient) {
    this.flight = flight;
  }

  /**
   * Connects, and authenticates if `user` is given.
   *
   * @param location `grpc://host:port`, `grpc+tcp://host:port`, `grpc+tls://host:port` or `grpc+unix:///path`
   * @param options Certificates, credentials, limits
   * @throws {DipcError} As `FlightClient.connect`
   */
  static async connect(location: string | URL, options: FlightClientOptions = {}): Promise<FlightSqlClient> {
    return new FlightSqlClient(await FlightClient.connect(location, options));
  }

  /**
   * Begins a transaction.
   *
   * @param call Options of this call
   * @returns Its id
   */
  async beginTransaction(call: FlightCallOptions = {}): Promise<Uint8Array> {
    return (await runAction(this.flight, SQL_ACTIONS.beginTransaction, {}, call)).transactionId;
  }

  /**
   * Ends a transaction.
   *
   * @param transactionId What `beginTransaction` returned
   * @param how Whether its changes stay
   * @param call Options of this call
   */
  async endTransaction(
    transactionId: Uint8Array,
    how: "commit" | "rollback",
    call: FlightCallOptions = {},
  ): Promise<void> {
    const action = how === "commit" ? EndTransaction.COMMIT : EndTransaction.ROLLBACK;
    await runAction(this.flight, SQL_ACTIONS.endTransaction, { transactionId, action }, call);
  }

  /** Closes the connection. Idempotent. */
  async close(): Promise<void> {
    await this.flight.close();
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
