/**
 * Ends HTTP/2 sessions without harm to the process.
 *
 * Deno 2.9.6 frees a session at once when it is destroyed, also while the HTTP/2 library is still in the middle of a frame of
 * it, and `node:http2` itself destroys a session when the peer's GOAWAY arrives. The library then goes on with freed memory, and
 * the process aborts: a peer could end it at will. See denoland/deno, issue 36788.
 *
 * @module
 */
import type { Http2Session } from "node:http2";

/**
 * Lets every end of a session wait until the bytes that have just arrived are dealt with.
 *
 * @param session A session that has just been made
 */
export function endLater(session: Http2Session): void {
  const close = session.close.bind(session);
  const destroy = session.destroy.bind(session);
  session.close = (callback) => {
    setImmediate(() => close(callback));
  };
  session.destroy = (error, code) => {
    setImmediate(() => destroy(error, code));
  };
}
