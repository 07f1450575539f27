/** An error of a dataset keeps the status of another system for its code, and its text for the server alone. */
import { assertEquals } from "@std/assert";
import { DipcError } from "../../src/errors.ts";
import { GrpcStatus, grpcStatusOf } from "../../src/grpc/status.ts";
import { DatasetError, tellPeer } from "../../src/tell_peer.ts";

Deno.test("a dataset that fails with a status of another Flight server passes that status on, without its text", () => {
  for (const status of [GrpcStatus.unauthenticated, GrpcStatus.alreadyExists, GrpcStatus.dataLoss]) {
    const foreign = { system: "grpc", status, text: "secret of the other server" };
    const error = new DatasetError(new DipcError("flight", "cannot read: secret", { foreign, batches: 3 }));
    assertEquals([grpcStatusOf(error), error.batches, error.message], [status, 3, "cannot read: secret"]);
    assertEquals(tellPeer(error), {
      code: "flight",
      text: "reading the dataset failed on the server (flight); its own log says why",
    });
  }
});
