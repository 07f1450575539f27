/**
 * The end of a Parquet file.
 *
 * @module
 */

/** A footer with its length and the magic number after it. */
export function withTail(thrift: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(thrift.byteLength + 8);
  bytes.set(thrift);
  new DataView(bytes.buffer).setUint32(thrift.byteLength, thrift.byteLength, true);
  bytes.set(new TextEncoder().encode("PAR1"), thrift.byteLength + 4);
  return bytes;
}
