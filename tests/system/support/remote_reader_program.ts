/**
 * Reads a stream by a remote key, and compares it with the file that is served.
 *
 *     remote_reader_program.ts URI FILE
 *
 * Prints one line with the counters, and whether both are equal.
 *
 * @module
 */
import { tableFromIPC } from "apache-arrow";
import { connect } from "../../../mod.ts";

const [uri, file] = Deno.args;
const expected = tableFromIPC(await Deno.readFile(file));
await using reader = await connect(uri, { ticket: "t", remoteKeys: true });
const { sharingReason } = reader.stats;
const table = await reader.toTable();
const text = (row: unknown): string => String(row);
let equal = table.numRows === expected.numRows;
for (let i = 0; equal && i < table.numRows; i += 7) equal = text(table.get(i)) === text(expected.get(i));
const { sharedBytes, bodyBytes } = reader.stats;
console.log(JSON.stringify({ equal, sharedBytes, bodyBytes, sharingReason }));
