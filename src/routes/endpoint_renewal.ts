/**
 * Keeps an endpoint from expiring while it waits to be read.
 *
 * @module
 */
import { MAX_TIMER_MS } from "../limits.ts";
import type { FlightClient } from "../flight/client.ts";
import type { FlightEndpoint } from "../flight/model.ts";

/** Fraction of its lifetime after which an endpoint is renewed. */
const RENEW_AT = 0.5;
/** Shortest time between two renewals, in milliseconds, whatever the server states. */
const LEAST_WAIT_MS = 250;

/** One endpoint that is not being read yet. */
export class WaitingEndpoint {
  readonly #client: FlightClient;
  #endpoint: FlightEndpoint;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #renewing: Promise<void> | null = null;
  #isWaiting = true;

  /**
   * @param endpoint The endpoint as the server sent it
   * @param client Client that renews it
   */
  constructor(endpoint: FlightEndpoint, client: FlightClient) {
    this.#endpoint = endpoint;
    this.#client = client;
    this.#arm();
  }

  /** Ends the wait. @returns the endpoint to be used now */
  async take(): Promise<FlightEndpoint> {
    this.release();
    await this.#renewing;
    return this.#endpoint;
  }

  /** Ends the wait of an endpoint that is not going to be read. Idempotent. */
  release(): void {
    this.#isWaiting = false;
    clearTimeout(this.#timer);
  }

  #arm(): void {
    const { expirationTime } = this.#endpoint;
    if (expirationTime === null || !this.#isWaiting) return;
    const wait = (expirationTime.getTime() - Date.now()) * RENEW_AT;
    this.#timer = setTimeout(
      () => this.#renewing = this.#renew(),
      Math.min(MAX_TIMER_MS, Math.max(LEAST_WAIT_MS, wait)),
    );
  }

  async #renew(): Promise<void> {
    try {
      const renewed = await this.#client.renewFlightEndpoint(this.#endpoint);
      // One that is not valid for longer than before is not worth renewing again.
      const before = this.#endpoint.expirationTime!.getTime();
      this.#endpoint = renewed;
      if ((renewed.expirationTime?.getTime() ?? 0) > before) this.#arm();
    } catch {
      // The server does not renew, or not any more. Using the ticket shows whether it is still valid.
    }
  }
}
