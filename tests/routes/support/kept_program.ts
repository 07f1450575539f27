/**
 * A client for tests that reads one stream after another, says what it got, and ends without closing its connection.
 *
 *     kept_program.ts '{"uris": ["ucx:…"], "requests": 10, "options": {…}}'
 *
 * @module
 */
import { connect, type ConnectOptions } from "../../../mod.ts";

interface Settings {
  uris: string[];
  requests: number;
  options?: ConnectOptions;
}

const { uris, requests, options } = JSON.parse(Deno.args[0]) as Settings;
let rows = 0;
let transports: readonly string[] = [];
for (let i = 0; i < requests; i++) {
  const reader = await connect(uris, options);
  for await (using batch of reader) rows += batch.numRows;
  transports = reader.stats.transports;
}
console.log(
  JSON.stringify({ rows, transports, at: Date.now() }),
);
