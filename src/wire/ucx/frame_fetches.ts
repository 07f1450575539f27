/**
 * Frames that UCX announces and does not bring: large ones, and those that a sender waits for. They are fetched into their places in
 * the queue.
 *
 * @module
 */
import type { DipcError } from "../../errors.ts";
import { isStatusError, pointerStatus, statusError } from "../../../ffi/status.ts";
import type { UcpSymbols } from "../../../ffi/ucp.ts";
import type { FrameQueue, FrameSlot } from "./frames.ts";
import { type RequestList, UcxRequest } from "./operations.ts";

/** Frames in the queue up to which others are fetched ahead. */
const FETCH_AHEAD = 64;

interface Announced {
  readonly descriptor: bigint;
  readonly size: bigint;
  readonly slot: FrameSlot;
  request: UcxRequest | null;
}

/** How a worker fetches. */
export interface FetchOptions {
  readonly symbols: UcpSymbols;
  /** Handle of the worker. */
  readonly worker: bigint;
  /** Address of the parameters of a request for host memory. */
  readonly params: bigint;
  /** Called after each request. */
  readonly onRequest: () => void;
}

/** The frames of a channel that have not been fetched. */
export class FrameFetches {
  readonly #frames: FrameQueue;
  readonly #requests: RequestList;
  readonly #options: FetchOptions;
  #announced: Announced[] = [];

  /**
   * @param frames The queue that takes them, in their order
   * @param requests The requests of the channel
   * @param options How they are fetched
   */
  constructor(frames: FrameQueue, requests: RequestList, options: FetchOptions) {
    this.#frames = frames;
    this.#requests = requests;
    this.#options = options;
  }

  /** Frames that have not been fetched. */
  get count(): number {
    return this.#announced.length;
  }

  /** Takes the announcement of a frame, with UCX's descriptor of its data. */
  add(descriptor: bigint, size: bigint, byteLength: number): void {
    this.#announced.push({ descriptor, size, slot: this.#frames.reserve(byteLength), request: null });
  }

  /** Starts and completes transfers. @returns why one has failed, otherwise `null` */
  advance(): DipcError | null {
    const { symbols, worker, params, onRequest } = this.#options;
    let failure: DipcError | null = null;
    for (const frame of this.#announced) {
      if (frame.request === null) {
        // One that is not fetched makes its sender wait; the next one in order is always fetched.
        if (this.#frames.count > FETCH_AHEAD && !this.#frames.isNext(frame.slot)) break;
        const pointer = symbols.ucp_am_recv_data_nbx(worker, frame.descriptor, frame.slot.address, frame.size, params);
        if (isStatusError(pointer)) {
          failure ??= statusError(pointerStatus(pointer), "fetch metadata from the peer");
          break;
        }
        if (pointer === 0n) {
          frame.slot.ready = true;
          continue;
        }
        frame.request = new UcxRequest(this.#requests, pointer, frame.slot);
        onRequest();
      }
      const state = frame.request.poll();
      if (state === 1) frame.slot.ready = true;
      else if (state === 2) failure ??= frame.request.error;
    }
    this.#announced = this.#announced.filter(({ slot }) => !slot.ready);
    return failure;
  }

  /** Gives back the descriptors of frames whose transfer has not begun. */
  abort(): void {
    const { symbols, worker } = this.#options;
    for (const { request, descriptor } of this.#announced) {
      if (request === null) symbols.ucp_am_data_release(worker, descriptor);
    }
    this.#announced = [];
  }
}
