/**
 * What is wrong with the footer of a Parquet file, before the file has a name.
 *
 * @module
 */

/** What is wrong with a footer, as it follows the name of the file. */
export class FooterFault extends Error {
  /** Code of the error that it becomes. */
  readonly code: "invalid_data" | "unsupported";

  /** @param message What is wrong */
  constructor(code: "invalid_data" | "unsupported", message: string) {
    super(message);
    this.code = code;
  }
}

/** The fault of a footer that contradicts itself. */
export function damagedFooter(what: string): FooterFault {
  return new FooterFault("invalid_data", `its footer is damaged: ${what}`);
}
