/**
 * The address of a gRPC server.
 *
 * @module
 */

/** Address of a server. */
export interface GrpcTarget {
  /** As the user wrote it, for error messages. */
  readonly uri: string;
  /** Whether the connection is encrypted. */
  readonly tls: boolean;
  /** Host name or address; empty with a socket. */
  readonly host: string;
  /** Port; 0 with a socket. */
  readonly port: number;
  /** Path of a Unix socket, or `null`. */
  readonly socketPath: string | null;
}
