/**
 * The server's part of the scenario without a name: keeps what is uploaded, acknowledges each batch by its metadata, and
 * sends the batches with their numbers.
 *
 * @module
 */
import { type Dataset, DipcError, resident } from "../../mod.ts";
import type { FlightHandlers, FlightUpload } from "../../flight.ts";
import { frameMetadata } from "../../src/ipc/frame.ts";

/** The handlers of the scenario. */
export class UploadedFlights {
  readonly #flights = new Map<string, Dataset>();
  /** Address that the server listens on. */
  location = "";

  /** Options of a server. */
  get handlers(): FlightHandlers {
    return {
      doPut: (upload) => this.#take(upload),
      getFlightInfo: (descriptor) => {
        if (!("path" in descriptor)) throw new DipcError("unsupported", "only paths name flights here");
        const name = descriptor.path[0] ?? "";
        const dataset = this.#find(name);
        return {
          schema: frameMetadata(dataset.schema),
          descriptor,
          endpoints: [{
            ticket: new TextEncoder().encode(name),
            locations: [this.location],
            expirationTime: null,
            appMetadata: new Uint8Array(0),
          }],
          totalRecords: BigInt(dataset.rows!),
          totalBytes: -1n,
          ordered: false,
          appMetadata: new Uint8Array(0),
        };
      },
      doGet: (ticket) => numbered(this.#find(new TextDecoder().decode(ticket))),
    };
  }

  #find(name: string): Dataset {
    const dataset = this.#flights.get(name);
    if (dataset === undefined) throw new DipcError("not_found", `there is no flight "${name}"`);
    return dataset;
  }

  async #take(upload: FlightUpload): Promise<void> {
    const { descriptor } = upload;
    if (descriptor === null || !("path" in descriptor) || descriptor.path.length === 0) {
      throw new DipcError("invalid_argument", "an upload needs a path");
    }
    const name = descriptor.path[0];
    // Until the first item after it, the schema is not there.
    const first = await upload.next();
    const { schema } = upload;
    if (schema === null) {
      first?.message?.body?.release();
      throw new DipcError("invalid_argument", "an upload needs a schema");
    }
    let item = first;
    const dataset = await resident({
      schema,
      readOnce: true,
      open: () => ({
        next: async () => {
          for (; item !== null; item = await upload.next()) {
            const { message, appMetadata } = item;
            if (appMetadata !== null) await upload.acknowledge(appMetadata);
            if (message === null) continue;
            item = { message: null, appMetadata: null };
            return message;
          }
          return null;
        },
        close: () => {},
      }),
      close: () => {},
    });
    const before = this.#flights.get(name);
    this.#flights.set(name, dataset);
    await before?.close();
  }
}

/** A dataset whose batches carry their numbers; closing it leaves the original open. */
export function numbered(dataset: Dataset): Dataset {
  return {
    schema: dataset.schema,
    readOnce: false,
    async open(options) {
      const run = await dataset.open(options);
      let number = 0;
      return {
        next: async () => {
          const message = await run.next();
          if (message?.header.kind !== "batch") return message;
          return { ...message, appMetadata: new TextEncoder().encode(String(number++)) };
        },
        close: () => run.close(),
      };
    },
    close: () => {},
  };
}
