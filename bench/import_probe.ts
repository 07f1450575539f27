/**
 * A program that imports the library and does nothing: what start-up costs.
 *
 * @module
 */
import "../mod.ts";
