/**
 * Certificates of both ends of a connection, in PEM.
 *
 * @module
 */

/** Certificates of a client, in PEM. */
export interface FlightTlsOptions {
  /** Certificates of the authorities that the server's certificate is checked against. Default: those of Deno. */
  ca?: string | readonly string[];
  /** This client's own certificate, for servers that require one. */
  cert?: string;
  /** The key of `cert`. */
  key?: string;
  /** Name that the server's certificate must have. Default: the host of the location. */
  serverName?: string;
  /** Accepts any certificate, and therefore any server. Default false. */
  insecureSkipVerify?: boolean;
}

/** Certificates of a server, in PEM. */
export interface FlightServerTls {
  /** The server's certificate, and the intermediate certificates up to its authority. */
  cert: string;
  /** The key of `cert`. */
  key: string;
  /** Certificates of the authorities whose clients are admitted; with it, a client without a certificate is refused. */
  clientCa?: string;
}
