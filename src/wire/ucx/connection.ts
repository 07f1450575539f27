/**
 * A connection as it outlives the channel of one stream: a worker and its endpoints.
 *
 * @module
 */
import type { KeepOptions } from "../transport.ts";
import type { UcxEndpoint } from "./endpoint.ts";
import type { SendSlot } from "./frame_sends.ts";
import type { FrameQueue } from "./frames.ts";
import type { UcxWorker } from "./worker.ts";

/** Most calls of progress in which the endpoints of a connection that is cut must close; what is left ends with the worker. */
const CUT_ROUNDS = 64;

/** Limits of a channel. */
export interface ChannelLimits {
  /** Most bytes of one metadata frame. */
  readonly maxFrameBytes: number;
  /** Most bytes of frames that arrived and were not taken. */
  readonly maxQueuedFrameBytes: number;
}

/** Memory of a connection's frames, all of it free while no stream uses the connection. */
export interface FrameMemory {
  readonly frames: FrameQueue;
  readonly sendSlots: SendSlot[];
}

/** Takes back the worker of a channel that has ended. */
export type WorkerReturn = (worker: UcxWorker, clean: boolean) => void;

/** Takes over the connection of a channel that has ended, for a later one. */
export type ConnectionKeeper = (connection: OpenConnection, keep: KeepOptions) => void;

/** A connection without a stream. */
export interface OpenConnection {
  readonly worker: UcxWorker;
  readonly endpoints: readonly UcxEndpoint[];
  /** Names of its peers in error messages. */
  readonly peers: readonly string[];
  /** Why it is not the fastest that this machine has; empty if nothing was in the way. */
  readonly transportsReason: string;
  readonly returnWorker: WorkerReturn;
  /** Names of the transports in use, as far as they are known. */
  readonly transports: readonly string[];
  /** Memory of the frames that are received and sent. */
  readonly memory: FrameMemory;
}

/**
 * Cuts a connection on which nothing is under way, without waiting.
 *
 * @param connection Its endpoints and worker, which is not used again
 */
export function cutConnection({ worker, endpoints, returnWorker }: OpenConnection): void {
  worker.owner = null;
  const closes = endpoints.map((endpoint) => endpoint.close(true));
  for (let i = 0; i < CUT_ROUNDS && !closes.every((close) => close.done()); i++) worker.progress();
  returnWorker(worker, false);
  for (const endpoint of endpoints) endpoint.forget();
}
