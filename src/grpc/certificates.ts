/**
 * The certificates of a server, checked before it listens: Deno's `node:tls` takes any text, and then lets nobody in.
 *
 * @module
 */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { LocalError } from "../errors.ts";
import { textOf } from "../text.ts";
import type { FlightServerTls } from "./tls.ts";

/**
 * Checks that the texts hold what they should, and that the key is that of the certificate.
 *
 * @throws {DipcError} `invalid_argument`
 */
export function checkCertificates({ cert, key, clientCa }: FlightServerTls): void {
  const certificate = read("tls.cert holds no certificate", () => new X509Certificate(cert));
  const privateKey: KeyObject = read("tls.key holds no private key", () => createPrivateKey(key));
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new LocalError("invalid_argument", "tls.key is not the key of the certificate in tls.cert");
  }
  if (clientCa !== undefined) read("tls.clientCa holds no certificate", () => new X509Certificate(clientCa));
}

function read<T>(otherwise: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw new LocalError("invalid_argument", `${otherwise} in PEM: ${textOf(cause)}`, { cause });
  }
}
