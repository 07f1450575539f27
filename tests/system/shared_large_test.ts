/**
 * Shared memory at size: many processes read one copy, and a source of any length goes through an arena that never grows.
 *
 * `DIPC_LARGE=1` takes 16 processes, 4 GiB and 16 GiB; by default 4 processes, 128 MiB and 1 GiB, by remote keys 128 MiB.
 *
 * @module
 */
import { assert, assertEquals, assertLess } from "@std/assert";
import { rowsOf } from "../support/generated.ts";
import { needsUcx, testNeeding, ucxVersions } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { residentBytes } from "../support/proc.ts";
import { type Running, startDipc } from "../support/processes.ts";
import { printTable } from "../support/table.ts";

const MIB = 2 ** 20, GIB = 2 ** 30;
const isLarge = Deno.env.get("DIPC_LARGE") === "1";
const [PROCESSES, DATASET_BYTES, STREAM_BYTES, ARENA_BYTES] = isLarge
  ? [16, 4 * GIB, 16 * GIB, 256 * MIB]
  : [4, 128 * MIB, GIB, 64 * MIB];
/** Bytes that are read by remote keys. */
const KEY_BYTES = isLarge ? STREAM_BYTES : 128 * MIB;
const BODY_BYTES = 4 * MIB;
const PROGRAM = `${ROOT}/tests/system/support/shared_reader_program.ts`;
const SERVER = `${ROOT}/tests/support/server_program.ts`;
const TIMEOUT_MS = 900_000;

async function startServer(
  bytes: number,
  isResident: boolean,
  { remoteKeys = false, env }: { remoteKeys?: boolean; env?: Record<string, string> } = {},
): Promise<{ server: Running; uri: string }> {
  const data = { batches: bytes / BODY_BYTES, rows: rowsOf(BODY_BYTES), share: true, resident: isResident };
  const settings = { datasets: { data }, options: { sharing: { arenaBytes: ARENA_BYTES, remoteKeys } } };
  const options = { program: SERVER, stdin: "piped", timeoutMs: TIMEOUT_MS, env } as const;
  const server = startDipc([JSON.stringify(settings)], options);
  const { datasets } = JSON.parse(await server.firstLine ?? (await server.outcome).stderr);
  return { server, uri: datasets[0].uris[0] };
}

/** Proportional set size of mappings of the memory that is shared, in bytes. */
function sharedPss(pid: number): number {
  let total = 0, isShared = false;
  for (const line of Deno.readTextFileSync(`/proc/${pid}/smaps`).split("\n")) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) isShared = line.includes("/memfd:dipc-shared");
    const pss = isShared ? /^Pss: +(\d+) kB/.exec(line) : null;
    if (pss !== null) total += Number(pss[1]) * 1024;
  }
  return total;
}

testNeeding([needsUcx], `${PROCESSES} processes read one copy of a dataset`, async () => {
  const started = await startServer(DATASET_BYTES, true);
  await using server = started.server;
  const readers: Running[] = [];
  try {
    for (let i = 0; i < PROCESSES; i++) {
      const reader = startDipc([started.uri, "whole"], { program: PROGRAM, stdin: "piped", timeoutMs: TIMEOUT_MS });
      readers.push(reader);
      const { batches, bodyBytes, sharedBytes } = JSON.parse(await reader.firstLine ?? (await reader.outcome).stderr);
      assertEquals([batches, sharedBytes], [DATASET_BYTES / BODY_BYTES, bodyBytes]);
    }
    const each = [server, ...readers].map(({ pid }) => sharedPss(pid));
    const all = each.reduce((sum, bytes) => sum + bytes, 0);
    printTable(`${PROCESSES} readers of ${DATASET_BYTES / MIB} MiB`, ["process", "PSS of the dataset, MiB"], [
      ...each.map((bytes, i) => [i === 0 ? "server" : `reader ${i}`, (bytes / MIB).toFixed(1)]),
      ["all", (all / MIB).toFixed(1)],
    ]);
    assertLess(all, 1.15 * DATASET_BYTES);
    assert(all > 0.9 * DATASET_BYTES, "the readers have not mapped the dataset");
    for (const reader of readers) {
      await reader.closeStdin();
      const { code, stderr } = await reader.outcome;
      assertEquals([code, stderr], [0, ""]);
    }
  } finally {
    for (const reader of readers) reader.kill("SIGKILL");
  }
});

testNeeding(
  [needsUcx],
  `a source of ${STREAM_BYTES / GIB} GiB goes through an arena of ${ARENA_BYTES / MIB} MiB`,
  async () => {
    const started = await startServer(STREAM_BYTES, false);
    await using server = started.server;
    const reader = startDipc([started.uri, "slow", "40"], { program: PROGRAM, timeoutMs: TIMEOUT_MS });
    await using _ = reader;
    let mostArena = 0, mostResident = 0;
    while (!reader.ended) {
      const { sharing } = await server.ask("stats") as { sharing: { arenaBytes: number } };
      mostArena = Math.max(mostArena, sharing.arenaBytes);
      mostResident = Math.max(mostResident, residentBytes(server.pid));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const { stdout, stderr, code } = await reader.outcome;
    assertEquals(code, 0, stderr);
    const { batches, bodyBytes, sharedBytes, seconds } = JSON.parse(stdout);
    printTable(
      `${STREAM_BYTES / GIB} GiB through an arena of ${ARENA_BYTES / MIB} MiB, slow reader`,
      ["what", "value"],
      [
        ["batches", String(batches)],
        ["in place", `${(100 * sharedBytes / bodyBytes).toFixed(1)} %`],
        ["seconds", seconds.toFixed(1)],
        ["most of the arena in use, MiB", (mostArena / MIB).toFixed(0)],
        ["most resident memory of the server, MiB", (mostResident / MIB).toFixed(0)],
      ],
    );
    assertEquals([batches, sharedBytes], [STREAM_BYTES / BODY_BYTES, bodyBytes]);
    assert(mostArena <= ARENA_BYTES, `${mostArena} bytes of the arena were in use`);
    assertLess(mostResident, ARENA_BYTES + 400 * MIB);
  },
);

for (const { label, need, env } of ucxVersions) {
  testNeeding(
    [need],
    `${KEY_BYTES / MIB} MiB are whole by remote keys, mapped and fetched, over UCX ${label}`,
    async () => {
      const rows: string[][] = [];
      for (const way of ["mapped", "fetched"]) {
        const all = { ...env, ...(way === "mapped" ? {} : { UCX_TLS: "tcp" }) };
        const started = await startServer(KEY_BYTES, false, { remoteKeys: true, env: all });
        await using server = started.server;
        const uri = started.uri.replace(/&share=[^&]*/, "");
        const reader = startDipc([uri, "slow", "40"], { program: PROGRAM, env: all, timeoutMs: TIMEOUT_MS });
        await using _ = reader;
        const { stdout, stderr, code } = await reader.outcome;
        assertEquals(code, 0, stderr);
        const { batches, bodyBytes, sharedBytes, sharingReason, seconds } = JSON.parse(stdout);
        assertEquals([batches, sharedBytes], [KEY_BYTES / BODY_BYTES, bodyBytes]);
        assertEquals(sharingReason !== "", way === "fetched", sharingReason);
        rows.push([way, String(batches), (bodyBytes / seconds / 1e9).toFixed(2)]);
        const { sharing } = await server.ask("stats") as { sharing: { arenaBytes: number } };
        assert(sharing.arenaBytes <= ARENA_BYTES, `${sharing.arenaBytes} bytes of the arena were in use`);
      }
      printTable(`${KEY_BYTES / MIB} MiB by remote keys, UCX ${label}`, ["way", "batches", "GB/s"], rows);
    },
  );
}
