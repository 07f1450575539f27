/**
 * Uploads (DoPut) that become datasets: in memory, or as Arrow streams in a folder.
 *
 * @module
 */
import { DipcError, LocalError } from "../errors.ts";
import { ArrowStreamWriter } from "../formats/arrow_stream_writer.ts";
import { AtomicFile } from "../formats/atomic_file.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import type { Dataset } from "../sources/dataset.ts";
import { GrpcStatus } from "../grpc/status.ts";
import { nameOf } from "./catalog.ts";
import type { FlightUpload } from "../flight/service/exchange.ts";
import type { UploadSink } from "../flight/service/parts.ts";
import { textOf } from "../text.ts";
import { ReplaceableDataset } from "./replaceable.ts";

/** Longest name of an uploaded dataset, in bytes of UTF-8: a file system takes 255, with what is put around it. */
const MAX_NAME_BYTES = 200;

/** Where uploads go. */
export interface UploadOptions {
  /** A folder, or `null` for memory. */
  folder: string | null;
  /** Most bytes of one upload. */
  maxBytes: number;
  /** Most bytes of all uploads, kept and under way. */
  maxTotalBytes: number;
  /** Uploaded datasets at one time. */
  maxUploads: number;
  /** Whether a name is that of a dataset which is no upload. */
  isTaken(name: string): boolean;
  /** Serves the dataset under its name from now on, in place of an earlier upload of that name. */
  publish(name: string, dataset: Dataset): void | Promise<void>;
}

/** Takes uploads. */
export class Uploads implements UploadSink {
  readonly #options: UploadOptions;
  /** Bytes of each upload that is kept, by name. */
  readonly #kept = new Map<string, number>();
  /** Bytes of all of them, and of those under way. */
  #totalBytes = 0;

  /** @param options Where they go */
  constructor(options: UploadOptions) {
    this.#options = options;
  }

  /**
   * Takes one upload whole, then serves it. Every application metadata of the client is sent back once the message that it
   * came with has been taken.
   *
   * @param upload What the client sends
   * @throws {DipcError} `invalid_argument` for a bad name, `limit_exceeded`, `flight` (ALREADY_EXISTS), `io`, and what reading throws
   */
  async take(upload: FlightUpload): Promise<void> {
    const name = this.#nameOf(upload);
    const schema = await upload._readSchema();
    const target = this.#options.folder === null ? new MemoryTarget(schema) : new FileTarget(schema, this.#path(name));
    let bytes = 0;
    try {
      for await (const { message, appMetadata } of upload) {
        if (message !== null) {
          const size = message.header.bytes.byteLength + (message.body?.byteLength ?? 0);
          bytes += size;
          this.#totalBytes += size;
          try {
            this.#checkSize(bytes);
          } catch (error) {
            message.body?.release();
            throw error;
          }
          await target.write(message);
        }
        if (appMetadata !== null) await upload.acknowledge(appMetadata);
      }
      await this.#options.publish(name, new ReplaceableDataset(await target.finish()));
    } catch (error) {
      this.#totalBytes -= bytes;
      await target.abort();
      throw error;
    }
    this.#totalBytes -= this.#kept.get(name) ?? 0;
    this.#kept.set(name, bytes);
  }

  #checkSize(bytes: number): void {
    const { maxBytes, maxTotalBytes } = this.#options;
    if (bytes > maxBytes) {
      throw new DipcError(
        "limit_exceeded",
        `the upload is larger than ${maxBytes} bytes, which is the most that this server takes`,
      );
    }
    if (this.#totalBytes > maxTotalBytes) {
      throw new DipcError("limit_exceeded", "this server has no room for the upload beside those that it keeps");
    }
  }

  #nameOf({ descriptor }: FlightUpload): string {
    const { folder, isTaken, maxUploads } = this.#options;
    const name = descriptor === null ? "" : nameOf(descriptor);
    if (name === "" || new TextEncoder().encode(name).byteLength > MAX_NAME_BYTES) {
      throw new DipcError(
        "invalid_argument",
        `an upload needs a descriptor whose path is a name of 1 to ${MAX_NAME_BYTES} bytes`,
      );
    }
    // What a file may be called; no name with this form leaves the folder or hides in it.
    if (folder !== null && !/^[\p{L}\p{N}_][\p{L}\p{N}_. -]*$/u.test(name)) {
      throw new DipcError(
        "invalid_argument",
        `${
          JSON.stringify(name)
        } cannot be the name of an upload: letters, digits, "_", and after the first also ".", " " and "-"`,
      );
    }
    if (!this.#kept.has(name)) {
      if (folder !== null && isThere(this.#path(name))) {
        throw exists(`a file for ${JSON.stringify(name)} is there already: choose another name`);
      }
      if (isTaken(name)) throw exists(`the dataset ${JSON.stringify(name)} is the server's own: choose another name`);
      if (this.#kept.size >= maxUploads) {
        throw new DipcError("limit_exceeded", `this server keeps ${maxUploads} uploads, and has as many`);
      }
    }
    return name;
  }

  #path(name: string): string {
    return `${this.#options.folder!.replace(/\/+$/, "")}/${name}.arrows`;
  }
}

interface Target {
  write(message: IpcMessage): void | Promise<void>;
  finish(): Promise<Dataset>;
  abort(): void | Promise<void>;
}

class MemoryTarget implements Target {
  readonly #schema: MessageHeader;
  #messages: IpcMessage[] = [];

  constructor(schema: MessageHeader) {
    this.#schema = schema;
  }

  write(message: IpcMessage): void {
    this.#messages.push(message);
  }

  async finish(): Promise<Dataset> {
    const { ResidentDataset } = await import("../sources/resident.ts");
    const messages = this.#messages;
    this.#messages = [];
    return new ResidentDataset(this.#schema, messages);
  }

  abort(): void {
    for (const { body } of this.#messages) body?.release();
    this.#messages = [];
  }
}

class FileTarget implements Target {
  readonly #path: string;
  readonly #writer: ArrowStreamWriter;

  constructor(schema: MessageHeader, path: string) {
    this.#path = path;
    this.#writer = inFolder(() => new ArrowStreamWriter(schema, AtomicFile.create(path)));
  }

  write(message: IpcMessage): void {
    // Writing to a file is done when it returns.
    inFolder(() => this.#writer.write(message));
  }

  async finish(): Promise<Dataset> {
    await inFolder(() => this.#writer.finish()).catch(hidden);
    const { openPath } = await import("../sources/open_path.ts");
    return await openPath(this.#path).catch(hidden);
  }

  abort(): void | Promise<void> {
    return this.#writer.abort();
  }
}

/** Does something with the folder; what goes wrong with it is the server's affair, and names its paths. */
function inFolder<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    hidden(error);
  }
}

function hidden(cause: unknown): never {
  throw new LocalError("io", `an upload could not be kept: ${textOf(cause)}`, { cause });
}

function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    hidden(error);
  }
}

function exists(text: string): DipcError {
  return new DipcError("flight", text, {
    foreign: { system: "grpc", status: GrpcStatus.alreadyExists, text },
  });
}
