/**
 * The functions of an isolate that UCX calls.
 *
 * @module
 */

const callbacks: Deno.UnsafeCallback[] = [];

/**
 * Makes a function that UCX may call for as long as the isolate lives: calling a closed one is a segmentation fault.
 *
 * @param definition Its parameters and result
 * @param call The function
 * @returns its address
 */
export function isolateCallback<const Definition extends Deno.UnsafeCallbackDefinition>(
  definition: Definition,
  call: Deno.UnsafeCallbackFunction<Definition["parameters"], Definition["result"]>,
): bigint {
  const callback = new Deno.UnsafeCallback(definition, call);
  callbacks.push(callback as unknown as Deno.UnsafeCallback);
  return BigInt(Deno.UnsafePointer.value(callback.pointer));
}

/**
 * Closes them, before a web worker ends: one that has any left leaves two file descriptors behind. Nothing of UCX may be left
 * in the isolate.
 */
export function closeCallbacks(): void {
  for (const callback of callbacks.splice(0)) callback.close();
}
