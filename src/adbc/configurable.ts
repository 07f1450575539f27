/**
 * What databases, connections and statements have in common: options that can be read and set.
 *
 * @module
 */
import { type Handle, watch } from "./handle.ts";
import { type AdbcOptionType, type AdbcOptionTypes, type AdbcOptionValue, getOption, setOption } from "./options.ts";

/** Something of ADBC that has options: a database, a connection or a statement. */
export abstract class AdbcConfigurable {
  readonly #handle: Handle;

  /** @ignore */
  constructor(handle: Handle) {
    this.#handle = handle;
    watch(this, handle);
  }

  /**
   * Reads an option.
   *
   * @param name Its name
   * @param type Its type
   * @default type `"string"`
   * @throws {DipcError} `not_found` if the driver does not know it; `unsupported` with a driver of ADBC 1.0.0; `closed`
   */
  getOption<T extends AdbcOptionType = "string">(name: string, type?: T): Promise<AdbcOptionTypes[T]> {
    return getOption(this.#handle, name, type ?? "string" as T);
  }

  /**
   * Sets an option.
   *
   * @param name Its name
   * @param value Its value
   * @param type The type that it is sent as; by default text for texts and booleans, int for integers, double for other numbers
   * @throws {DipcError} What the driver reports; `closed`
   */
  setOption(name: string, value: AdbcOptionValue, type?: AdbcOptionType): Promise<void> {
    return setOption(this.#handle, name, value, type);
  }
}
