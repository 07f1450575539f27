/**
 * A fuzzing worker whose third run never comes back.
 *
 * @module
 */
const scope = globalThis as unknown as { onmessage: (event: MessageEvent<{ shared: SharedArrayBuffer }>) => void };
scope.onmessage = ({ data: { shared } }) => {
  const counters = new Uint32Array(shared, 0, 2);
  counters[1] = 2;
  new Uint8Array(shared, 8).set([0xAB, 0xCD]);
  Atomics.store(counters, 0, 3);
  for (;;);
};
