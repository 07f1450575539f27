/**
 * Host memory that another isolate of this process owns, as a body.
 *
 * @module
 */
import type { Body } from "../../memory/block.ts";

/** A body that is known by its address. Its owner keeps the memory until it is notified of the release. */
export class AddressBody implements Body {
  /** Always `"host"`. */
  readonly space = "host";
  readonly address: bigint;
  readonly byteLength: number;
  #onRelease: (() => void) | null;

  /**
   * @param address Address of the first byte; 0 for an empty body
   * @param byteLength Its length in bytes
   * @param onRelease Called once, when it is released; `null` if its owner keeps it anyway
   */
  constructor(address: bigint, byteLength: number, onRelease: (() => void) | null) {
    this.address = address;
    this.byteLength = byteLength;
    this.#onRelease = onRelease;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    const pointer = Deno.UnsafePointer.create(this.address);
    if (pointer === null || this.byteLength === 0) return new Uint8Array(0);
    return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, this.byteLength));
  }

  release(): void {
    const onRelease = this.#onRelease;
    this.#onRelease = null;
    onRelease?.();
  }
}
