/**
 * Calls of the callbacks of a handler that another library has made, each on a thread of Deno's, because a consumer may wait in them.
 *
 * @module
 */
import { cString, libc } from "../../ffi/libc.ts";
import type { SchemaLayout } from "../ipc/layout.ts";
import { DipcError } from "../errors.ts";
import { nativeCopy } from "./async_producer.ts";
import { encodeMetadata } from "./metadata.ts";
import { readAddress } from "./raw.ts";
import { exportLayout } from "./schema_out.ts";
import { C_LAYOUT, CStruct } from "./structs.ts";

const AT = C_LAYOUT.ArrowAsyncDeviceStreamHandler;
const ON_SCHEMA = { parameters: ["usize", "usize"], result: "i32", nonblocking: true } as const;
const ON_NEXT_TASK = { parameters: ["usize", "usize", "usize"], result: "i32", nonblocking: true } as const;
const ON_ERROR = { parameters: ["usize", "i32", "usize", "usize"], result: "void", nonblocking: true } as const;
const RELEASE = { parameters: ["usize"], result: "void", nonblocking: true } as const;

/** A handler. Its callbacks are called one after the other. */
export class AsyncHandler {
  readonly #address: bigint;

  /**
   * Takes a handler over.
   *
   * @param address Its address
   * @throws {DipcError} `invalid_argument` if there is none, it was released, or one of its callbacks is missing
   */
  constructor(address: bigint) {
    this.#address = address;
    const name = "an ArrowAsyncDeviceStreamHandler";
    if (address === 0n) {
      throw new DipcError("invalid_argument", `cannot export a stream: the address is 0; give that of ${name}`);
    }
    for (const callback of ["release", "on_schema", "on_next_task", "on_error"] as const) {
      if (readAddress(address + BigInt(AT[callback])) !== 0n) continue;
      const cause = callback === "release" ? "it was released" : `${callback} is missing`;
      throw new DipcError(
        "invalid_argument",
        `cannot export a stream to ${name}: ${cause}; give one that was not used`,
      );
    }
  }

  /** Hands the schema over. @returns what the consumer returns */
  async onSchema(layout: SchemaLayout): Promise<number> {
    // What the consumer has not taken is released here.
    using schema = new CStruct("ArrowSchema");
    exportLayout(layout, schema.address);
    return await this.#callback("on_schema", ON_SCHEMA).call(this.#address, schema.address);
  }

  /** Ends the stream. */
  async onEnd(): Promise<void> {
    await this.#callback("on_next_task", ON_NEXT_TASK).call(this.#address, 0n, 0n);
  }

  /**
   * Ends the stream with an error.
   *
   * @param code errno
   * @param message Its text
   * @param metadata Keys and values
   */
  async onError(code: number, message: string, metadata: ReadonlyMap<string, string>): Promise<void> {
    const text = nativeCopy(cString(message.replaceAll("\0", "")));
    const encoded = nativeCopy(encodeMetadata(metadata));
    try {
      await this.#callback("on_error", ON_ERROR).call(this.#address, code, text, encoded);
    } finally {
      libc().free(text);
      libc().free(encoded);
    }
  }

  /** Releases it; to be called once, and nothing else afterwards. */
  async release(): Promise<void> {
    await this.#callback("release", RELEASE).call(this.#address);
  }

  #callback<const F extends Deno.ForeignFunction>(
    name: "on_schema" | "on_next_task" | "on_error" | "release",
    definition: F,
  ): Deno.UnsafeFnPointer<F> {
    const address = readAddress(this.#address + BigInt(AT[name]));
    return new Deno.UnsafeFnPointer(Deno.UnsafePointer.create<F>(address)!, definition);
  }
}
