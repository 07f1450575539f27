/** Choices of transports that can make no connection are rejected before UCX is given them. */
import { requireCheckedKeys, requireNetwork } from "../../src/wire/ucx/planes.ts";
import { assertDipcError } from "../support/assert.ts";

Deno.test("a choice of transports without a network is rejected by name", async () => {
  for (const choice of ["sm", "self", "sysv,posix", "sm, self", "cuda_ipc,sm"]) {
    await assertDipcError("unsupported", `UCX_TLS=${choice} in the environment`, () => requireNetwork(choice));
  }
  for (const choice of [null, "tcp", "tcp,sm", "rc", "^sysv", "all", "rc_x,sm", "^tcp"]) requireNetwork(choice);
});

Deno.test("remote keys are read only over transports on which a wrong one is an error", async () => {
  for (const choice of ["all", "^posix", "tcp,sm", "rc_x,sm", "tcp,posix", "ib,tcp", "cma,tcp", "sysv,tcp,cuda_ipc"]) {
    await assertDipcError("unsupported", `UCX_TLS=${choice} in the environment`, () => requireCheckedKeys(choice));
  }
  for (const choice of [null, "tcp", "tcp,sysv", "self, tcp", "sysv,tcp,self"]) requireCheckedKeys(choice);
});
