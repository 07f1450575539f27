/**
 * The server's part of the scenarios `expiration_time:*`: three endpoints, two of which expire, and all of which can be
 * cancelled and renewed.
 *
 * @module
 */
import { Uint32 } from "apache-arrow";
import { DipcError } from "../../mod.ts";
import type { FlightEndpoint, FlightHandlers } from "../../flight.ts";
import { numbers, numbersSchema } from "./numbers.ts";

/** Seconds until each endpoint expires; `null`: it does not, and can be read only once. */
const LIFETIMES: readonly (number | null)[] = [null, 5, 6];
/** Seconds that a renewed endpoint lives. */
const RENEWED = 10;

interface State {
  expirationTime: Date | null;
  isCancelled: boolean;
  wasRead: boolean;
}

function inSeconds(seconds: number): Date {
  return new Date(Date.now() + seconds * 1000);
}

/** The handlers of the scenarios. */
export function expiringHandlers(): FlightHandlers {
  // A client asks for the flight first, and only once.
  let states: State[] = [];

  /** The number at the start of a ticket. */
  const indexOf = (ticket: Uint8Array): number => {
    const text = new TextDecoder().decode(ticket);
    const index = Number(/^(\d):/.exec(text)?.[1] ?? NaN);
    if (!(index < states.length)) throw new DipcError("invalid_argument", `there is no ticket "${text}"`);
    return index;
  };

  return {
    getFlightInfo: async (descriptor) => {
      states = LIFETIMES.map((seconds) => ({
        expirationTime: seconds === null ? null : inSeconds(seconds),
        isCancelled: false,
        wasRead: false,
      }));
      return {
        schema: await numbersSchema(new Uint32()),
        descriptor,
        endpoints: states.map(({ expirationTime }, index): FlightEndpoint => ({
          ticket: new TextEncoder().encode(`${index}: ${expirationTime === null ? "does not expire" : "expires"}`),
          locations: [],
          expirationTime,
          appMetadata: new Uint8Array(0),
        })),
        totalRecords: -1n,
        totalBytes: -1n,
        ordered: false,
        appMetadata: new Uint8Array(0),
      };
    },
    doGet: (ticket) => {
      const index = indexOf(ticket);
      const state = states[index];
      if (state.isCancelled) throw new DipcError("invalid_argument", "the flight was cancelled");
      if (state.expirationTime === null && state.wasRead) {
        throw new DipcError("invalid_argument", "this endpoint can be read only once");
      }
      if (state.expirationTime !== null && state.expirationTime.getTime() < Date.now()) {
        throw new DipcError("invalid_argument", "the endpoint has expired");
      }
      state.wasRead = true;
      return numbers(new Uint32(), [index]);
    },
    listActions: () => [
      { type: "CancelFlightInfo", description: "" },
      { type: "RenewFlightEndpoint", description: "" },
    ],
    cancelFlightInfo: ({ endpoints }) => {
      const found = endpoints.map(({ ticket }) => states[indexOf(ticket)]);
      if (found.some(({ isCancelled }) => isCancelled)) return "not cancellable";
      for (const state of found) state.isCancelled = true;
      return "cancelled";
    },
    renewFlightEndpoint: (endpoint) => {
      const expirationTime = inSeconds(RENEWED);
      states[indexOf(endpoint.ticket)].expirationTime = expirationTime;
      return { ...endpoint, expirationTime };
    },
  };
}
