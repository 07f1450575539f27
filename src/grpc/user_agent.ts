/**
 * How the client calls itself.
 *
 * @module
 */
import config from "../../deno.json" with { type: "json" };

/** Value of the header `user-agent`, unless a program sends its own. */
export const USER_AGENT: string = `dipc/${config.version} deno/${Deno.version.deno}`;
