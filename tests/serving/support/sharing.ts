/**
 * What is left of shared memory, in this process and in a server.
 *
 * @module
 */
import type { Server } from "../../../mod.ts";
import { until } from "../../support/time.ts";

/** Descriptors of shared memory, and of the sockets that hand it out. */
export function sharedDescriptors(): string[] {
  // UCX opens and closes sockets of its own when it likes, but of other types.
  const sockets = Deno.readTextFileSync("/proc/net/unix").split("\n").map((line) => line.trim().split(/\s+/))
    .filter(([, , , , type]) => type === "0005").map((fields) => `socket:[${fields[6]}]`);
  return [...Deno.readDirSync("/proc/self/fd")].flatMap(({ name }) => {
    try {
      const target = Deno.readLinkSync(`/proc/self/fd/${name}`);
      return /dipc-shared|pagemap/.test(target) || sockets.includes(target) ? [target] : [];
    } catch {
      return [];
    }
  });
}

/** Waits until no client has anything of the server's memory. */
export async function allBack(server: Server): Promise<void> {
  await until(
    () => server.sharing!,
    ({ clients, leasedBytes, arenaBytes }) => clients + leasedBytes + arenaBytes === 0,
  );
}
