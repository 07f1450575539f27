/**
 * A client that accepts nothing for `idleTimeoutMs` costs that time and no more (a timeout of 15 s took 28.7, because the server
 * waited for such a client to take the error and to close, too), and it hears why once it reads on.
 */
import { assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import { connect, serve } from "../../mod.ts";
import type { DipcError } from "../../src/errors.ts";
import { generated } from "../support/generated.ts";
import { testNeeding, ucxVersions } from "../support/needs.ts";
import { assertSoon } from "../support/time.ts";

const [main] = ucxVersions;
/** So long that a wait of twice as long differs from one on a busy machine. */
const IDLE_MS = 4000;

for (const route of ["ucx", "flight"] as const) {
  testNeeding(
    [main.need],
    `a client that accepts nothing costs its idle timeout, and hears of it: ${route}`,
    async () => {
      await using server = await serve({
        datasets: { x: generated(200, 100_000) },
        idleTimeoutMs: IDLE_MS,
        flight: { limits: { idleTimeoutMs: IDLE_MS } },
      });
      const ended = Promise.withResolvers<unknown>();
      const onError = ({ detail }: CustomEvent<{ error?: unknown }>): void => ended.resolve(detail.error);
      server.addEventListener("error", onError);
      server.flight!.addEventListener("error", onError);
      const uri = route === "ucx" ? server.datasets[0].uris[0] : `${server.flight!.location}/x`;
      await using reader = await connect(uri, route === "ucx" ? {} : { route });
      for (let i = 0; i < 20; i++) (await reader.next()).value?.[Symbol.dispose]();
      const start = performance.now();
      const error = await ended.promise as DipcError;
      assertEquals(error.code, "timeout");
      assertGreater(performance.now() - start, IDLE_MS / 2);
      assertSoon(`an idle timeout of ${IDLE_MS} ms`, start, IDLE_MS + 3500);
      try {
        for await (using _batch of reader);
        throw new Error("the stream arrived whole");
      } catch (failure) {
        assertEquals((failure as DipcError).code, "timeout");
        assertStringIncludes((failure as DipcError).message, `the client accepted nothing for ${IDLE_MS} ms`);
      }
    },
  );
}
