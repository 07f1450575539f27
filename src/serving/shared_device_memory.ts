/**
 * The memory of a GPU in which the bodies of a shared dataset lie: packed once, and opened by clients by CUDA IPC.
 *
 * @module
 */
import { DipcError, LocalError } from "../errors.ts";
import { canWait } from "../device/release.ts";
import { DeviceResidentDataset } from "../device/upload.ts";
import type { IpcMessage } from "../ipc/message.ts";
import type { Body } from "../memory/block.ts";
import type { Gpu } from "../memory/cuda/device.ts";
import type { DeviceEvent } from "../memory/cuda/device_event.ts";
import { uuidBytes } from "../memory/cuda/device_info.ts";
import type { ExportedMemory } from "../memory/cuda/exported_memory.ts";
import { EMPTY_BODY } from "../memory/empty.ts";
import { nextGeneration } from "../memory/generation.ts";
import type { MessageStream } from "../sources/dataset.ts";
import type { ResidentDataset } from "../sources/resident.ts";
import type { SendableMessage } from "../stream/sendable.ts";
import { ALWAYS_THERE, type DatasetMemory, type MemoryGrant, type PlacedBody } from "./shared_memory.ts";

/** Bodies begin at multiples of this many bytes, as the driver's own allocations do. */
const ALIGNMENT = 256;

/** Memory of a GPU. It must not be freed before every client has closed it. */
class PackedDeviceMemory implements DatasetMemory {
  readonly kind = "cuda";
  readonly space: string;
  readonly isConstant = true;
  readonly usedBytes = 0;
  readonly clients = { hold: (): void => void this.#users++, drop: (): void => this.#drop() };
  readonly #memory: ExportedMemory;
  readonly #grant: MemoryGrant;
  /** Its owner, and the clients. */
  #users = 1;
  #isClosed = false;

  constructor(device: Gpu, memory: ExportedMemory) {
    this.space = device.space;
    this.#memory = memory;
    const cuda = { memory: memory.handle, event: memory.event, gpu: uuidBytes(device.info.uuid) };
    const { byteLength } = memory;
    this.#grant = { facts: { generation: nextGeneration(), base: 0n, byteLength, cuda }, descriptor: null };
  }

  grant(): MemoryGrant {
    if (this.#isClosed) throw new LocalError("closed", "cannot share memory: the dataset was closed");
    return this.#grant;
  }

  place({ address, byteLength }: Body): PlacedBody | null {
    const { address: base, byteLength: size } = this.#memory;
    const isInside = address >= base && address + BigInt(byteLength) <= base + BigInt(size);
    return isInside ? { address: address - base, memory: ALWAYS_THERE } : null;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#drop();
  }

  #drop(): void {
    if (--this.#users === 0) this.#memory.free();
  }
}

/** What stands for memory that cannot be shared: clients learn why. */
class RefusedMemory implements DatasetMemory {
  readonly kind = "cuda";
  readonly isConstant = true;
  readonly usedBytes = 0;

  constructor(readonly space: string, readonly problem: DipcError) {}

  grant(): MemoryGrant {
    throw this.problem;
  }

  place(): null {
    return null;
  }

  close(): void {}
}

/** A dataset in packed memory, which is freed when its last run has ended and its last client has left. */
class PackedDeviceDataset extends DeviceResidentDataset {
  readonly #memory: PackedDeviceMemory;
  readonly #filled: DeviceEvent | null;

  constructor(
    from: ResidentDataset,
    messages: readonly IpcMessage[],
    memory: PackedDeviceMemory,
    filled: DeviceEvent | null,
  ) {
    super(from.schema, messages, from.memory);
    this.#memory = memory;
    this.#filled = filled;
  }

  override open(
    options: { signal?: AbortSignal; mayShare?: (message: SendableMessage) => boolean } = {},
  ): MessageStream {
    const run = super.open(options);
    const filled = this.#filled;
    if (filled === null || filled.isFinished()) return run;
    return {
      // Clients that read in place wait for themselves.
      next() {
        const message = run.next() as IpcMessage | null;
        if (message === null || filled.isFinished() || options.mayShare?.(message)) return message;
        return filled.done({ signal: options.signal }).then(() => message, (error) => {
          message.body?.release();
          throw error;
        });
      },
      close: () => run.close(),
    };
  }

  protected override _released(): void {
    this.#memory.close();
  }
}

/**
 * Packs a dataset that is in the memory of a GPU: one copy, which clients open and from which everything else is sent, too. The
 * copies may still be under way when this returns.
 *
 * @param dataset The dataset, whose bodies are filled; stays the caller's
 * @param device The GPU
 * @returns the copy; or the dataset itself, with memory that says why it is not shared, if the driver has no CUDA IPC
 * @throws {DipcError} `out_of_memory`; what the driver reports of the copies
 */
export function packOnDevice(
  dataset: ResidentDataset,
  device: Gpu,
): { dataset: ResidentDataset; memory: DatasetMemory } {
  const { _messages: messages } = dataset;
  const offsets: number[] = [];
  let end = 0;
  for (const { body } of messages) {
    offsets.push(end);
    end += Math.ceil((body?.byteLength ?? 0) / ALIGNMENT) * ALIGNMENT;
  }
  let memory: ExportedMemory;
  try {
    memory = device.ipc.export(end);
  } catch (cause) {
    if (!(cause instanceof DipcError) || cause.code === "out_of_memory") throw cause;
    const { space } = device;
    const why = cause.foreign?.text.split(":")[0] ?? cause.code;
    const text = `cannot share memory of ${space}: its driver refuses that (${why}), so bodies are sent`;
    return { dataset, memory: new RefusedMemory(space, new DipcError("unsupported", text, { cause })) };
  }
  try {
    const packed: IpcMessage[] = [];
    let last: DeviceEvent | null = null;
    for (const [i, { header, body }] of messages.entries()) {
      const byteLength = body?.byteLength ?? 0;
      const copy = byteLength === 0 ? EMPTY_BODY : memory.body(offsets[i], byteLength);
      packed.push({ header, body: body && copy });
      if (body === null || byteLength === 0) continue;
      // Copies within a GPU are done one after the other: the last one stands for all.
      const uses = canWait(body) ? [memory, body] : [memory];
      last = device.copies.copyOnDevice(copy.address, body.address, byteLength, { uses });
    }
    const filled = last && memory.filledAfter(last);
    const shared = new PackedDeviceMemory(device, memory);
    // Clients wait for an event of their own: here somebody has to ask whether the driver has an error to report.
    filled?.done().catch(() => {});
    return { dataset: new PackedDeviceDataset(dataset, packed, shared, filled), memory: shared };
  } catch (error) {
    memory.free();
    throw error;
  }
}
