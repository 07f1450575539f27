/**
 * Counts the connections that this process makes.
 *
 * @module
 */

/** Counts connections from now until it is disposed. */
export function countConnections(): Disposable & { count: number } {
  const { connect } = Deno;
  const counter = {
    count: 0,
    [Symbol.dispose]: () => {
      Deno.connect = connect;
    },
  };
  Deno.connect = ((options: Deno.ConnectOptions) => (counter.count++, connect(options))) as typeof Deno.connect;
  return counter;
}
