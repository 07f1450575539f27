/**
 * An ADBC driver in C that watches its user: see `native/adbc/driver.c`.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { type AdbcDatabase, openDatabase } from "../../adbc.ts";
import { collect } from "../../src/memory/collector.ts";
import type { Peers } from "../../tools/peers.ts";
import { buildNative } from "../../tools/build_native.ts";
import { ROOT } from "./paths.ts";

const SYMBOLS = {
  fake_live: { parameters: [], result: "i64" },
  fake_faults: { parameters: [], result: "i64" },
  fake_driver_releases: { parameters: [], result: "i64" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The driver. */
export class FakeDriver {
  /** Path of its shared object. */
  readonly path: string;
  readonly #symbols: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

  /** Compiles it, unless that was done before. */
  constructor({ compiler, adbc }: Pick<Peers, "compiler" | "adbc">) {
    const source = `${ROOT}/native/adbc/driver.c`;
    this.path = buildNative("fake_adbc.so", compiler!, [source], [`-I${adbc!.include}`, "-fvisibility=hidden"]);
    this.#symbols = Deno.dlopen(this.path, SYMBOLS).symbols;
  }

  /** Opens a database. @param entrypoint One of its entry points */
  open(entrypoint?: string): Promise<AdbcDatabase> {
    return openDatabase(this.path, {}, { entrypoint });
  }

  /** How many drivers were released. */
  get driverReleases(): number {
    return Number(this.#symbols.fake_driver_releases());
  }

  /** Fails if the driver was misused, or if something of it was not released. */
  assertUnharmed(): void {
    const { fake_faults, fake_live } = this.#symbols;
    assertEquals({ faults: fake_faults(), live: fake_live() }, { faults: 0n, live: 0n });
  }

  /** The same, once what was dropped has been collected. */
  async assertUnharmedAfterCollection(): Promise<void> {
    const { fake_live } = this.#symbols;
    for (let i = 0; i < 200 && fake_live() > 0n; i++) {
      collect("all");
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    this.assertUnharmed();
  }
}
