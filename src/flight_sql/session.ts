/**
 * What all calls of one client share: its connections, and how results are opened.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import type { FlightClient } from "../flight/client.ts";
import type { FlightInfo } from "../flight/model.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { DissociatedStreamReader } from "../reader.ts";
import type { ClientPool } from "../routes/client_pool.ts";
import { noColumns, openInfo } from "../routes/open_info.ts";
import type { Dataset } from "../sources/dataset.ts";
import { readAnswer } from "./any.ts";
import { cancelQuery } from "./cancel.ts";
import { DoPutUpdateResultSchema } from "./gen/flight_sql_pb.ts";
import type { CheckedOptions, SqlCallOptions, SqlQueryOptions } from "./options.ts";
import { isUnimplemented } from "./unimplemented.ts";
import { StreamSpan } from "../telemetry/stream_span.ts";

/** Shortest time from one PollFlightInfo to the next, in milliseconds: the server is the one that waits. */
const POLL_MS = 100;

/** Most connections to locations of results that stay while no result is read. */
const KEPT_LOCATIONS = 8;
/** Longest time of a cancellation that nobody waits for, in milliseconds. */
const CANCEL_MS = 5000;

/** The connections of a client. */
export class SqlSession {
  readonly #clients: ClientPool;
  readonly #options: CheckedOptions;
  /** Results that are being read. */
  #results = 0;

  /**
   * @param clients The server's client, and those of its locations
   * @param options How results are read
   */
  constructor(clients: ClientPool, options: CheckedOptions) {
    this.#clients = clients;
    this.#options = options;
  }

  /** The server's client. */
  get flight(): FlightClient {
    return this.#clients.first;
  }

  /**
   * Asks for the endpoints of a command's result.
   *
   * @param command A packed command
   * @param options Cancellation and progress
   */
  async info(command: Uint8Array, { onProgress, ...call }: SqlQueryOptions = {}): Promise<FlightInfo> {
    if (onProgress === undefined) return await this.flight.getFlightInfo({ command }, callOf(call));
    try {
      return await this.#poll(command, call, onProgress);
    } catch (error) {
      if (!isUnimplemented(error)) throw error;
      return await this.flight.getFlightInfo({ command }, callOf(call));
    }
  }

  /**
   * Starts to read a result.
   *
   * @param info Its endpoints
   * @param options Cancellation
   * @param more When the statement began, by `performance.now()`; how its schema is found if no rows have come to show it; and
   * what is called when the result is over
   */
  async open(
    info: FlightInfo,
    { signal }: SqlCallOptions = {},
    more: { startedMs?: number; schema?: () => Promise<MessageHeader | null>; close?: () => Promise<void> } = {},
  ): Promise<DissociatedStreamReader> {
    const { startedMs = performance.now() } = more;
    this.#results++;
    let isOver = false;
    const close = async (): Promise<void> => {
      if (isOver) return;
      isOver = true;
      if (--this.#results === 0) await this.#clients.trim(KEPT_LOCATIONS);
      await more.close?.();
    };
    try {
      const span = new StreamSpan("received");
      const stream = await span.open(() =>
        openInfo(info, this.#clients, {
          ...this.#options,
          signal,
          lastSchema: async () => await more.schema?.().catch(() => null) ?? noColumns(),
          close,
        })
      );
      return new DissociatedStreamReader({ ...stream, limits: this.#options.limits, signal, startedMs, span });
    } catch (error) {
      await close();
      throw error;
    }
  }

  /**
   * Sends a command with rows.
   *
   * @param command A packed command
   * @param dataset The rows; `null` for a command without any
   * @param options Cancellation
   * @returns The server's answers
   */
  async put(command: Uint8Array, dataset: Dataset | null, options: SqlCallOptions = {}): Promise<Uint8Array[]> {
    if (dataset !== null) return await this.flight.put({ command }, dataset, callOf(options));
    await using writer = await this.flight.doPut({ command }, noColumns(), callOf(options));
    return await writer.finish();
  }

  /**
   * Sends a command that changes rows.
   *
   * @returns Rows that were changed, `null` if the server does not say
   */
  async change(command: Uint8Array, dataset: Dataset | null, options: SqlCallOptions = {}): Promise<number | null> {
    const answers = await this.put(command, dataset, options);
    if (answers.length === 0) return null;
    const { recordCount } = readAnswer(DoPutUpdateResultSchema, answers[0], this.flight.location.uri);
    return recordCount < 0n ? null : Number(recordCount);
  }

  async #poll(
    command: Uint8Array,
    call: SqlCallOptions,
    onProgress: NonNullable<SqlQueryOptions["onProgress"]>,
  ): Promise<FlightInfo> {
    let info: FlightInfo | null = null;
    try {
      for (let descriptor = { command };;) {
        const startedMs = performance.now();
        const answer = await this.flight.pollFlightInfo(descriptor, callOf(call));
        info = answer.info ?? info;
        onProgress(answer.progress, info);
        if (answer.descriptor === null) break;
        descriptor = answer.descriptor as { command: Uint8Array };
        const left = POLL_MS - (performance.now() - startedMs);
        if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
      }
    } catch (error) {
      // The server goes on with a query that nobody waits for any more, unless it learns so.
      if (info !== null) void cancelQuery(this.flight, info, { timeoutMs: CANCEL_MS }).catch(() => {});
      throw error;
    }
    if (info !== null) return info;
    throw new LocalError(
      "protocol",
      `cannot read the result of ${this.flight.location.uri}: the query is complete, but PollFlightInfo has no endpoints`,
    );
  }

  /** Closes the connections. Idempotent. */
  close(): Promise<void> {
    return this.#clients.close();
  }
}

function callOf({ signal, timeoutMs }: SqlCallOptions): { signal?: AbortSignal; timeoutMs?: number } {
  return { signal, timeoutMs };
}
