/**
 * What was lent to one client: how often each address was handed out to it, and since when.
 *
 * @module
 */
import { DipcError } from "../errors.ts";

/** Memory that can be lent: as long as it has a holder, it is not used for anything else. */
export interface Leasable {
  /** Its size in bytes. */
  readonly byteLength: number;
  /** Adds a holder. */
  hold(): void;
  /** Takes a holder away. */
  drop(): void;
}

/** One piece of memory that the client has, and how many of its addresses it has yet to give back. */
interface Lease {
  readonly memory: Leasable;
  /** When it was lent, of `performance.now()`. */
  readonly sinceMs: number;
  left: number;
}

/** The leases of one client. */
export class Leases {
  /** The lease of each address that is out, and how often the address is. */
  readonly #addresses = new Map<bigint, { count: number; readonly lease: Lease }>();
  /** The leases, the oldest first. */
  readonly #leases = new Map<Leasable, Lease>();
  #bytes = 0;

  /** Bytes of the memory that is lent. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Addresses that are out, each counted once. */
  get count(): number {
    return this.#addresses.size;
  }

  /** When the oldest lease began, of `performance.now()`; `Infinity` if there is none. */
  get oldestMs(): number {
    for (const { sinceMs } of this.#leases.values()) return sinceMs;
    return Infinity;
  }

  /**
   * Lends memory, under one or more addresses in it.
   *
   * @param memory The memory; this holds it until every address is back
   * @param addresses The addresses as they are sent; one may be there twice
   */
  lend(memory: Leasable, addresses: readonly bigint[]): void {
    let lease = this.#leases.get(memory);
    if (lease === undefined) {
      lease = { memory, sinceMs: performance.now(), left: 0 };
      this.#leases.set(memory, lease);
      memory.hold();
      this.#bytes += memory.byteLength;
    }
    lease.left += addresses.length;
    for (const address of addresses) {
      const known = this.#addresses.get(address);
      if (known === undefined) this.#addresses.set(address, { count: 1, lease });
      else known.count++;
    }
    if (lease.left === 0) this.#end(lease);
  }

  /**
   * Takes addresses back.
   *
   * @throws {DipcError} `protocol` for one that is not out: never handed out to this client, or back already; those before it are back
   */
  free(addresses: Iterable<bigint>): void {
    for (const address of addresses) {
      const known = this.#addresses.get(address);
      if (known === undefined) {
        throw new DipcError(
          "protocol",
          `cannot take back the address ${address}: the client does not have it; it was never handed out to it, or was ` +
            "freed more often than that",
        );
      }
      if (--known.count === 0) this.#addresses.delete(address);
      if (--known.lease.left === 0) this.#end(known.lease);
    }
  }

  /** Takes everything back: the client is known to have no access to it any more. */
  freeAll(): void {
    this.#addresses.clear();
    for (const lease of this.#leases.values()) this.#end(lease);
  }

  #end(lease: Lease): void {
    this.#leases.delete(lease.memory);
    this.#bytes -= lease.memory.byteLength;
    lease.memory.drop();
  }
}
