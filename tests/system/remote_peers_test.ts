/**
 * Memory that is lent by remote keys, with programs in C that know the protocol's specification and UCX, and nothing of dipc:
 * `native/remote_memory/`. They read what this library lends, lend what it reads, and read of each other.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { tripsBytes } from "../support/cli_data.ts";
import { testNeeding, ucxVersions } from "../support/needs.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { type Running, startDipc } from "../support/processes.ts";
import { printTable } from "../support/table.ts";
import { until } from "../support/time.ts";
import { compileUcxProgram, needsCClient, startUcxProgram } from "../wire/support/c_client.ts";

const BATCHES = 20;
/** The schema, a dictionary, and the batches. */
const MESSAGES = BATCHES + 2;
const SERVER = `${ROOT}/tests/support/server_program.ts`;
const READER = `${ROOT}/tests/system/support/remote_reader_program.ts`;
/** With these a process has no memory that others could map. */
const WITHOUT_MAPPING = { UCX_TLS: "tcp" };

interface Fixture {
  readonly label: string;
  readonly env: Record<string, string>;
  readonly client: string;
  readonly server: string;
  /** What is served, and how it is encoded. */
  readonly file: string;
  readonly bytes: Uint8Array;
  readonly out: string;
}

async function withFixture(
  { label, env }: { label: string; env: Record<string, string> },
  use: (fixture: Fixture) => Promise<void>,
): Promise<void> {
  using folder = new TemporaryFolder();
  const bytes = tripsBytes("stream", BATCHES);
  const file = folder.file("trips.arrows");
  await Deno.writeFile(file, bytes);
  const compile = (name: string) => compileUcxProgram(label, `remote_memory/${name}.c`, folder.path);
  const [client, server] = [await compile("client"), await compile("server")];
  await use({ label, env, client, server, file, bytes, out: folder.file("out.arrows") });
}

/** Starts this library's server. Bodies of every size are lent. */
async function startServer({ file, env }: Fixture): Promise<{ server: Running; uri: string }> {
  const sharing = { remoteKeys: true, minBodyBytes: 0, arenaBytes: 1 << 20, clientBytes: 1 << 17 };
  const settings = { datasets: { t: { path: file, share: true } }, options: { sharing } };
  const server = startDipc([JSON.stringify(settings)], { program: SERVER, env, stdin: "piped" });
  return { server, uri: JSON.parse((await server.firstLine)!).datasets[0].uris[0] };
}

/** Runs the client in C. @returns what it reports, and its exit status */
async function readInC(
  { client, label, out }: Fixture,
  [mode, way, uri]: [mode: string, way: string, uri: string],
  env: Record<string, string> = {},
): Promise<{ code: number; report: Record<string, unknown> }> {
  const { code, stdout, stderr } = await startUcxProgram({
    ...{ program: client, label, env },
    args: [mode, way, uri, "t", out],
  }).outcome;
  assert(stdout !== "", stderr);
  return { code, report: JSON.parse(stdout) };
}

async function assertNothingLent(server: Running): Promise<void> {
  await until(
    async () => (await server.ask("stats") as { sharing: Record<string, number> }).sharing,
    (sharing) => Object.values(sharing).every((value) => value === 0),
  );
}

async function clientInC(fixture: Fixture): Promise<void> {
  const { server, uri } = await startServer(fixture);
  await using _ = server;
  const rows: string[][] = [];
  for (const mode of ["none", "peer"]) {
    for (const way of ["pointer", "get"]) {
      const { code, report } = await readInC(fixture, [mode, way, uri]);
      const { messages, listed, pointed, got } = report as Record<string, number>;
      assertEquals([code, messages], [0, MESSAGES], `${mode}, ${way}: ${JSON.stringify(report)}`);
      assertEquals(await Deno.readFile(fixture.out), fixture.bytes, `${mode}, ${way}`);
      // What a client may have is bounded: the rest is sent.
      assert(listed > 0 && (way === "get" ? got : pointed) > 0, JSON.stringify(report));
      assertEquals(way === "get" ? pointed : got, 0);
      await assertNothingLent(server);
      rows.push([mode, way, String(listed), String(pointed), String(got)]);
    }
  }
  printTable(`a client in C, UCX ${fixture.label}`, ["mode", "way", "bodies listed", "pointed", "got"], rows);
  // One that gives nothing back is sent what is above its share, and its memory is free again once it has left.
  const kept = await readInC(fixture, ["peer", "either", uri], { KEEP: "1" });
  assertEquals([kept.code, kept.report.messages], [0, MESSAGES]);
  assert(Number(kept.report.listed) > 0 && Number(kept.report.listed) < MESSAGES - 1, JSON.stringify(kept.report));
  assertEquals(await Deno.readFile(fixture.out), fixture.bytes);
  await assertNothingLent(server);
  // One that gives something back twice is disconnected, whether or not its stream has ended by then.
  assertEquals((await readInC(fixture, ["peer", "either", uri], { DOUBLE_FREE: "1" })).code, 3);
  await until(
    async () => (await server.ask("stats") as { errors: string[] }).errors,
    (errors) => errors.some((error) => error.startsWith("protocol: cannot take back the address")),
  );
  assertEquals((await readInC(fixture, ["peer", "either", uri])).code, 0);
}

async function serverInC(fixture: Fixture): Promise<void> {
  const { server: program, label, env, file } = fixture;
  const rows: string[][] = [];
  for (const [way, kind] of [["mapped", "all"], ["fetched", "mixed"]]) {
    const mixed: Record<string, string> = kind === "mixed" ? { MIXED: "1" } : {};
    await using server = startUcxProgram({ program, label, args: [file, "1"], env: mixed });
    const uri = await server.firstLine;
    const { code, stdout, stderr } = await startDipc([uri!, file], {
      program: READER,
      env: { ...env, ...(way === "fetched" ? WITHOUT_MAPPING : {}) },
    }).outcome;
    assertEquals(code, 0, stderr);
    const { equal, sharedBytes, bodyBytes, sharingReason } = JSON.parse(stdout);
    assert(equal, "other values arrived");
    assertEquals(sharingReason.split(":")[0], way === "mapped" ? "" : "bodies are fetched");
    const { messages, whole, lent, freed, violation } = JSON.parse((await server.nextLine())!);
    assertEquals([messages, whole, violation, freed], [MESSAGES, 1, "", lent]);
    assert(kind === "all" ? sharedBytes === bodyBytes : sharedBytes > 0 && sharedBytes < bodyBytes);
    rows.push([way, kind, String(sharedBytes), String(bodyBytes), sharingReason.slice(0, 60)]);
  }
  printTable(`a server in C, UCX ${label}`, ["way", "bodies", "lent bytes", "bytes", "reason"], rows);
}

async function bothInC(fixture: Fixture): Promise<void> {
  const { server: program, label, file, bytes } = fixture;
  // UCX prints what becomes of clients that name no error mode.
  await using server = startUcxProgram({ program, label, args: [file, "4"], env: { UCX_LOG_LEVEL: "fatal" } });
  const uri = (await server.firstLine)!;
  for (const mode of ["none", "peer"]) {
    for (const way of ["pointer", "get"]) {
      assertEquals((await readInC(fixture, [mode, way, uri])).code, 0, `${mode}, ${way}`);
      assertEquals(await Deno.readFile(fixture.out), bytes);
      const { lent, freed, violation } = JSON.parse((await server.nextLine())!);
      assertEquals([freed, violation], [lent, ""]);
    }
  }
}

for (const { label, need, env } of ucxVersions) {
  const needs = [need, ...needsCClient(label)];
  const test = (name: string, run: Parameters<typeof withFixture>[1]): void =>
    testNeeding(needs, `UCX ${label}: ${name}`, () => withFixture({ label, env }, run));

  test("a client in C reads in this server's memory, by pointer and by get", clientInC);
  test("this client reads in the memory of a server in C, mapped and fetched", serverInC);
  test("a client in C reads in the memory of a server in C", bothInC);
}
