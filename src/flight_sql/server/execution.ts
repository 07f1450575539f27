/**
 * Several calls of an engine as one: rows of several executions, changes all or none, rows of a client that takes its time.
 *
 * @module
 */
import type { IpcMessage } from "../../ipc/message.ts";
import type {
  EngineConnection,
  EngineExecuteOptions,
  EngineParameters,
  EngineRows,
  EngineRowSource,
  EngineStatement,
} from "../engine.ts";
import type { Budget } from "./run.ts";

/** Runs calls in a transaction of their own. */
export async function atomically<T>(connection: EngineConnection, call: () => Promise<T>): Promise<T> {
  await connection.begin();
  try {
    const result = await call();
    await connection.commit();
    return result;
  } catch (error) {
    await connection.rollback().catch(() => {});
    throw error;
  }
}

/** The rows for one row of parameters, or for several, one execution after another. */
export async function rowsFor(
  statement: EngineStatement,
  parameters: readonly EngineParameters[],
  options: EngineExecuteOptions,
): Promise<EngineRows> {
  let current = await statement.query(parameters[0] ?? null, options);
  if (parameters.length <= 1) return current;
  let at = 1;
  return {
    schema: current.schema,
    async next(): Promise<IpcMessage | null> {
      for (;;) {
        const message = await current.next();
        if (message !== null || at === parameters.length) return message;
        await current.close();
        current = await statement.query(parameters[at++], options);
      }
    },
    close: () => current.close(),
  };
}

/** Uploaded rows, for which the engine waits without spending its time. */
export function unhurried({ schemaHeader, messages }: EngineRowSource, budget: Budget): EngineRowSource {
  return {
    schemaHeader,
    async *messages(): AsyncGenerator<IpcMessage, undefined> {
      const source = messages();
      try {
        for (let next; !(next = await budget.save(() => source.next())).done;) yield next.value;
      } finally {
        await source.return(undefined);
      }
    },
  };
}
