/**
 * Uploads (DoPut) that become datasets: in memory, or as Arrow streams in a folder.
 *
 * @module
 */
import { DipcError, LocalError } from "../errors.ts";
import { ArrowStreamWriter } from "../formats/arrow_stream_writer.ts";
import { AtomicFile } from "../formats/atomic_file.ts";
import { NO_HEADER_LIMITS } from "../ipc/header.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import type { Dataset } from "../sources/dataset.ts";
import { GrpcStatus } from "../grpc/status.ts";
import { descriptorName } from "../flight/model.ts";
import type { FlightUpload } from "../flight/service/exchange.ts";
import type { UploadSink } from "../flight/service/parts.ts";
import { textOf } from "../text.ts";
import { ReplaceableDataset } from "./replaceable.ts";

/** Longest name of an uploaded dataset, in bytes of UTF-8: file systems allow 255, which must include prefix and extension. */
const MAX_NAME_BYTES = 200;

/** Options of {@linkcode Uploads}. */
export interface UploadOptions {
  /** Folder that keeps the uploads; `null` keeps them in memory. */
  folder: string | null;
  /** Largest upload, in bytes. */
  maxBytes: number;
  /** Most bytes of all uploads together, kept and under way. */
  maxTotalBytes: number;
  /** Most uploaded datasets kept. */
  maxUploads: number;
  /** Whether a name is that of a dataset which is not an upload. */
  isTaken(name: string): boolean;
  /** Serves the dataset under its name from now on, in place of an earlier upload of that name. */
  publish(name: string, dataset: Dataset): void | Promise<void>;
}

/** Receives uploads and publishes them as datasets. */
export class Uploads implements UploadSink {
  readonly #options: UploadOptions;
  /** Bytes of each upload that is kept, by name. */
  readonly #kept = new Map<string, number>();
  /** Bytes of all of them, and of those under way. */
  #totalBytes = 0;

  /** @param options Folder, limits and the server */
  constructor(options: UploadOptions) {
    this.#options = options;
  }

  /**
   * Receives one upload completely, then serves it. All application metadata of the client is sent back once the message that
   * it came with has been stored.
   *
   * @param upload The call of the client
   * @throws {DipcError} `invalid_argument` for a bad name, `limit_exceeded`, `flight` (ALREADY_EXISTS), `io`, and errors of reading
   */
  async take(upload: FlightUpload): Promise<void> {
    const name = this.#nameOf(upload);
    this.#checkSize(upload._announcedBytes, this.#totalBytes + upload._announcedBytes);
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
            this.#checkSize(bytes, this.#totalBytes);
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

  #checkSize(bytes: number, totalBytes: number): void {
    const { maxBytes, maxTotalBytes } = this.#options;
    if (bytes > maxBytes) {
      throw new DipcError(
        "limit_exceeded",
        `cannot keep the upload: it is larger than ${maxBytes} bytes, which is the most that this server accepts`,
      );
    }
    if (totalBytes > maxTotalBytes) {
      throw new DipcError(
        "limit_exceeded",
        "cannot keep the upload: this server has no room for it beside those that it keeps",
      );
    }
  }

  #nameOf({ descriptor }: FlightUpload): string {
    const { folder, isTaken, maxUploads } = this.#options;
    const name = descriptor === null ? "" : descriptorName(descriptor);
    if (name === "" || new TextEncoder().encode(name).byteLength > MAX_NAME_BYTES) {
      throw new DipcError(
        "invalid_argument",
        `cannot keep the upload: it needs a descriptor whose path is a name of 1 to ${MAX_NAME_BYTES} bytes`,
      );
    }
    // Names of this form are file names that neither leave the folder nor are hidden in it.
    if (folder !== null && !/^[\p{L}\p{N}_][\p{L}\p{N}_. -]*$/u.test(name)) {
      throw new DipcError(
        "invalid_argument",
        `cannot keep the upload: ${
          JSON.stringify(name)
        } is not a valid name; use letters, digits, "_", and after the ` +
          'first also ".", " " and "-"',
      );
    }
    if (!this.#kept.has(name)) {
      if (folder !== null && isThere(this.#path(name))) {
        throw exists(`cannot keep the upload: a file for ${JSON.stringify(name)} exists already; choose another name`);
      }
      if (isTaken(name)) {
        throw exists(
          `cannot keep the upload: the dataset ${JSON.stringify(name)} is the server's own; choose another name`,
        );
      }
      if (this.#kept.size >= maxUploads) {
        throw new DipcError(
          "limit_exceeded",
          `cannot keep the upload: this server keeps at most ${maxUploads} uploads, and has as many`,
        );
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
    // Writing to a file is complete when it returns.
    inFolder(() => this.#writer.write(message));
  }

  async finish(): Promise<Dataset> {
    await inFolder(() => this.#writer.finish()).catch(hidden);
    const { openPath } = await import("../files.ts");
    // Its messages were admitted when they arrived.
    return await openPath(this.#path, { limits: NO_HEADER_LIMITS }).catch(hidden);
  }

  abort(): void | Promise<void> {
    return this.#writer.abort();
  }
}

/** Works on the folder; its errors name the server's paths, so the client must not see them. */
function inFolder<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    hidden(error);
  }
}

function hidden(cause: unknown): never {
  throw new LocalError("io", `cannot keep the upload: ${textOf(cause)}`, { cause });
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
