/**
 * The certificates of a server, checked before it listens: Deno's `node:tls` accepts any text, and then every handshake fails.
 *
 * @module
 */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { LocalError } from "../errors.ts";
import { textOf } from "../text.ts";
import type { FlightServerTls } from "./tls.ts";

/**
 * Checks that the texts are certificates and a key in PEM, and that the key belongs to the certificate.
 *
 * @throws {DipcError} `invalid_argument`
 */
export function checkCertificates({ cert, key, clientCa }: FlightServerTls): void {
  const certificate = read("tls.cert", "certificate", () => new X509Certificate(cert));
  const privateKey: KeyObject = read("tls.key", "private key", () => createPrivateKey(key));
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new LocalError("invalid_argument", "cannot use tls.key: it is not the key of the certificate in tls.cert");
  }
  if (clientCa !== undefined) read("tls.clientCa", "certificate", () => new X509Certificate(clientCa));
}

function read<T>(option: string, kind: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw new LocalError("invalid_argument", `cannot use ${option}: it holds no ${kind} in PEM: ${textOf(cause)}`, {
      cause,
    });
  }
}
