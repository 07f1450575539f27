/**
 * The producers and consumers of the conformance kit, loaded into this process.
 *
 * @module
 */
import { buildArrowCpp, buildSample } from "../../tools/async_kit.ts";
import type { Peers } from "../../tools/peers.ts";

const SYMBOLS = {
  async_produce: {
    parameters: [
      "usize", // struct ArrowAsyncDeviceStreamHandler *handler
      "i64", // int64_t batches
      "i64", // int64_t fail_after
      "i64", // int64_t delay_us
    ],
    result: "void",
    nonblocking: true,
  },
  async_consume: { parameters: ["buffer" /* struct ArrowAsyncDeviceStreamHandler *handler */], result: "usize" },
  async_read: { parameters: ["usize", "buffer"], result: "i32", nonblocking: true },
  async_close: { parameters: ["usize"], result: "void", nonblocking: true },
} as const satisfies Deno.ForeignLibraryInterface;

/** An implementation as `native/async_conformance/kit.h` describes it. */
export type AsyncPeer = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

const SAMPLE_SYMBOLS = { ...SYMBOLS, sample_mistake: { parameters: ["i32"], result: "void" } } as const;

/** The sample in C, which can make mistakes. */
export function loadSample(compiler: string): Deno.DynamicLibrary<typeof SAMPLE_SYMBOLS>["symbols"] {
  return Deno.dlopen(buildSample(compiler), SAMPLE_SYMBOLS).symbols;
}

/** Arrow C++. */
export function loadArrowCpp(arrowCpp: NonNullable<Peers["arrowCpp"]>): AsyncPeer {
  return Deno.dlopen(buildArrowCpp(arrowCpp), SYMBOLS).symbols;
}

/** A foreign consumer, to be given to `exportAsyncStream`. */
export class PeerConsumer {
  readonly #peer: AsyncPeer;
  readonly #handler = new Uint8Array(128);
  readonly #first = new BigInt64Array(16);
  readonly #id: bigint;

  constructor(peer: AsyncPeer) {
    this.#peer = peer;
    this.#id = peer.async_consume(this.#handler);
  }

  /** Address of its `ArrowAsyncDeviceStreamHandler`; the consumer must stay referenced until it is released. */
  get handler(): bigint {
    return BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(this.#handler)));
  }

  /** The first value of the next batch, `null` at the end, a negated errno for an error. */
  async read(): Promise<bigint | null> {
    const status = await this.#peer.async_read(this.#id, new Uint8Array(this.#first.buffer));
    return status === 1 ? this.#first[0] : status === 0 ? null : BigInt(status);
  }

  /** Reads up to the end or an error. @returns the first values, and the errno or 0 */
  async readAll(): Promise<{ firsts: bigint[]; errno: number }> {
    const firsts: bigint[] = [];
    for (;;) {
      const first = await this.read();
      if (first === null || first < 0n) return { firsts, errno: Number(-(first ?? 0n)) };
      firsts.push(first);
    }
  }

  /** Ends it. */
  close(): Promise<void> {
    return this.#peer.async_close(this.#id);
  }
}
