/**
 * What a driver says of itself and of its database.
 *
 * @module
 */
import type { ForeignStream } from "../c_data/foreign_stream.ts";

/** Names of the codes that ADBC defines. */
const NAMES: ReadonlyMap<number, string> = new Map([
  [0, "vendorName"],
  [1, "vendorVersion"],
  [2, "vendorArrowVersion"],
  [3, "vendorSql"],
  [4, "vendorSubstrait"],
  [5, "vendorSubstraitMinVersion"],
  [6, "vendorSubstraitMaxVersion"],
  [100, "driverName"],
  [101, "driverVersion"],
  [102, "driverArrowVersion"],
  [103, "driverAdbcVersion"],
]);

/** A value of {@linkcode AdbcInfo}: texts, integers, flags, or those of the driver's own. */
export type AdbcInfoValue = string | bigint | number | boolean | null | readonly AdbcInfoValue[] | {
  readonly [key: string]: AdbcInfoValue;
};

/** What a driver says, by name (`"vendorName"`, `"driverVersion"` and others) or, for codes of its own, by number. */
export type AdbcInfo = ReadonlyMap<string | number, AdbcInfoValue>;

/** The code of a name. */
export function infoCode(name: string | number): number | undefined {
  return typeof name === "number" ? name : [...NAMES].find(([, known]) => known === name)?.[0];
}

/** Reads the stream of `ConnectionGetInfo`. */
export async function readInfo(stream: ForeignStream): Promise<AdbcInfo> {
  const info = new Map<string | number, AdbcInfoValue>();
  for await (using batch of stream) {
    const [codes, values] = [batch.getChildAt(0)!, batch.getChildAt(1)!];
    for (let i = 0; i < batch.numRows; i++) {
      const code = Number(codes.get(i));
      info.set(NAMES.get(code) ?? code, plain(values.get(i)));
    }
  }
  return info;
}

/** Values that do not depend on the memory of the batch. */
function plain(value: unknown): AdbcInfoValue {
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
        return Array.from(value as Iterable<unknown>, plain);
      }
      return Object.fromEntries(
        Object.entries((value as { toJSON(): object }).toJSON()).map(([k, v]) => [k, plain(v)]),
      );
    default:
      return null;
  }
}
