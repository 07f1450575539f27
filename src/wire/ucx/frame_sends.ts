/**
 * Frames on their way to the peer. Each is written into native memory, which is used again once UCX has sent it.
 *
 * @module
 */
import { isStatusError, pointerStatus } from "../../../ffi/status.ts";
import { addressOf } from "../../../ffi/libc.ts";
import { type Operation, PENDING } from "../transport.ts";
import { FRAME_PREFIX_BYTES } from "./frames.ts";
import { FailedOperation, requestError, type RequestList, UcxRequest } from "./operations.ts";
import type { RequestParams } from "./request_params.ts";

/** Free send slots that are kept, 4 KiB each or more. */
const MAX_SEND_SLOTS = 256;
/** Settled frames at the front of the list that are dropped at once. */
const MAX_SETTLED = 256;

/** Native memory for a frame that is being sent. */
export class SendSlot {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  /** Address of the first byte. */
  readonly address: bigint;

  /** @param capacity Size in bytes */
  constructor(capacity: number) {
    this.bytes = new Uint8Array(capacity);
    this.view = new DataView(this.bytes.buffer);
    this.address = addressOf(this.bytes);
  }
}

class FrameSend extends UcxRequest {
  constructor(list: RequestList, request: bigint, readonly slot: SendSlot, readonly slots: SendSlot[]) {
    super(list, request, slot);
  }
  protected override unlink(): void {
    if (this.pinned !== null && this.slots.length < MAX_SEND_SLOTS) this.slots.push(this.slot);
    super.unlink();
  }
}

/** The frames that a channel sends. */
export class FrameSends {
  readonly #requests: RequestList;
  readonly #params: RequestParams;
  #slots: SendSlot[];
  /** Frames on their way, oldest first, from `#first` on. */
  readonly #sending: FrameSend[] = [];
  #first = 0;
  #lastLength = -1;
  #lastSize = 0n;

  /**
   * @param requests The requests of the channel
   * @param params Parameters of requests
   * @param slots Free memory, which an earlier channel of the connection has left
   */
  constructor(requests: RequestList, params: RequestParams, slots: SendSlot[]) {
    this.#requests = requests;
    this.#params = params;
    this.#slots = slots;
  }

  /**
   * Sends a frame. See `Channel.sendFrame`.
   *
   * @param endpoint Handle of the endpoint
   * @returns `null` if it was sent at once
   */
  send(
    endpoint: bigint,
    type: number,
    sequence: number,
    payload: Uint8Array | null,
    rendezvous: boolean,
  ): Operation | null {
    if (this.#sending.length > 0) this.#reap();
    const length = FRAME_PREFIX_BYTES + (payload === null ? 0 : payload.byteLength);
    if (length !== this.#lastLength) {
      this.#lastLength = length;
      this.#lastSize = BigInt(length);
    }
    let slot = this.#slots.pop();
    if (slot === undefined || slot.bytes.byteLength < length) slot = new SendSlot(Math.max(4096, length));
    slot.bytes[0] = type;
    slot.view.setUint32(1, sequence, true);
    if (payload !== null) slot.bytes.set(payload, FRAME_PREFIX_BYTES);
    const request = this.#requests.symbols.ucp_am_send_nbx(
      endpoint,
      0,
      0n,
      0n,
      slot.address,
      this.#lastSize,
      rendezvous ? this.#params.rendezvous : this.#params.plain,
    );
    if (request === 0n) {
      this.#slots.push(slot);
      return null;
    }
    if (isStatusError(request)) return new FailedOperation(requestError(pointerStatus(request)));
    const send = new FrameSend(this.#requests, request, slot, this.#slots);
    this.#sending.push(send);
    return send;
  }

  /** Takes the free memory, for a later channel of the connection. */
  takeSlots(): SendSlot[] {
    const slots = this.#slots;
    this.#slots = [];
    return slots;
  }

  /** Settles frames that were sent, so that their memory is reused even if the sender polls none. */
  #reap(): void {
    const sending = this.#sending;
    let first = this.#first;
    while (first < sending.length && sending[first].poll() !== PENDING) first++;
    if (first === sending.length) {
      sending.length = first = 0;
    } else if (first >= MAX_SETTLED) {
      sending.splice(0, first);
      first = 0;
    }
    this.#first = first;
  }
}
