/**
 * The error for an address that cannot be listened on.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { textOf } from "../text.ts";

/** What helps, by the system's code. */
const ADVICE: Readonly<Record<string, string>> = {
  EADDRINUSE: "choose another port, or 0 for a free one",
  EADDRNOTAVAIL: "check that it is an address of this machine",
  EACCES: "choose a port from 1024 up, which needs no rights",
};

/** The error, with what to do if that is known. */
export function listenError(address: string, port: number, cause: unknown): DipcError {
  const { code } = cause as { code?: unknown };
  const advice = typeof code === "string" && Object.hasOwn(ADVICE, code) ? `; ${ADVICE[code]}` : "";
  return new DipcError("unreachable", `cannot listen on ${address}, port ${port}: ${textOf(cause)}${advice}`, {
    cause,
  });
}
