/**
 * Whether bodies can be read in a server's memory on this machine.
 *
 * @module
 */
import { tableFromArrays } from "apache-arrow";
import { asFailure } from "./failure.ts";

/** What a trial inside this process has shown. */
export interface SharingFacts {
  /** Whether a body was read in place. */
  readonly works: boolean;
  /** Why not; empty if it was. */
  readonly reason: string;
  /** How clients read that have a remote key: memory that they map, or that they fetch from; `null` if none can be lent. */
  readonly remoteKeys: "mapped" | "fetched" | null;
}

/** Rows of the column that is read. */
const ROWS = 10_000;
/** Bytes that are lent for a look. */
const LENT_BYTES = 1 << 20;

/** Shares a small table inside this process, and reads it; and looks at what could be lent by remote keys. */
export async function sharingFacts(): Promise<SharingFacts> {
  return { ...await trial(), remoteKeys: await remoteKeys() };
}

/** Lends memory to nobody: no connection can be made to it. */
async function remoteKeys(): Promise<SharingFacts["remoteKeys"]> {
  const [{ UcxContext, loadUcp }, { lendMemory }, { parseRemoteKey }, { findLibucp }] = await Promise.all([
    import("../wire/ucx/context.ts"),
    import("../wire/ucx/remote_memory.ts"),
    import("../wire/ucx/remote_key.ts"),
    import("../../ffi/find.ts"),
  ]);
  try {
    const options = { devices: ["lo"], ipv6: false, sharedMemory: true, remoteMemory: "lent" as const };
    const context = new UcxContext(loadUcp(findLibucp().path), options);
    try {
      const memory = lendMemory(context, LENT_BYTES);
      memory.close();
      return parseRemoteKey(memory.key).length > 0 ? "mapped" : "fetched";
    } finally {
      context.close();
    }
  } catch {
    return null;
  }
}

async function trial(): Promise<Omit<SharingFacts, "remoteKeys">> {
  const { connect, serve } = await import("../../mod.ts");
  try {
    const source = tableFromArrays({ value: Float64Array.from({ length: ROWS }, (_, i) => i) });
    await using server = await serve({ datasets: { probe: { source, share: true } } });
    await using stream = await connect(server.datasets[0].uris[0], { timeoutMs: 10_000 });
    for await (using batch of stream) {
      if (batch.getChildAt(0)!.get(ROWS - 1) !== ROWS - 1) return { works: false, reason: "other values were read" };
    }
    const { sharedBytes, sharingReason } = stream.stats;
    return { works: sharedBytes > 0, reason: sharedBytes > 0 ? "" : sharingReason ?? "" };
  } catch (thrown) {
    return { works: false, reason: asFailure(thrown).message };
  }
}

/** The lines of `dipc doctor`. */
export function sharingLines({ works, reason, remoteKeys }: SharingFacts): string[] {
  return [
    works ? "works: dipc serve --share, clients on this machine" : `does not work: ${reason}`,
    remoteKeys === null
      ? "no memory can be lent by remote keys"
      : `by remote keys (--remote-keys), off by default: ${
        remoteKeys === "mapped" ? "clients on this machine map the memory" : "clients fetch from the memory"
      }`,
  ];
}
