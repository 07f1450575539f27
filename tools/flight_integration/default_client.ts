/**
 * The client's part of the scenario without a name: uploads an integration file with numbered batches, each of which must
 * be acknowledged, and fetches it from every location that the server names.
 *
 * @module
 */
import { fromBatches } from "../../mod.ts";
import { FlightClient } from "../../flight.ts";
import { compareBatches, compareSchemas, type JsonData, readJsonData } from "./json_data.ts";
import { REUSE_CONNECTION } from "./scenarios.ts";

/** Runs it; the path names the file, and the flight. */
export async function runDefault(client: FlightClient, { path }: { path: string }): Promise<void> {
  if (path === "") throw new Error("the default scenario needs the path of an integration file");
  await upload(client, path, await readJsonData(path));
  await fetchDefault(client, { path });
}

/** Fetches what was uploaded under the file's path, and compares it with the file. */
export async function fetchDefault(client: FlightClient, { path }: { path: string }): Promise<void> {
  const data = await readJsonData(path);
  const info = await client.getFlightInfo({ path });
  const rows = data.batches.reduce((sum, batch) => sum + batch.numRows, 0);
  if (info.totalRecords !== BigInt(rows)) {
    throw new Error(`expected ${rows} rows, the server tells ${info.totalRecords}`);
  }
  if (info.endpoints.length === 0) throw new Error("the server named no endpoint");
  for (const { ticket, locations } of info.endpoints) {
    if (locations.length === 0) throw new Error("the server named no location");
    for (const location of locations) {
      if (location === REUSE_CONNECTION) {
        await fetch(client, ticket, data, location);
      } else if (!location.startsWith("ucx:")) {
        await using other = await FlightClient.connect(location);
        await fetch(other, ticket, data, location);
      }
    }
  }
}

async function upload(client: FlightClient, path: string, { schema, batches }: JsonData): Promise<void> {
  const dataset = await fromBatches(batches, schema);
  try {
    await using writer = await client.doPut({ path }, dataset.schema);
    const results = writer.results();
    const run = await dataset.open();
    try {
      let number = 0;
      for (let message; (message = await run.next()) !== null;) {
        if (message.header.kind !== "batch") {
          await writer.write(message);
          continue;
        }
        const label = String(number++);
        await writer.write(message, new TextEncoder().encode(label));
        const { value, done } = await results.next();
        if (done) throw new Error(`the server did not acknowledge batch ${label}`);
        const found = new TextDecoder().decode(value);
        if (found !== label) throw new Error(`expected batch ${label} to be acknowledged, found "${found}"`);
      }
    } finally {
      await run.close();
    }
    await writer.finish();
  } finally {
    await dataset.close();
  }
}

async function fetch(
  client: FlightClient,
  ticket: Uint8Array,
  { schema, batches }: JsonData,
  at: string,
): Promise<void> {
  await using reader = await client.doGet(ticket);
  compareSchemas(at, schema, reader.schema);
  let number = 0;
  for await (const { batch, appMetadata } of reader) {
    if (batch === null) continue;
    if (number >= batches.length) throw new Error(`${at}: expected ${batches.length} batches, found more`);
    compareBatches(`${at}: batch ${number}`, batches[number], batch);
    const found = appMetadata === null ? null : new TextDecoder().decode(appMetadata);
    if (found !== String(number)) throw new Error(`${at}: batch ${number} came with the metadata "${found}"`);
    number++;
  }
  if (number !== batches.length) throw new Error(`${at}: expected ${batches.length} batches, found ${number}`);
}
