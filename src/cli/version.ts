/**
 * The version of this package.
 *
 * @module
 */
import config from "../../deno.json" with { type: "json" };

/** Version of dipc, such as `"0.1.0"`. */
export const version: string = config.version;
