/**
 * The error of a call that did nothing.
 *
 * @module
 */
import { LocalError } from "../errors.ts";

/** A call that the server has certainly not begun to process. */
export class UntakenError extends LocalError {}
