/**
 * Names of columns as a table of DuckDB has them.
 *
 * @module
 */

/**
 * Names that DuckDB takes, each once, in the same order.
 *
 * @param names Names of any kind: empty, with zeros, many times the same
 */
export function uniqueNames(names: readonly string[]): string[] {
  const taken = new Set<string>();
  // The next number of each name: a peer may send a hundred thousand columns of one name.
  const numbers = new Map<string, number>();
  return names.map((name, i) => {
    const plain = name.replaceAll("\0", "") || `v${i}`;
    const key = plain.toLowerCase();
    let unique = plain, number = numbers.get(key) ?? 1;
    for (; taken.has(unique.toLowerCase()); number++) unique = `${plain}_${number}`;
    numbers.set(key, number);
    taken.add(unique.toLowerCase());
    return unique;
  });
}
