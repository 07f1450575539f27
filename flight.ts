/**
 * Arrow Flight for Deno: client and server for every call of Flight.
 *
 * @module
 */
export type { TypedEventTarget } from "./src/events.ts";
export { DipcError, type DipcErrorCode, type DipcErrorOptions, type ForeignStatus } from "./src/errors.ts";
export { FlightClient } from "./src/flight/client.ts";
export type {
  FlightCall,
  FlightCallOptions,
  FlightClientOptions,
  FlightMiddleware,
} from "./src/flight/client_options.ts";
export { type FlightChunk, FlightReader } from "./src/flight/flight_reader.ts";
export { FlightExchange, FlightWriter } from "./src/flight/upload.ts";
export { PredefinedActions } from "./src/flight/predefined_actions.ts";
export type { FlightLocation } from "./src/flight/location.ts";
export type {
  ActionType,
  CancelStatus,
  CloseSessionStatus,
  FlightDescriptor,
  FlightDescriptorInit,
  FlightEndpoint,
  FlightInfo,
  PollInfo,
  SessionOptionError,
  SessionValue,
} from "./src/flight/model.ts";
export type { OwnedRecordBatch } from "./src/ipc/lazy_batch.ts";
export type { IpcMessage, MessageHeader, MessageKind } from "./src/ipc/message.ts";
export type { ReaderLimits } from "./src/limits.ts";
export type { Block, Body, Pool } from "./src/memory/block.ts";
export type { Dataset, MessageStream } from "./src/sources/dataset.ts";
export { FlightContext } from "./src/flight/service/context.ts";
export {
  ClientStream,
  FlightServerExchange,
  FlightUpload,
  type FlightUploadItem,
} from "./src/flight/service/exchange.ts";
export {
  FlightServer,
  type FlightServerEventDetail,
  type FlightServerEvents,
  serveFlight,
} from "./src/flight/service/flight_server.ts";
export type { FlightServerTls, FlightTlsOptions } from "./src/grpc/tls.ts";
export type {
  FlightAction,
  FlightAuth,
  FlightHandlers,
  FlightServerLimits,
  FlightServerOptions,
  MaybePromise,
} from "./src/flight/service/options.ts";
export type { FlightPlaneOptions } from "./src/serving/flight_plane.ts";
export type { TicketOptions } from "./src/serving/tickets.ts";
export { Gateway, serveGateway } from "./src/gateway/gateway.ts";
export type { GatewayOptions } from "./src/gateway/options.ts";
export { GrpcStatus } from "./src/grpc/status.ts";
