/**
 * How gRPC frames messages on an HTTP/2 stream (gRPC's document "gRPC over HTTP2", Length-Prefixed-Message).
 *
 * @module
 */

/** Bytes before every gRPC message: a flag, and its length as u32 big-endian. */
export const GRPC_PREFIX_BYTES = 5;
/**
 * Longest gRPC message that others take, in bytes. On the wire its length is a u32, but gRPC's and Arrow's libraries count in
 * signed numbers of 32 bits; pyarrow even reads a longer message as the end of a stream that succeeded.
 */
export const MAX_GRPC_MESSAGE_BYTES: number = 2 ** 31 - 1;
