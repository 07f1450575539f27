/**
 * What the commands need for bodies in the memory of a GPU.
 *
 * @module
 */
import type { DeviceStreamReader } from "../device/reader.ts";
import { copyToHost } from "../device/record_batch.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import type { ReaderStats } from "../reader.ts";
import { type ParsedArgs, UsageError } from "./args.ts";

/** `--memory` and `--road` of a command line. */
export interface DeviceArgs {
  /** The GPU, or undefined for host memory. */
  readonly memory?: `cuda:${number}`;
  readonly road?: "auto" | "direct" | "staged";
}

/** @throws {UsageError} where one of them is no memory space or road, or they do not go together */
export function deviceArgs(args: ParsedArgs): DeviceArgs {
  const memory = args.values.get("memory") ?? "host";
  const road = args.values.get("road");
  if (memory !== "host" && !/^cuda:\d+$/.test(memory)) {
    throw new UsageError(`--memory is host, or the memory of a GPU such as cuda:0, not "${memory}"`);
  }
  if (road !== undefined && road !== "auto" && road !== "direct" && road !== "staged") {
    throw new UsageError(`--road is auto, direct or staged, not "${road}"`);
  }
  if (memory === "host") {
    if (road !== undefined) {
      throw new UsageError(`--road ${road} is the road to the memory of a GPU: add --memory cuda:0`);
    }
    return {};
  }
  return { memory: memory as `cuda:${number}`, road };
}

/** What the commands use of a reader, whichever memory it reads into. */
export interface MessageSource extends AsyncDisposable {
  readonly schemaHeader: MessageHeader;
  readonly stats: ReaderStats;
  messages(): AsyncIterable<IpcMessage>;
}

/** A stream in the memory of a GPU as one whose bodies the CPU can read: each is copied back when it has arrived. */
export function copiedBack(reader: DeviceStreamReader): MessageSource {
  return {
    schemaHeader: reader.schemaHeader,
    get stats() {
      return reader.stats;
    },
    async *messages() {
      for await (const { header, body } of reader.messages()) {
        if (body === null) {
          yield { header, body };
          continue;
        }
        let copy;
        try {
          copy = await copyToHost(reader.device, body, null);
        } finally {
          body.release();
        }
        yield { header, body: copy };
      }
    },
    [Symbol.asyncDispose]: () => reader.cancel(),
  };
}

/** Gives transports and GPUs back, so that the command leaves nothing behind. */
export async function releaseAll(): Promise<void> {
  const { releaseDevices } = await import("../device/devices.ts");
  await releaseDevices();
}
