/**
 * What a driver says of itself and of its database.
 *
 * @module
 */
import type { ForeignStream } from "../c_data/foreign_stream.ts";
import { type PlainValue, plainValue } from "../ipc/plain_value.ts";

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
export type AdbcInfoValue = PlainValue;

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
      info.set(NAMES.get(code) ?? code, plainValue(values.get(i)));
    }
  }
  return info;
}
