/**
 * Options and readers of the commands for bodies in the memory of a GPU.
 *
 * @module
 */
import type { DeviceStreamReader } from "../device/reader.ts";
import { copyToHost } from "../device/record_batch.ts";
import type { Staging } from "../device/staging.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { refusal } from "../options.ts";
import type { ReaderStats, RouteName } from "../reader.ts";
import { choice, type ParsedArgs, UsageError } from "./args.ts";

/** `--memory` and `--staging` of a command line. */
export interface DeviceArgs {
  /** The GPU, or undefined for host memory. */
  readonly memory?: `cuda:${number}`;
  readonly staging?: Staging;
}

const STAGINGS = ["auto", "never", "always"] as const;
/** What `--staging` was called before 0.1.0. */
const ROAD = { option: "road", values: { direct: "never", staged: "always" } } as const;

/** @throws {UsageError} if one of them has another value, or they do not go together */
export function deviceArgs(args: ParsedArgs): DeviceArgs {
  const memory = args.values.get("memory") ?? "host";
  const staging = choice(args, "staging", STAGINGS, ROAD);
  if (memory !== "host" && !/^cuda:\d+$/.test(memory)) {
    throw new UsageError(refusal("--memory", memory, "host, or the memory of a GPU such as cuda:0"));
  }
  if (memory === "host") {
    if (staging !== undefined) {
      throw new UsageError(`cannot use --staging ${staging}: it is for the memory of a GPU; add --memory cuda:0`);
    }
    return {};
  }
  return { memory: memory as `cuda:${number}`, staging };
}

/** Counters of what is read; a file comes by no route. */
export type SourceStats = Omit<ReaderStats, "route"> & { readonly route: RouteName | null };

/** What the commands use of a reader, whichever memory it reads into. */
export interface MessageSource extends AsyncDisposable {
  readonly schemaHeader: MessageHeader;
  /** Custom metadata of the footer of an Arrow file. */
  readonly footerMetadata?: ReadonlyMap<string, string>;
  readonly stats: SourceStats;
  messages(): AsyncIterable<IpcMessage>;
}

/** Makes the bodies of a stream in the memory of a GPU readable by the CPU: each is copied back when it has arrived. */
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
          copy = await copyToHost(reader._gpu, body, null);
        } finally {
          body.release();
        }
        yield { header, body: copy };
      }
    },
    [Symbol.asyncDispose]: () => reader.cancel(),
  };
}

/** Releases transports and GPUs, so that the command leaves nothing behind. */
export async function releaseAll(): Promise<void> {
  const { releaseDevices } = await import("../device/devices.ts");
  await releaseDevices();
}
