/** A port that a Flight server cannot have. */
import { assertEquals, assertMatch } from "@std/assert";
import { type DipcError, serveFlight } from "../../flight.ts";
import { Authority } from "../support/certificates.ts";

Deno.test("a port that is taken is refused with what helps, with and without TLS", async () => {
  const authority = await Authority.create();
  for (const tls of [undefined, await authority.issue("localhost")]) {
    await using first = await serveFlight({ tls });
    const port = Number(new URL(first.location).port);
    const error = await serveFlight({ tls, port }).catch((error: DipcError) => error) as DipcError;
    assertEquals(error.code, "unreachable");
    assertMatch(
      error.message,
      /^cannot listen on 127\.0\.0\.1, port \d+: .*; choose another port, or 0 for a free one$/,
    );
  }
});

Deno.test("an address of another machine is refused with what helps", async () => {
  const error = await serveFlight({ address: "192.0.2.1" }).catch((error: DipcError) => error) as DipcError;
  assertEquals(error.code, "unreachable");
  assertMatch(error.message, /^cannot listen on 192\.0\.2\.1, .*; check that it is an address of this machine$/);
});
