/**
 * A fuzzing worker whose third run never comes back.
 *
 * @module
 */
const scope = globalThis as unknown as { onmessage: (event: MessageEvent<{ shared: SharedArrayBuffer }>) => void };
scope.onmessage = ({ data: { shared } }) => {
  const state = new Uint32Array(shared, 0, 3);
  state[1] = 2;
  new Uint8Array(shared, 16).set([0xAB, 0xCD]);
  Atomics.store(state, 0, 3);
  for (;;);
};
