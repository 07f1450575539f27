/**
 * Batches and streams of a library in C for random sequences, in the layouts that other exporters give.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { CStruct, exportRecordBatch } from "../../../c_data.ts";
import type { Guard } from "../../support/c_peers.ts";
import type { Random } from "../../support/random.ts";
import type { OfferedBatch, OfferedStream, Offers } from "./reader_program.ts";
import { makeBatch } from "./sequence_batches.ts";

/** Has a library in C make batches. Disposing it releases what nobody has imported. */
export class GuardOffers implements Offers, Disposable {
  readonly #guard: Guard;
  readonly #random: Random;
  readonly #structs: CStruct[] = [];

  constructor(guard: Guard, random: Random) {
    this.#guard = guard;
    this.#random = random;
  }

  batch(): OfferedBatch {
    const base = this.#random.below(1000);
    const rows = 16 + this.#random.below(200);
    const [outer, inner] = [this.#random.below(8), this.#random.below(8)];
    const array = this.#struct("ArrowArray"), schema = this.#struct("ArrowSchema");
    using exported = new CStruct("ArrowArray");
    exportRecordBatch(makeBatch(base, rows), exported.address, schema.address);
    const flags = this.#random.below(4);
    const { guard_copy } = this.#guard;
    const code = guard_copy(exported.address, schema.address, array.address, flags, BigInt(outer), BigInt(inner));
    assertEquals(code, 0);
    const cut = outer + inner;
    return { array: array.address, schema: schema.address, base: base + cut, rows: rows - cut };
  }

  stream(): OfferedStream {
    const batches = Array.from({ length: this.#random.below(5) }, () => this.batch());
    const schema = this.#struct("ArrowSchema"), stream = this.#struct("ArrowArrayStream");
    {
      using exported = new CStruct("ArrowArray");
      exportRecordBatch(makeBatch(0, 16), exported.address, schema.address);
    }
    const arrays = BigUint64Array.from(batches, ({ array }) => array);
    const code = this.#guard.guard_stream(
      schema.address,
      new Uint8Array(arrays.buffer),
      BigInt(arrays.length),
      stream.address,
    );
    assertEquals(code, 0);
    return { stream: stream.address, bases: batches.map(({ base }) => base) };
  }

  [Symbol.dispose](): void {
    for (const struct of this.#structs.splice(0)) struct[Symbol.dispose]();
  }

  #struct(name: "ArrowArray" | "ArrowSchema" | "ArrowArrayStream"): CStruct {
    const struct = new CStruct(name);
    this.#structs.push(struct);
    return struct;
  }
}
