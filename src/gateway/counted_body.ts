/**
 * A body that several readers have: released after the last of them.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import type { Body } from "../memory/block.ts";
import type { Leasable } from "../memory/leases.ts";

/** A body in memory that can be lent. */
export interface LendableBody extends Body {
  /** The memory, with one holder more; `null` if it cannot be lent. */
  held(): Leasable | null;
}

/** One share of a body. */
export class CountedBody implements LendableBody {
  readonly space: string;
  readonly byteLength: number;
  readonly address: bigint;
  /** `null` once released. */
  #of: { readonly body: Body; users: number } | null;

  /** @param body The body; owned by all shares together */
  constructor(body: Body, of: { readonly body: Body; users: number } = { body, users: 1 }) {
    this.#of = of;
    this.space = body.space;
    this.byteLength = body.byteLength;
    this.address = body.address;
  }

  /** Another share. */
  share(): CountedBody {
    const of = this.#check();
    of.users++;
    return new CountedBody(of.body, of);
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return this.#check().body.bytes();
  }

  held(): Leasable | null {
    return (this.#check().body as Partial<LendableBody>).held?.() ?? null;
  }

  release(): void {
    const of = this.#of;
    this.#of = null;
    if (of !== null && --of.users === 0) of.body.release();
  }

  #check(): { readonly body: Body; users: number } {
    if (this.#of === null) throw new LocalError("closed", "cannot read this body: it was released");
    return this.#of;
  }
}
