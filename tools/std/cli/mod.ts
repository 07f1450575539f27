/**
 * Local stand-in for the part of `jsr:@std/cli` that dipc uses. See {@link ./parse_args.ts}.
 *
 * @module
 */
export * from "./parse_args.ts";
