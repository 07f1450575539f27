/**
 * Starts a server of datasets.
 *
 * @module
 */
import { checkDeno } from "./runtime.ts";
import { DipcError } from "./errors.ts";
import { admitByName } from "./serving/admission.ts";
import { closeEntries, openEntries } from "./serving/datasets.ts";
import type { Entry } from "./serving/entry.ts";
import type { FlightPlane, FlightPlaneOptions, PlaneHost } from "./serving/flight_plane.ts";
import { type ServeOptions, type ServerSettings, serverSettings } from "./serving/options.ts";
import type { PlaneMaker, Server, ServerParts } from "./serving/server.ts";
import type { DatasetMemory } from "./serving/shared_memory.ts";
import type { Listener, Transport } from "./wire/transport.ts";
import { ucxTransport } from "./wire/ucx/transport.ts";

/**
 * Starts a server.
 *
 * Datasets that the server makes itself, from paths, tables and iterables, are closed with it; a `Dataset` stays the
 * caller's.
 *
 * @example Usage
 * ```ts ignore
 * import { serve } from "@arrow-ucx/dipc";
 *
 * await using server = await serve({ datasets: { flights: "flights.arrow" } });
 * console.log(server.datasets[0].uris[0]);
 * ```
 *
 * @param options What to serve, and where
 * @returns The running server; dispose it or call `shutdown()`
 * @throws {DipcError} `invalid_argument`, `library_not_found`, `unreachable` (the address cannot be bound), `not_found`,
 * `permission_denied`, `invalid_data`
 */
export async function serve(options: ServeOptions): Promise<Server> {
  checkDeno();
  const settings = serverSettings(options);
  // Uploads and handlers can be served without any dataset.
  const mayBeEmpty = (options.flight?.allowPut ?? false) !== false ||
    options.flight?.handlers !== undefined || options.flight?.sql !== undefined;
  let server: Server | undefined;
  const warn = (dataset: string, warning: string): void => server?._warn(dataset, warning);
  const { arenaBytes } = settings.sharing;
  let entries = await openEntries(options.datasets, mayBeEmpty, { warn, arenaBytes });
  const ownsTransport = options.transport === undefined;
  let transport: Transport | null | undefined = options.transport;
  try {
    const inDevice = [...entries.values()].find(({ dataset }) => (dataset.memory ?? "host") !== "host");
    if (inDevice !== undefined) {
      refuseIsolates(inDevice, settings);
      const { prepareDevices, stagingOption } = await import("./serving/device_memory.ts");
      const { windowBytes } = settings;
      const prepared = await prepareDevices(entries, {
        ...options,
        windowBytes,
        staging: stagingOption(options.staging),
      });
      entries = prepared.entries;
      transport ??= prepared.transport ?? undefined;
    }
    checkReadOnce(entries, settings);
    checkShared(entries, settings, options);
    const plane = options.flight && await openPlane(options.flight, {
      entries,
      urisOf: (name, approach) => server!._urisOf(name, approach),
      publish: (name, dataset) => server!._publish(name, dataset),
    });
    const admission = plane?.admission ?? admitByName(entries);
    const resultMemory = await openResultMemory(options, settings);
    let maker: PlaneMaker | null;
    if (settings.isolates > 1) {
      maker = await openUcx(options, () => openIsolates(settings.isolates, options.library, entries));
    } else {
      if (transport === undefined) transport = await openUcx(options, () => ucxTransport({ library: options.library }));
      maker = await planeOver(transport, entries, resultMemory);
    }
    const owned = ownsTransport ? transport ?? null : null;
    server = await openServer({ settings, entries, admission, plane: maker, resultMemory, transport: owned });
    await server._listen();
    if (plane !== undefined) await server._listenFlight(plane);
    return server;
  } catch (error) {
    if (server !== undefined) {
      await server.shutdown({ timeoutMs: 0 });
    } else {
      await closeEntries(entries.values());
      if (ownsTransport) await transport?.close();
    }
    throw error;
  }
}

/** @throws {DipcError} `invalid_argument` for a read-once dataset that would be read twice */
function checkReadOnce(entries: ReadonlyMap<string, Entry>, { metadataPort }: ServerSettings): void {
  if (metadataPort === undefined) return;
  const entry = [...entries.values()].find(({ dataset }) => dataset.readOnce);
  if (entry === undefined) return;
  throw new DipcError(
    "invalid_argument",
    `cannot serve ${
      JSON.stringify(entry.name)
    }: the dataset can be read only once, but metadata and bodies on two ports ` +
      "are two reads; leave metadataPort out",
  );
}

/** @throws {DipcError} `invalid_argument` for a shared dataset with an option that does not go with it */
function checkShared(
  entries: ReadonlyMap<string, Entry>,
  { metadataPort, isolates, sharing }: ServerSettings,
  { flight }: ServeOptions,
): void {
  const entry = [...entries.values()].find(({ shared }) => shared !== undefined);
  if (sharing.remoteKeys) checkRemoteKeys(entries, isolates);
  const other = metadataPort !== undefined ? "metadataPort" : flight?.ucx === "off" ? 'flight.ucx: "off"' : null;
  if (entry === undefined || other === null) return;
  throw new DipcError(
    "invalid_argument",
    `cannot share ${JSON.stringify(entry.name)}: it does not go with ${other}; leave one of the two out`,
  );
}

/**
 * The memory through which clients on this machine read results of SQL; `null` if they are sent.
 *
 * @throws {DipcError} `invalid_argument` with an option that does not go with it
 */
async function openResultMemory(
  { flight }: ServeOptions,
  { metadataPort, isolates, sharing }: ServerSettings,
): Promise<DatasetMemory | null> {
  if (flight?.sqlShare !== true) return null;
  const other = flight.sql === undefined
    ? "a server without sql"
    : metadataPort !== undefined
    ? "metadataPort"
    : isolates > 1
    ? "isolates"
    : flight.ucx === "off"
    ? 'flight.ucx: "off"'
    : null;
  if (other !== null) {
    throw new DipcError("invalid_argument", `cannot use flight.sqlShare: it does not go with ${other}; leave one out`);
  }
  const { StreamMemory } = await import("./serving/shared_memory.ts");
  return new StreamMemory(sharing.arenaBytes);
}

/** @throws {DipcError} `invalid_argument` if remote keys are requested for nothing, or with an option that does not go with them */
function checkRemoteKeys(entries: ReadonlyMap<string, Entry>, isolates: number): void {
  const hasMemory = [...entries.values()].some(({ shared }) => shared?.kind === "host");
  if (hasMemory && isolates === 1) return;
  throw new DipcError(
    "invalid_argument",
    `cannot use sharing.remoteKeys: ${
      hasMemory
        ? "it does not go with isolates; leave one of the two out"
        : "no dataset in host memory is shared; give one share: true, or leave it out"
    }`,
  );
}

/** Loads the server's side only now: a program that only connects does not pay for it. */
async function openServer(parts: ServerParts): Promise<Server> {
  const { Server } = await import("./serving/server.ts");
  return new Server(parts);
}

/** Makes the UCX side in this isolate; `null` without UCX. */
async function planeOver(
  transport: Transport | null,
  entries: ReadonlyMap<string, Entry>,
  resultMemory: DatasetMemory | null,
): Promise<PlaneMaker | null> {
  if (transport === null) return null;
  const { UcxPlane } = await import("./serving/ucx_plane.ts");
  if (resultMemory === null && ![...entries.values()].some(({ shared }) => shared !== undefined)) {
    return (parts) => new UcxPlane(transport, parts);
  }
  const { SharedPlane } = await import("./serving/shared_plane.ts");
  const { RemotePlane } = await import("./serving/remote_plane.ts");
  const { isResultName } = await import("./serving/sql_plane.ts");
  const memoryOf = (dataset: string): DatasetMemory | undefined =>
    entries.get(dataset)?.shared ?? (resultMemory !== null && isResultName(dataset) ? resultMemory : undefined);
  const names = [...entries.values()].filter(({ shared }) => shared?.kind === "host").map(({ name }) => name);
  return (parts) => {
    const { sharing } = parts.settings;
    const openRemote = (listener: Listener) => new RemotePlane(listener, names, sharing);
    return new UcxPlane(transport, {
      ...parts,
      openShared: () => new SharedPlane({ ...parts, memoryOf }),
      openRemote: sharing.remoteKeys ? openRemote : undefined,
    });
  };
}

/** Loads the Flight side only when it is requested. */
async function openPlane(options: FlightPlaneOptions, host: PlaneHost): Promise<FlightPlane> {
  const { FlightPlane } = await import("./serving/flight_plane.ts");
  return await FlightPlane.open(options, host);
}

/** What UCX is needed for, or null if the server may go without it. */
async function openUcx<T>({ flight }: ServeOptions, open: () => Promise<T>): Promise<T | null> {
  const need = flight?.ucx ?? "required";
  if (need === "off") return null;
  try {
    return await open();
  } catch (error) {
    if (need === "optional" && error instanceof DipcError && error.code === "library_not_found") return null;
    throw error;
  }
}

/** Makes the UCX side in several isolates. */
async function openIsolates(
  isolates: number,
  library: string | undefined,
  entries: ReadonlyMap<string, Entry>,
): Promise<PlaneMaker> {
  const { isolatesPlane } = await import("./serving/isolates/plane.ts");
  const shares = (name: string): boolean => entries.get(name)?.shared !== undefined;
  return isolatesPlane(isolates, library, [...entries.keys()].some(shares) ? shares : undefined);
}

/** @throws {DipcError} `invalid_argument` if a dataset in device memory is to be served by several isolates */
function refuseIsolates({ name, dataset }: Entry, { isolates }: ServerSettings): void {
  if (isolates === 1) return;
  throw new DipcError(
    "invalid_argument",
    `cannot serve ${
      JSON.stringify(name)
    } from ${isolates} isolates: it is in ${dataset.memory}, and a GPU is used from one ` +
      "isolate; leave isolates out",
  );
}
