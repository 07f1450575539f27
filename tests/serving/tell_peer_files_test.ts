/** What clients learn of a server's files and names: uploads that cannot be kept, files that change, and what it serves. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import { FlightClient, type FlightServerEventDetail, GrpcStatus } from "../../flight.ts";
import {
  connect,
  type Dataset,
  DipcError,
  fromBatches,
  fromTable,
  openPath,
  serve,
  type Server,
  type ServerEventDetail,
} from "../../mod.ts";
import { arrowBytes } from "../support/datasets.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { repeat } from "../support/repeat.ts";
import { assertSaysNothing, textsOf } from "./support/secrets.ts";

const ROWS = 262_144;
const table = (rows: number) => tableFromArrays({ n: Float64Array.from({ length: rows }, (_, i) => i) });

async function caught(work: () => Promise<unknown>, what: string): Promise<DipcError> {
  return await assertRejects(work, DipcError, undefined, what) as DipcError;
}

/** Reads a dataset to its end; `onFirst` is called after the first batch. */
async function read(
  server: Server,
  name: string,
  route: "ucx" | "flight",
  onFirst: () => unknown = () => {},
): Promise<void> {
  await using stream = await connect(server.flight!.location, { route, flight: { path: [name] } });
  let batches = 0;
  for await (const batch of stream) {
    batch[Symbol.dispose]();
    if (batches++ === 0) await onFirst();
  }
}

/** Texts of the errors that a server tells of itself. */
function logOf(server: Server): string[] {
  const log: string[] = [];
  for (const target of [server, server.flight!]) {
    target.addEventListener("error", (event) => {
      log.push((event as CustomEvent<ServerEventDetail | FlightServerEventDetail>).detail.error!.message);
    });
  }
  return log;
}

async function logged(log: readonly string[], text: string): Promise<void> {
  for (let tries = 0; tries < 200 && !log.some((each) => each.includes(text)); tries++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert(log.some((each) => each.includes(text)), `the server's log does not have "${text}": ${log}`);
}

Deno.test("an upload that cannot be kept tells its client no path", async () => {
  using outer = new TemporaryFolder();
  const small = await fromTable(table(3));
  const breaks: Record<string, (folder: string) => void> = {
    vanished: (folder) => Deno.removeSync(folder),
    "a file": (folder) => {
      Deno.removeSync(folder);
      Deno.writeTextFileSync(folder, "");
    },
    "without permission": (folder) => Deno.chmodSync(folder, 0o500),
  };
  for (const [what, spoil] of Object.entries(breaks)) {
    // Nothing is without permission for root.
    if (what === "without permission" && Deno.uid() === 0) continue;
    const folder = outer.file(`private ${what}`);
    Deno.mkdirSync(folder);
    await using server = await serve({ datasets: { own: table(1) }, flight: { ucx: "off", allowPut: folder } });
    const log = logOf(server);
    spoil(folder);
    await using client = await FlightClient.connect(server.flight!.location);
    const error = await caught(() => client.put({ path: "new" }, small), what);
    assertEquals(error.foreign?.status, GrpcStatus.internal, what);
    assertSaysNothing(textsOf(error), what, [outer.path, "No such", "ENOENT", "arrows"]);
    await logged(log, folder);
    if (what === "without permission") Deno.chmodSync(folder, 0o700);
  }
});

Deno.test("an upload whose folder vanishes half-way tells its client no path", async () => {
  using outer = new TemporaryFolder();
  const folder = outer.file("private");
  Deno.mkdirSync(folder);
  const large = await fromTable(table(ROWS));
  await using server = await serve({ datasets: { own: table(1) }, flight: { ucx: "off", allowPut: folder } });
  const log = logOf(server);
  await using client = await FlightClient.connect(server.flight!.location);
  const run = await large.open();
  const error = await caught(async () => {
    await using writer = await client.doPut({ path: "new" }, large.schema);
    await writer.write((await run.next())!);
    for (let tries = 0; tries < 200 && [...Deno.readDirSync(folder)].length === 0; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    Deno.removeSync(folder, { recursive: true });
    await writer.finish();
  }, "vanished");
  await run.close();
  assertEquals(error.foreign?.status, GrpcStatus.internal, textsOf(error));
  assertSaysNothing(textsOf(error), "vanished", [outer.path, "No such", "ENOENT", "arrows"]);
  await logged(log, folder);
});

testNeeding([needsUcx], "a file that changes while it is served tells clients no path, by either route", async () => {
  using outer = new TemporaryFolder();
  const bytes = await arrowBytes(repeat(await fromTable(table(ROWS)), 40), "file");
  const changes: Record<string, (path: string) => unknown> = {
    "cut short": (path) => Deno.truncate(path, 5_000_000),
    rewritten: async (path) => await Deno.writeFile(path, new Uint8Array(bytes.byteLength)),
  };
  for (const [what, change] of Object.entries(changes)) {
    for (const map of ["never", "guarded"] as const) {
      for (const route of ["ucx", "flight"] as const) {
        const where = `${what}, map ${map}, ${route}`;
        const path = outer.file(`private ${where}.arrow`);
        await Deno.writeFile(path, bytes);
        const dataset = await openPath(path, map === "never" ? {} : { map });
        {
          await using server = await serve({ datasets: { a: dataset }, flight: {} });
          const log = logOf(server);
          const error = await caught(() => read(server, "a", route, () => change(path)), where);
          assertSaysNothing(textsOf(error), where, [outer.path, ".arrow"]);
          assertStringIncludes(textsOf(error), "its own log says why", where);
          await logged(log, path);
        }
        await dataset.close();
        await Deno.remove(path);
      }
    }
  }
});

testNeeding([needsUcx], "a dataset that can be read once says so by either route, and names nothing", async () => {
  for (const route of ["ucx", "flight"] as const) {
    const once = await fromBatches((async function* () {
      yield* table(3).batches;
    })());
    await using server = await serve({ datasets: { once }, flight: {} });
    await read(server, "once", route);
    const error = await caught(() => read(server, "once", route), route);
    assertEquals(error.code, "busy");
    assertStringIncludes(error.message, "the dataset can be read only once, and was");
    await once.close();
  }
});

testNeeding(
  [needsUcx],
  "a dataset over a limit fails by either route, and its client learns the code alone",
  async () => {
    using outer = new TemporaryFolder();
    const path = outer.file("private.arrows");
    await Deno.writeFile(path, await arrowBytes(await fromTable(table(ROWS)), "stream"));
    for (const route of ["ucx", "flight"] as const) {
      const dataset = await openPath(path, { limits: { maxBodyBytes: 1000 } });
      {
        await using server = await serve({ datasets: { a: dataset }, flight: {} });
        const log = logOf(server);
        const error = await caught(() => read(server, "a", route), route);
        assertEquals(error.code, "limit_exceeded");
        assertSaysNothing(textsOf(error), route, [outer.path, "maxBodyBytes"]);
        await logged(log, "maxBodyBytes");
      }
      await dataset.close();
    }
  },
);

testNeeding([needsUcx], "a server that shuts down says so by either route", async () => {
  const endless: Dataset = repeat(await fromTable(table(ROWS)), Infinity);
  for (const route of ["ucx", "flight"] as const) {
    const server = await serve({ datasets: { a: endless }, flight: {} });
    const log = logOf(server);
    let closing: Promise<void> | undefined;
    const error = await caught(
      () => read(server, "a", route, () => void (closing = server.shutdown({ timeoutMs: 50 }))),
      route,
    );
    assert(["closed", "unreachable", "connection_lost", "cancelled"].includes(error.code), textsOf(error));
    assertSaysNothing(textsOf(error), route);
    await closing;
    await logged(log, "the server is shutting down");
  }
});

testNeeding(
  [needsUcx],
  "an unknown name is answered with those there are if names are tickets, and with none if not",
  async () => {
    const datasets = { alpha: table(1), beta: table(2) };
    for (const flight of [{}, { requireTickets: true }, { auth: { bearer: () => "ada" } }]) {
      await using server = await serve({ datasets, flight });
      const isOpen = Object.keys(flight).length === 0;
      await using client = await FlightClient.connect(server.flight!.location, { token: "x" });
      const texts: Record<string, string> = {};
      for (const ticket of ["gamma", "dipc1.gamma"]) {
        const byUcx = await caught(async () => void await connect(server.datasets[0].uris, { ticket }), ticket);
        const byFlight = await caught(async () => {
          await using reader = await client.doGet(ticket);
          await reader.next();
        }, ticket);
        const isName = isOpen && ticket === "gamma";
        for (const { code } of [byUcx, byFlight]) {
          assertEquals(
            code,
            isName ? "not_found" : "permission_denied",
            ticket,
          );
        }
        texts[ticket] = [byUcx, byFlight].map(textsOf).join("\n");
        for (const name of Object.keys(datasets)) assertEquals(texts[ticket].includes(name), isName, texts[ticket]);
      }
      const info = await caught(() => client.getFlightInfo({ path: "gamma" }), "gamma");
      assertEquals(info.code, "not_found");
      for (const name of Object.keys(datasets)) assert(!textsOf(info).includes(name), textsOf(info));
    }
  },
);
