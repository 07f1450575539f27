/**
 * A stream that is held open: `dipc serve` of its standard input, which lacks the end for as long as a test needs.
 *
 * @module
 */
import { tripsBytes } from "../../support/cli_data.ts";
import type { TemporaryFolder } from "../../support/paths.ts";
import { type Running, startDipc } from "../../support/processes.ts";
import { until } from "../../support/time.ts";

/** How many of the last bytes are held back: less than the last of three batches. */
const HELD_BYTES = 200;

/** The server of such a stream. */
export class HeldStream implements AsyncDisposable {
  /** The server's process. */
  readonly server: Running;
  /** URI of the stream. */
  readonly uri: string;
  readonly #end: Uint8Array;

  private constructor(server: Running, uri: string, end: Uint8Array) {
    this.server = server;
    this.uri = uri;
    this.#end = end;
  }

  /** Starts the server and gives it all but the end. */
  static async open(): Promise<HeldStream> {
    const server = startDipc(["serve", "live=-", "--json"], { stdin: "piped" });
    const bytes = tripsBytes("stream");
    await server.write(bytes.slice(0, bytes.byteLength - HELD_BYTES));
    const [{ uris }] = JSON.parse((await server.firstLine)!).datasets;
    return new HeldStream(server, uris[0], bytes.slice(bytes.byteLength - HELD_BYTES));
  }

  /** Gives the server the end, so that the stream is whole. */
  async finish(): Promise<void> {
    await this.server.write(this.#end);
    await this.server.closeStdin();
  }

  /** Ends the server. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }
}

/** Waits until a client has begun to write a file into `folder`. */
export async function untilWriting(folder: TemporaryFolder): Promise<void> {
  await until(() => [...Deno.readDirSync(folder.path)].some(({ name }) => name.includes(".part")));
}
