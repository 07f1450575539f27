/**
 * The driver's functions without dipc's policy, for tests of the simulated driver itself.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { openLibcuda } from "../../../ffi/cuda.ts";
import type { CudaSymbols } from "../../../ffi/cuda_symbols.ts";
import { cuda, type SimulatorControl } from "../../support/cuda_sim.ts";

/** One device with its context current, as long as it is open. */
export class RawCuda implements Disposable {
  readonly symbols: CudaSymbols;
  readonly control: SimulatorControl;
  readonly context: bigint;
  readonly #device: number;
  readonly #cleanups: (() => number)[] = [];

  /** @param device Number of the device */
  constructor(device = 0) {
    this.symbols = openLibcuda(cuda!.library).symbols;
    this.control = cuda!.control!;
    this.#device = device;
    assertEquals(this.symbols.cuInit(0), 0);
    this.context = this.out((out) => this.symbols.cuDevicePrimaryCtxRetain(out, device));
    assertEquals(this.symbols.cuCtxPushCurrent_v2(this.context), 0);
    this.control.clear();
    this.control.setDelay(1);
  }

  /** Calls a function that must succeed, and returns what it wrote. */
  out(call: (out: BigUint64Array<ArrayBuffer>) => number): bigint {
    const out = new BigUint64Array(1);
    assertEquals(call(out), 0);
    return out[0];
  }

  /** Device memory, freed at the end unless the test did. */
  allocate(byteLength: number): bigint {
    const address = this.out((out) => this.symbols.cuMemAlloc_v2(out, BigInt(byteLength)));
    this.#cleanups.push(() => this.symbols.cuMemFree_v2(address));
    return address;
  }

  /** Pinned memory. */
  pin(byteLength: number): bigint {
    const address = this.out((out) => this.symbols.cuMemHostAlloc(out, BigInt(byteLength), 0));
    this.#cleanups.push(() => this.symbols.cuMemFreeHost(address));
    return address;
  }

  /** A stream that waits for no other. */
  stream(flags = 1): bigint {
    const stream = this.out((out) => this.symbols.cuStreamCreate(out, flags));
    this.#cleanups.push(() => this.symbols.cuStreamDestroy_v2(stream));
    return stream;
  }

  /** An event. */
  event(flags = 2): bigint {
    const event = this.out((out) => this.symbols.cuEventCreate(out, flags));
    this.#cleanups.push(() => this.symbols.cuEventDestroy_v2(event));
    return event;
  }

  /** Runs something that must succeed without a complaint. */
  fine(...results: number[]): void {
    assertEquals([...results, this.control.complaints], [...results.map(() => 0), []]);
  }

  /** The complaints that something led to; afterwards they are forgotten. */
  complaintsOf(run: () => void): string[] {
    this.control.clear();
    run();
    const { complaints } = this.control;
    this.control.clear();
    return complaints;
  }

  /** The bytes of pinned memory, in place. */
  view(address: bigint, byteLength: number): Uint8Array<ArrayBuffer> {
    const pointer = Deno.UnsafePointer.create(address)!;
    return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, byteLength) as ArrayBuffer);
  }

  [Symbol.dispose](): void {
    this.symbols.cuCtxSynchronize();
    for (const cleanup of this.#cleanups.reverse()) cleanup();
    this.symbols.cuCtxPopCurrent_v2(new BigUint64Array(1));
    this.symbols.cuDevicePrimaryCtxRelease_v2(this.#device);
    this.control.clear();
    this.control.setDelay(1);
  }
}
