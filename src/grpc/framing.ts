/**
 * How gRPC frames messages on an HTTP/2 stream (gRPC's document "gRPC over HTTP2", Length-Prefixed-Message).
 *
 * @module
 */

/** Bytes before every gRPC message: a flag, and its length as u32 big-endian. */
export const GRPC_PREFIX_BYTES = 5;
/** Longest gRPC message, in bytes: its length is a u32. */
export const MAX_GRPC_MESSAGE_BYTES: number = 2 ** 32 - 1;
