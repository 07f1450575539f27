/**
 * Reads strings that C owns.
 *
 * @module
 */

/**
 * The text of a C string.
 *
 * @param address Its first byte
 * @returns `null` for a null pointer
 */
export function cStringAt(address: bigint): string | null {
  const pointer = Deno.UnsafePointer.create(address);
  return pointer === null ? null : Deno.UnsafePointerView.getCString(pointer);
}

/**
 * The text in a buffer that C has filled, up to its first 0.
 *
 * @param bytes The buffer
 */
export function cStringIn(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}
