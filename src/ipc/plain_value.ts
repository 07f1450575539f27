/**
 * Values of nested columns as plain ones.
 *
 * @module
 */

/** A text, number, flag, null, or lists and objects of these. */
export type PlainValue = string | bigint | number | boolean | null | readonly PlainValue[] | {
  readonly [key: string]: PlainValue;
};

/**
 * A value of a column as one that does not depend on the memory of its batch. What is none of these kinds becomes `null`.
 *
 * @param value What `get` of a vector returned
 */
export function plainValue(value: unknown): PlainValue {
  switch (typeof value) {
    case "string":
    case "bigint":
    case "number":
    case "boolean":
      return value;
    case "object":
      if (value === null) return null;
      if (
        Symbol.iterator in value && !("toJSON" in value && !Array.isArray((value as { toJSON(): unknown }).toJSON()))
      ) {
        return Array.from(value as Iterable<unknown>, plainValue);
      }
      return Object.fromEntries(
        Object.entries((value as { toJSON(): object }).toJSON()).map(([k, v]) => [k, plainValue(v)]),
      );
    default:
      return null;
  }
}
