/** What V8 throws at its limits is an error with a code, for callers, clients and on the command line; never a defect. */
import { assertEquals } from "@std/assert";
import { asFailure } from "../src/cli/failure.ts";
import { asDipcError, DipcError, engineLimitError, withBatches } from "../src/errors.ts";
import { GrpcStatus, grpcStatusOf } from "../src/grpc/status.ts";
import { tellPeer } from "../src/tell_peer.ts";

function thrownBy(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error("it did not throw");
}

Deno.test("the engine's own limits are out_of_memory and limit_exceeded, wherever they are met", () => {
  const cases: [string, () => unknown][] = [
    ["out_of_memory", () => new Uint8Array(2 ** 52)],
    ["limit_exceeded", () => "x".repeat(2 ** 29)],
    ["limit_exceeded", () => new TextDecoder().decode(new Uint8Array(2 ** 29))],
    ["limit_exceeded", () => new Uint8Array(2 ** 60)],
    ["limit_exceeded", () => new ArrayBuffer(2 ** 60)],
  ];
  for (const [code, work] of cases) {
    const error = thrownBy(work);
    assertEquals(engineLimitError(error)?.code, code, `${error}`);
    assertEquals(asDipcError(error).code, code);
    assertEquals(asFailure(error).code, code);
    assertEquals(tellPeer(error).code, code);
    assertEquals((withBatches(error, 3) as DipcError).batches, 3);
    assertEquals(grpcStatusOf(error), GrpcStatus.resourceExhausted);
  }
  for (
    const other of [new RangeError("out of bounds"), new DipcError("io", "cannot x: Invalid string length"), "x", null]
  ) {
    assertEquals(engineLimitError(other), null);
  }
  assertEquals(asFailure(new TypeError("x is not a function")).code, "internal");
});
