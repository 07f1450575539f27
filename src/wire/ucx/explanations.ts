/**
 * What may explain a failure of UCX beyond its status: the user's settings, and what UCX has logged.
 *
 * @module
 */
import { recentUcxMessages } from "../../../ffi/ucx_log.ts";
import { userSetting } from "../../../ffi/ucx_settings.ts";

/** Variables that decide which connections UCX can make. */
const DECISIVE = [
  "UCX_TLS",
  "UCX_NET_DEVICES",
  "UCX_SHM_DEVICES",
  "UCX_SOCKADDR_TLS_PRIORITY",
  "UCX_TCP_AF_PRIO",
  "UCX_TCP_PORT_RANGE",
  "UCX_CM_USE_ALL_DEVICES",
  "UCX_POSIX_ERROR_HANDLING",
  "UCX_SYSV_ERROR_HANDLING",
  "UCX_POSIX_SEG_SIZE",
  "UCX_RNDV_SCHEME",
  "UCX_RNDV_THRESH",
  "UCX_PROTO_ENABLE",
];

/** Parts of an error message: the variables that are set and matter, and the last words of UCX. May be empty. */
export function explanations(): string[] {
  const set = DECISIVE.flatMap((name) => {
    const value = userSetting(name);
    return value === null ? [] : [`${name}=${value}`];
  });
  const messages = recentUcxMessages();
  return [
    ...(set.length === 0 ? [] : [`${set.join(" and ")} in the environment limits what UCX may use`]),
    ...(messages.length === 0 ? [] : [`UCX says: ${messages.join("; ")}`]),
  ];
}
