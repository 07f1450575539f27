/**
 * The place of this repository.
 *
 * @module
 */

/** Root of the repository, without a slash at its end. */
export const REPOSITORY: string = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
