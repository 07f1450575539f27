/**
 * Reads strings that C owns.
 *
 * @module
 */

/**
 * Reads a C string.
 *
 * @param address Address of its first byte
 * @returns `null` for a null pointer
 */
export function cStringAt(address: bigint): string | null {
  const pointer = Deno.UnsafePointer.create(address);
  return pointer === null ? null : Deno.UnsafePointerView.getCString(pointer);
}

/**
 * Reads the C string in a buffer, up to its first 0.
 *
 * @param bytes A buffer that C has filled
 */
export function cStringIn(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}
