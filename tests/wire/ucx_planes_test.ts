/** Choices of transports that can make no connection are rejected before UCX is given them. */
import { requireNetwork } from "../../src/wire/ucx/planes.ts";
import { assertDipcError } from "../support/assert.ts";

Deno.test("a choice of transports without a network is rejected by name", async () => {
  for (const choice of ["sm", "self", "sysv,posix", "sm, self", "cuda_ipc,sm"]) {
    await assertDipcError("unsupported", `UCX_TLS=${choice} in the environment`, () => requireNetwork(choice));
  }
  for (const choice of [null, "tcp", "tcp,sm", "rc", "^sysv", "all", "rc_x,sm", "^tcp"]) requireNetwork(choice);
});
