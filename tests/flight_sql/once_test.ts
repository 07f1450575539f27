/**
 * Statements at a server with an engine of one's own: each is executed once, whatever fails, and the engine's answer is the client's.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import { FlightSqlClient, type SqlEngine } from "../../flight_sql.ts";
import { serveGateway } from "../../flight.ts";
import { DipcError, fromBatches, serve } from "../../mod.ts";
import type { IpcMessage } from "../../src/ipc/message.ts";
import { LoopbackTransport } from "../support/loopback.ts";

const BATCHES = 5;
const ROWS = await fromBatches(
  Array.from({ length: BATCHES }, (_, n) => tableFromArrays({ n: Int32Array.of(n) }).batches[0]),
);
const TEXT = "division by zero in row 3";

/** An engine that counts executions, whose rows end with an error after so many batches. */
function failingAfter(batches: number): SqlEngine & { executions: number } {
  const none = () => Promise.resolve([]);
  const nothing = () => Promise.resolve();
  const engine = {
    executions: 0,
    facts: { name: "", version: "", isReadOnly: true, transactions: "none", canIngest: false } as const,
    catalog: {
      ...{ catalogs: none, schemas: none, tables: none, tableTypes: none, primaryKeys: none, foreignKeys: none },
      schemaOf: () => Promise.resolve(ROWS.schema),
    },
    connect: () =>
      Promise.resolve({
        ...{ begin: nothing, commit: nothing, rollback: nothing, close: nothing, ingest: () => Promise.resolve(0) },
        prepare: () =>
          Promise.resolve({
            ...{ schema: ROWS.schema, parameterSchema: ROWS.schema, isOrdered: true, close: nothing },
            update: () => Promise.resolve(0),
            async query() {
              engine.executions++;
              const run = await ROWS.open();
              let left = batches;
              const next = async (): Promise<IpcMessage | null> => {
                if (left-- > 0) return await run.next();
                throw new DipcError("invalid_data", TEXT);
              };
              return { schema: ROWS.schema, next, close: () => run.close() };
            },
          }),
      }),
  };
  return engine;
}

Deno.test("a statement that fails is executed once, and the error is the engine's", async () => {
  for (const batches of [0, 1, 3]) {
    for (const way of ["the server", "a gateway"]) {
      for (const route of ["auto", "ucx", "flight"] as const) {
        const engine = failingAfter(batches);
        const transport = new LoopbackTransport({ seed: 1 });
        await using server = await serve({
          ...{ datasets: {}, transport },
          flight: { sql: engine, sqlLimits: { smallResultBytes: 1 } },
        });
        const between = new LoopbackTransport({ seed: 1 });
        await using gateway = await serveGateway({ engines: server.flight!.location, transport: between });
        const [location, network] = way === "a gateway"
          ? [gateway.location, between]
          : [server.flight!.location, transport];
        await using client = await FlightSqlClient.connect(location, {
          ...route === "flight" ? { route } : { route, transport: network },
        });
        let rows = 0, error: unknown = null;
        try {
          for await (using batch of await client.query("insert into t select … returning n")) rows += batch.numRows;
        } catch (thrown) {
          error = thrown;
        }
        const name = `${batches} batches, ${way}, ${route}: ${error}`;
        assertEquals(engine.executions, 1, name);
        assertEquals(error instanceof DipcError && error.code, "invalid_data", name);
        // INVALID_ARGUMENT is the status of that code.
        assertEquals((error as DipcError).foreign, { system: "grpc", status: 3, text: TEXT }, name);
        assertEquals(rows <= batches, true, name);
      }
    }
  }
});
