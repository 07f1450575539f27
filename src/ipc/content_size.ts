/**
 * The error of a codec for content of another size than was expected.
 *
 * @module
 */

/** Compressed content has another size than was expected. */
export class ContentSizeError extends RangeError {}
