/**
 * Prepares datasets in device memory for a server: decides about staging and, if it is needed, copies ahead of the wire.
 *
 * @module
 */
import type { Entry } from "./entry.ts";
import { DipcError } from "../errors.ts";
import { parseSpace } from "../memory/cuda/space.ts";
import type { Dataset } from "../sources/dataset.ts";
import type { Transport } from "../wire/transport.ts";
import { openGpu } from "../device/devices.ts";
import {
  chooseUcx,
  decideStaging,
  findStaging,
  ownTransports,
  type Staging,
  type StagingDecision,
} from "../device/staging.ts";
import { StagedDataset } from "../device/staged_out.ts";
import { refusal } from "../options.ts";

export { stagingOption } from "../device/staging.ts";

/** The datasets of a server, prepared for sending. */
export interface PreparedEntries {
  /** The datasets as they are sent. */
  readonly entries: Map<string, Entry>;
  /** The transport that was made; null if the caller gave one, or has to make one for host memory. */
  readonly transport: Transport | null;
}

/** Memory space of a dataset's bodies. */
function spaceOf({ memory = "host" }: Dataset): string {
  return memory;
}

/**
 * Decides for every dataset in device memory. UCX works with one GPU at a time: with datasets on several, those of the first one
 * are sent directly, if possible, and the others are staged.
 *
 * @param entries Datasets that are served, by name
 * @param options The requested staging, the send window, path of libucp, and the caller's transport
 * @throws {DipcError} errors of opening the GPU; `unsupported` if staging is needed but forbidden
 */
export async function prepareDevices(
  entries: ReadonlyMap<string, Entry>,
  options: { staging: Staging; windowBytes: number; library?: string; transport?: Transport },
): Promise<PreparedEntries> {
  const { staging: requested, windowBytes, library, transport: given } = options;
  const spaces = new Set([...entries.values()].map(({ dataset }) => spaceOf(dataset)));
  spaces.delete("host");
  const decisions = new Map<string, StagingDecision>();
  let transport: Transport | null = null;
  try {
    for (const space of spaces) {
      const device = openGpu(space);
      if (given !== undefined) {
        decisions.set(space, await decideStaging(requested, space, () => findStaging(given, device)));
      } else if (transport === null) {
        const chosen = await chooseUcx(device, requested, ownTransports(library));
        transport = chosen.transport;
        decisions.set(space, chosen);
      } else {
        const other: Transport = transport;
        decisions.set(space, await decideStaging(requested, space, () => findStaging(other, device)));
      }
    }
    const prepared = new Map<string, Entry>();
    for (const [name, entry] of entries) {
      prepared.set(name, prepare(entry, decisions.get(spaceOf(entry.dataset)), windowBytes));
    }
    return { entries: prepared, transport };
  } catch (error) {
    await transport?.close();
    throw error;
  }
}

function prepare(entry: Entry, decision: StagingDecision | undefined, windowBytes: number): Entry {
  const { dataset } = entry;
  if (decision === undefined) return entry;
  const memory = spaceOf(dataset);
  const inHost = new StagedDataset(dataset, openGpu(memory), windowBytes);
  const sent = decision.isStaged ? inHost : dataset;
  return { ...entry, dataset: sent, inHost, memory, staged: decision.isStaged, stagingReason: decision.reason };
}

/**
 * Checks the memory space that a dataset is to be copied into.
 *
 * @returns Whether it is the memory of a GPU
 * @throws {DipcError} `invalid_argument`
 */
export function isDeviceSpace(name: string, memory: unknown): memory is string {
  if (typeof memory !== "string") {
    throw new DipcError(
      "invalid_argument",
      refusal(`the memory of the dataset ${JSON.stringify(name)}`, memory, '"host" or one such as "cuda:0"'),
    );
  }
  return parseSpace(memory) !== null;
}
