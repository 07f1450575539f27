/**
 * Whether a libcuda is the one that other libraries of the process use.
 *
 * @module
 */

const SYMBOL = { cuInit: { type: "pointer" } } as const;

/**
 * Compares the address of a function: the loader identifies a library by its file, whatever its name.
 *
 * @param path The libcuda that dipc has opened
 * @returns false if the system's loader finds another `libcuda.so.1`, or none
 */
export function isSystemDriver(path: string): boolean {
  const address = (name: string): bigint | null => {
    try {
      const library = Deno.dlopen(name, SYMBOL);
      const found = Deno.UnsafePointer.value(library.symbols.cuInit);
      library.close();
      return BigInt(found);
    } catch {
      return null;
    }
  };
  const ours = address(path);
  return ours !== null && ours === address("libcuda.so.1");
}
