/**
 * Reads the names of the parts of a result.
 *
 * @module
 */
import { ADBC_LAYOUT } from "../../ffi/adbc.ts";
import { callPointer } from "../../ffi/raw_memory.ts";
import { readAddress } from "../c_data/raw.ts";
import { copyOf } from "../c_data/arena.ts";

const AT = ADBC_LAYOUT.AdbcPartitions;

/**
 * Copies the names, and releases the structure.
 *
 * @param address Address of an `AdbcPartitions` that a driver has filled
 */
export function takePartitions(address: bigint): Uint8Array<ArrayBuffer>[] {
  const field = (offset: number): bigint => readAddress(address + BigInt(offset));
  const release = field(AT.release);
  try {
    const count = Number(field(AT.num_partitions));
    const names = field(AT.partitions), lengths = field(AT.partition_lengths);
    return Array.from({ length: count }, (_, i) => {
      const at = BigInt(8 * i);
      return copyOf(readAddress(names + at), Number(readAddress(lengths + at)));
    });
  } finally {
    if (release !== 0n) callPointer(release, address, address);
  }
}
