/**
 * Uploads (DoPut) that become datasets: in memory, or as Arrow streams in a folder.
 *
 * @module
 */
import { DipcError } from "../../errors.ts";
import { ArrowStreamWriter } from "../../formats/arrow_stream_writer.ts";
import { AtomicFile } from "../../formats/atomic_file.ts";
import type { IpcMessage, MessageHeader } from "../../ipc/message.ts";
import type { Dataset } from "../../sources/dataset.ts";
import { GrpcStatus } from "../status.ts";
import { nameOf } from "./catalog.ts";
import type { FlightUpload } from "./exchange.ts";

/** Longest name of an uploaded dataset, in characters. */
const MAX_NAME = 200;

/** Where uploads go. */
export interface UploadOptions {
  /** A folder, or `null` for memory. */
  folder: string | null;
  /** Most bytes of one upload. */
  maxBytes: number;
  /** Uploaded datasets at one time. */
  maxUploads: number;
  /** Whether a name is that of a dataset which is no upload. */
  isTaken(name: string): boolean;
  /** Serves the dataset under its name from now on, in place of an earlier upload of that name. */
  publish(name: string, dataset: Dataset): void | Promise<void>;
}

/** Takes uploads. */
export class Uploads {
  readonly #options: UploadOptions;
  readonly #names = new Set<string>();

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
    let dataset: Dataset;
    try {
      let left = this.#options.maxBytes;
      for await (const { message, appMetadata } of upload) {
        if (message !== null) {
          left -= message.header.bytes.byteLength + (message.body?.byteLength ?? 0);
          if (left < 0) {
            message.body?.release();
            throw new DipcError(
              "limit_exceeded",
              `the upload is larger than ${this.#options.maxBytes} bytes, which is the most that this server takes`,
            );
          }
          await target.write(message);
        }
        if (appMetadata !== null) await upload.acknowledge(appMetadata);
      }
      dataset = await target.finish();
    } catch (error) {
      await target.abort();
      throw error;
    }
    this.#names.add(name);
    await this.#options.publish(name, dataset);
  }

  #nameOf({ descriptor }: FlightUpload): string {
    const { folder, isTaken, maxUploads } = this.#options;
    const name = descriptor === null ? "" : nameOf(descriptor);
    if (name === "" || name.length > MAX_NAME) {
      throw new DipcError(
        "invalid_argument",
        `an upload needs a descriptor whose path is a name of 1 to ${MAX_NAME} characters`,
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
    if (!this.#names.has(name)) {
      if (isTaken(name)) throw exists(`the dataset ${JSON.stringify(name)} is the server's own: choose another name`);
      if (this.#names.size >= maxUploads) {
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
    const { ResidentDataset } = await import("../../sources/resident.ts");
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
    this.#writer = new ArrowStreamWriter(schema, AtomicFile.create(path));
  }

  write(message: IpcMessage): void | Promise<void> {
    return this.#writer.write(message);
  }

  async finish(): Promise<Dataset> {
    await this.#writer.finish();
    const { openPath } = await import("../../sources/open_path.ts");
    return await openPath(this.#path);
  }

  abort(): void | Promise<void> {
    return this.#writer.abort();
  }
}

function exists(text: string): DipcError {
  return new DipcError("flight", text, {
    foreign: { system: "grpc", status: GrpcStatus.alreadyExists, text },
  });
}
