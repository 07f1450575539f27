/**
 * Channels of the loopback transport: what is on its way, what has arrived, what was posted.
 *
 * @module
 */
import { DipcError } from "../../src/errors.ts";
import type { Block, Body } from "../../src/memory/block.ts";
import type { StreamRole } from "../../src/protocol/role.ts";
import { encodeFrame } from "../../src/protocol/prefix.ts";
import { formatTag } from "../../src/protocol/tag.ts";
import type { FaultInjector } from "./loopback_faults.ts";
import type { LoopbackScheduler } from "./loopback_scheduler.ts";
import type { Random } from "./random.ts";
import {
  type Channel,
  DONE,
  FAILED,
  type Operation,
  PENDING,
  type Receive,
  type UnexpectedMessage,
  type UntilOptions,
} from "../../src/wire/transport.ts";

/** Longest wait of a `close({ flush: true })`, in virtual milliseconds. */
const FLUSH_MS = 5_000;
/** Frames with the rendezvous flag are fetched while at most so many lie in the queue. */
const FETCH_AHEAD = 8;
/** A message is overtaken by fewer than this many that were sent later. */
const MAX_OVERTAKES = 100;
/** A frame starts here in its buffer, so that what follows the prefix is 8-aligned. */
const FRAME_OFFSET = 3;

/** What a channel needs of its network. */
export interface LoopbackNetwork {
  readonly random: Random;
  readonly scheduler: LoopbackScheduler;
  readonly eagerBytes: number;
  readonly maxDelayMs: number;
  readonly dropAtMessage: number;
  /** Most messages that waited for one side at a time. */
  peakWaiting: number;
  /** Told when a channel is closed. */
  forget(channel: LoopbackChannel): void;
}

/** Something on its way to a channel. */
interface Event {
  at: number;
  /** Calls of `progress()` that it still takes. */
  steps: number;
  readonly link: Link;
  readonly arrive: () => void;
}

/** Frames, or tagged messages, of one direction: what is not reordered arrives in order. */
class Lane {
  sent = 0;
  lastAt = 0;
  /** Messages that may be overtaken, the earliest first. */
  readonly late: { event: Event; number: number }[] = [];
}

/** One direction of a connection. */
export class Link {
  back!: Link;
  /** Cut, or an end closed: nothing more is sent or read from the sender's memory. */
  broken = false;
  #messages = 0;
  readonly #frames = new Lane();
  readonly #tagged = new Lane();

  constructor(
    readonly from: LoopbackChannel,
    readonly to: LoopbackChannel,
    readonly injector: FaultInjector,
    readonly fromServer: boolean,
  ) {}

  frame(frame: Uint8Array<ArrayBuffer>, sent: LoopbackOperation | null): void {
    const { injector } = this;
    const repeats = this.#repeats(injector.strikes("duplicateFrame"));
    for (let i = 0; i < repeats; i++) {
      const arriving = injector.damageFrame(frame.slice());
      this.#send(this.#frames, injector.strikes("reorderFrame"), () => {
        const fetched = sent === null ? null : () => void this.back.post(0, () => sent.settle(null));
        this.to.frameArrived(arriving, fetched);
      });
    }
    this.#maybeDrop();
  }

  tagged(tag: bigint, read: () => Uint8Array | null, byteLength: number, sent: LoopbackOperation | null): void {
    const { injector } = this;
    const repeats = this.#repeats(injector.strikes("duplicateTagged"));
    for (let i = 0; i < repeats; i++) {
      const message: Tagged = {
        link: this,
        tag: injector.damageTag(tag),
        byteLength: injector.damageLength(byteLength),
        read,
        matched: () => {
          if (sent !== null) this.back.post(0, () => sent.settle(null));
        },
      };
      this.#send(this.#tagged, injector.strikes("reorderTagged"), () => this.to.matchArriving(message));
    }
    this.#maybeDrop();
  }

  /** Puts something on its way to `to`. */
  post(at: number, arrive: () => void): Event | null {
    if (this.broken || this.to.closed) return null;
    const steps = this.injector.strikes("split") ? this.to.network.random.between(1, 8) : 0;
    const event: Event = { at, steps, link: this, arrive };
    this.to.enqueue(event);
    return event;
  }

  /** Breaks both directions. `keep`: events that still arrive; the others are lost. */
  break(error: DipcError, keepUnderway: boolean): void {
    if (this.broken && this.back.broken) return;
    for (const link of [this, this.back] as const) {
      link.broken = true;
      if (!keepUnderway) link.to.dropEvents(link);
      // Comes after everything that is still on its way over this link.
      if (!link.to.closed) link.to.failLater(link, error);
    }
  }

  #repeats(twice: boolean): number {
    if (this.injector.strikes("lose")) return 0;
    return twice ? 2 : 1;
  }

  #send(lane: Lane, overtaken: boolean, arrive: () => void): void {
    const { random, maxDelayMs, scheduler } = this.to.network;
    const late = () => scheduler.now + 1 + random.below(maxDelayMs);
    lane.sent++;
    if (overtaken) {
      const event = this.post(late(), arrive);
      if (event !== null) lane.late.push({ event, number: lane.sent });
    } else {
      lane.lastAt = Math.max(lane.lastAt, this.injector.strikes("delay") ? late() : scheduler.now);
      this.post(lane.lastAt, arrive);
    }
    while (lane.late.length > 0 && lane.sent - lane.late[0].number >= MAX_OVERTAKES) {
      this.to.expedite(lane.late.shift()!.event);
    }
  }

  #maybeDrop(): void {
    const message = this.#messages++;
    const isTime = this.fromServer && message === this.to.network.dropAtMessage;
    if (isTime) this.injector.counts.drop++;
    if (isTime || this.injector.strikes("drop")) {
      this.break(new DipcError("connection_lost", "loopback: the connection was reset"), false);
    }
  }
}

/** A tagged message on its way or unexpected. */
interface Tagged {
  readonly link: Link;
  readonly tag: bigint;
  readonly byteLength: number;
  /** The sender's bytes: a copy of an eager message, its own memory otherwise, or null if that is gone. */
  readonly read: () => Uint8Array | null;
  readonly matched: () => void;
}

class LoopbackOperation implements Operation {
  error: DipcError | null = null;
  #state: 0 | 1 | 2 = PENDING;
  readonly #unsettled?: Set<LoopbackOperation>;

  /** @param unsettled Holds it until it is settled */
  constructor(unsettled?: Set<LoopbackOperation>) {
    this.#unsettled = unsettled;
    unsettled?.add(this);
  }

  poll(): 0 | 1 | 2 {
    return this.#state;
  }

  settle(error: DipcError | null): void {
    if (this.#state !== PENDING) return;
    this.error = error;
    this.#unsettled?.delete(this);
    this.#state = error === null ? DONE : FAILED;
  }
}

class LoopbackReceive extends LoopbackOperation implements Receive {
  tag = 0n;
  byteLength = 0;
  /** Matched by a message whose sender is gone: settles with `close()` alone. */
  stuck = false;

  constructor(
    readonly channel: LoopbackChannel,
    readonly wanted: bigint,
    readonly mask: bigint,
    readonly target: Block,
    readonly capacity: number,
  ) {
    super();
  }

  matches(tag: bigint): boolean {
    return ((tag ^ this.wanted) & this.mask) === 0n;
  }

  cancel(): void {
    this.channel.cancelReceive(this);
  }

  /** Copies the message and settles. On a link that broke meanwhile, nothing is settled: as on a dead endpoint of UCX. */
  take(message: Tagged): void {
    if (message.byteLength > this.capacity) {
      message.matched();
      this.settle(
        new DipcError(
          "protocol",
          `a tagged message of ${message.byteLength} bytes arrived where ${this.capacity} were expected (tag ${
            formatTag(message.tag)
          })`,
        ),
      );
      return;
    }
    const bytes = message.read();
    if (bytes === null) {
      this.stuck = true;
      return;
    }
    const length = message.byteLength;
    const target = this.target.bytes();
    target.fill(0xEE, 0, length); // a message that grew on its way has no bytes of the sender's there
    target.set(bytes.subarray(0, length));
    this.tag = message.tag;
    this.byteLength = length;
    message.matched();
    this.settle(null);
  }
}

/** One side of a loopback connection, or of two. */
export class LoopbackChannel implements Channel {
  /** @inheritdoc */
  readonly transports: readonly string[] = ["loopback"];
  /** @inheritdoc */
  failure: DipcError | null = null;
  /** @inheritdoc */
  activity = 0;
  /** @internal Ways out: one, or metadata and body. */
  readonly links: Link[] = [];
  /** @internal Frames that have arrived. */
  readonly frames: { bytes: Uint8Array<ArrayBuffer>; fetched: (() => void) | null }[] = [];
  /** @internal Bytes of the queued messages. */
  frameBytes = 0;
  /** @internal */
  closed = false;

  #events: Event[] = [];
  readonly #receives: LoopbackReceive[] = [];
  readonly #unexpected: Tagged[] = [];
  readonly #sends = new Set<LoopbackOperation>();
  #frame = new Uint8Array(0);
  #closing: Promise<void> | null = null;

  constructor(readonly network: LoopbackNetwork) {}

  /** @inheritdoc */
  get queuedFrames(): number {
    return this.frames.length;
  }

  /** @inheritdoc */
  get queuedFrameBytes(): number {
    return this.frameBytes;
  }

  /** @internal When the next event is due, in virtual milliseconds. */
  nextEventAt(): number {
    return this.#events.length === 0 ? Infinity : this.#events[0].at;
  }

  /** @inheritdoc */
  progress(): boolean {
    let budget = this.network.random.between(1, 8);
    const { now } = this.network.scheduler;
    let happened = false;
    while (this.#events.length > 0 && budget-- > 0) {
      const event = this.#events[0];
      if (event.at > now) break;
      happened = true;
      this.activity++;
      if (event.steps > 0) { // and nothing behind it arrives before it
        event.steps--;
        break;
      }
      this.#events.shift();
      event.arrive();
    }
    return happened;
  }

  /** @inheritdoc */
  until(step: () => boolean, options?: UntilOptions): Promise<boolean> {
    if (this.closed) return Promise.reject(new DipcError("closed", "waiting on a closed channel"));
    return this.network.scheduler.wait(this, step, options);
  }

  /** @inheritdoc */
  takeFrame(): Uint8Array<ArrayBuffer> | null {
    this.#frame.fill(0xDD); // a view of the last frame is not valid any more, and shows it
    const frame = this.frames.shift()?.bytes;
    if (frame === undefined) return null;
    if (this.frames.length >= FETCH_AHEAD) this.frames[FETCH_AHEAD - 1].fetched?.();
    this.frameBytes -= frame.byteLength;
    this.#frame = new Uint8Array(new ArrayBuffer(FRAME_OFFSET + frame.byteLength), FRAME_OFFSET);
    this.#frame.set(frame);
    return this.#frame;
  }

  /** @inheritdoc */
  receive(tag: bigint, mask: bigint, target: Block, byteLength: number): Receive {
    const receive = new LoopbackReceive(this, tag, mask, target, byteLength);
    if (this.closed) {
      receive.settle(new DipcError("closed", "receiving on a closed channel"));
      return receive;
    }
    const at = this.#unexpected.findIndex((message) => receive.matches(message.tag));
    if (at < 0) {
      this.#receives.push(receive);
    } else {
      const [message] = this.#unexpected.splice(at, 1);
      receive.take(message);
      if (receive.poll() === PENDING) this.#receives.push(receive);
    }
    return receive;
  }

  /** @internal */
  cancelReceive(receive: LoopbackReceive): void {
    const at = this.#receives.indexOf(receive);
    if (at < 0 || receive.stuck) return; // settles with close()
    this.#receives.splice(at, 1);
    receive.settle(new DipcError("cancelled", "the receive was cancelled"));
  }

  /** @internal A frame has arrived; one with the rendezvous flag is fetched once few lie before it. */
  frameArrived(bytes: Uint8Array<ArrayBuffer>, fetched: (() => void) | null): void {
    this.frames.push({ bytes, fetched });
    this.frameBytes += bytes.byteLength;
    if (this.frames.length <= FETCH_AHEAD) fetched?.();
  }

  /** @internal A tagged message has arrived. */
  matchArriving(message: Tagged): void {
    const at = this.#receives.findIndex((receive) => !receive.stuck && receive.matches(message.tag));
    if (at < 0) {
      this.#unexpected.push(message);
      return;
    }
    this.#receives[at].take(message);
    if (this.#receives[at].poll() !== PENDING) this.#receives.splice(at, 1);
  }

  /** @inheritdoc */
  probe(): UnexpectedMessage | null {
    return this.#unexpected.length === 0 ? null : this.#unexpected[0];
  }

  /** @inheritdoc */
  sendFrame(type: number, sequence: number, payload: Uint8Array | null, rendezvous = false): Operation | null {
    const frame = encodeFrame(type, sequence, payload);
    const link = this.links[0];
    const refused = this.#refuse(link);
    if (refused !== null) return refused;
    const operation = rendezvous ? new LoopbackOperation(this.#sends) : null;
    link.frame(frame, operation);
    return operation;
  }

  /** @inheritdoc */
  sendTagged(tag: bigint, body: Body, synchronous: boolean, role: StreamRole = "both"): Operation | null {
    const link = this.links[role === "body" ? this.links.length - 1 : 0];
    const refused = this.#refuse(link);
    if (refused !== null) return refused;
    const isEager = body.byteLength <= this.network.eagerBytes;
    const operation = isEager && !synchronous ? null : new LoopbackOperation(this.#sends);
    const copy = isEager ? body.bytes().slice() : null;
    // A duplicate that comes after the send is done finds the sender's memory gone.
    const read = () => copy ?? (link.broken || operation?.poll() !== PENDING ? null : body.bytes());
    link.tagged(tag, read, body.byteLength, operation);
    return operation;
  }

  /** @inheritdoc */
  close(options: { flush?: boolean } = {}): Promise<void> {
    return this.#closing ??= this.#close(options.flush ?? false);
  }

  /** @internal Messages that were sent to this side and that it has not taken, on their way or here. */
  get waiting(): number {
    return this.#events.length + this.frames.length + this.#unexpected.length;
  }

  /** @internal */
  enqueue(event: Event): void {
    let at = this.#events.length;
    while (at > 0 && this.#events[at - 1].at > event.at) at--;
    this.#events.splice(at, 0, event);
    this.network.peakWaiting = Math.max(this.network.peakWaiting, this.waiting);
  }

  /** @internal Lets an event arrive now, if it is still on its way. */
  expedite(event: Event): void {
    const at = this.#events.indexOf(event);
    if (at < 0) return;
    this.#events.splice(at, 1);
    event.at = Math.min(event.at, this.network.scheduler.now);
    this.enqueue(event);
  }

  /** @internal What is on its way over this link is lost, but what arrived stays. */
  dropEvents(link: Link): void {
    this.#events = this.#events.filter((event) => event.link !== link);
  }

  /** @internal Fails the channel after what is on its way over this link. */
  failLater(link: Link, error: DipcError): void {
    let at = this.network.scheduler.now;
    for (const event of this.#events) if (event.link === link) at = Math.max(at, event.at);
    this.enqueue({ at, steps: 0, link, arrive: () => this.failure ??= error });
  }

  /** @internal Whether something sent over this link has not arrived. */
  expects(link: Link): boolean {
    return this.#events.some((event) => event.link === link);
  }

  async #close(flush: boolean): Promise<void> {
    if (flush && this.failure === null) {
      try {
        await this.until(() => this.#sends.size === 0 && !this.links.some((link) => link.to.expects(link)), {
          timeoutMs: FLUSH_MS,
        });
      } catch {
        // The peer is gone: there is nobody to flush to.
      }
    }
    this.closed = true;
    for (const link of this.links) {
      link.break(new DipcError("connection_lost", "loopback: the peer closed the connection"), flush);
    }
    const error = new DipcError("closed", "the channel was closed");
    for (const receive of this.#receives.splice(0)) receive.settle(error);
    for (const send of [...this.#sends]) send.settle(error);
    this.#unexpected.length = 0;
    this.#events = [];
    this.frames.length = 0;
    this.frameBytes = 0;
    this.network.forget(this);
  }

  #refuse(link: Link): Operation | null {
    if (!this.closed && !link.broken && this.failure === null) return null;
    const operation = new LoopbackOperation();
    operation.settle(
      this.closed
        ? new DipcError("closed", "sending on a closed channel")
        : this.failure ?? new DipcError("connection_lost", "loopback: the connection was reset"),
    );
    return operation;
  }
}
