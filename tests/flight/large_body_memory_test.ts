/** What a large message of Flight costs its receiver: hardly more than its body, given back at once; and a clear error without memory. */
import { assert, assertEquals, assertLess } from "@std/assert";
import { connect, fromTable, serve, type Server } from "../../mod.ts";
import { tableFromArrays } from "apache-arrow";
import { findCommand } from "../../tools/peer_places.ts";
import { type Need, needsUcx, testNeeding } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { startDipc } from "../support/processes.ts";
import { zerosDataset } from "../support/zeros.ts";

const MIB = 2 ** 20;
/** Rows of 8 bytes. */
const ROWS = 100_000_000;
const PROGRAM = `${ROOT}/tests/flight/support/large_reader.ts`;

const needsPrlimit: Need = {
  what: "prlimit(1)",
  present: findCommand("prlimit") !== null,
  how: "install util-linux",
};

/** What the reader reports. */
interface Report {
  baseBytes: number;
  peakBytes: number;
  releasedBytes: number;
  rows: number;
  error?: string;
  message?: string;
}

async function read(location: string, ...options: string[]): Promise<Report> {
  const { code, stdout, stderr } = await startDipc([location, ...options], { program: PROGRAM, timeoutMs: 100_000 })
    .outcome;
  assertEquals(code, 0, stderr);
  return JSON.parse(stdout);
}

async function large(rows: number): Promise<Server> {
  const small = await fromTable(tableFromArrays({ n: Float64Array.of(1) }));
  return await serve({
    datasets: { x: await zerosDataset(rows), small },
    flight: {
      maxBatchBytes: false,
      handlers: {
        actions: { answer: { run: (body) => [new Uint8Array(8 * (body[0] === 0x78 ? rows : 1))] } },
      },
    },
  });
}

for (const pool of ["pool", "no pool"]) {
  testNeeding(
    [needsUcx],
    `a body of 800 MB by Flight costs at most 1.1 of it, with ${pool}, and is given back at once`,
    async () => {
      await using server = await large(ROWS);
      const found = await read(server.flight!.location, "flight", pool);
      const bodyBytes = 8 * ROWS;
      const [peak, left] = [found.peakBytes, found.releasedBytes].map((bytes) => bytes - found.baseBytes);
      console.log(
        `${pool}: ${(peak / bodyBytes).toFixed(3)} of the body at most, ${(left / MIB).toFixed()} MiB afterwards`,
      );
      assertEquals(found.rows, ROWS);
      // Besides the body: what reading in general takes.
      assertLess(peak, 1.1 * bodyBytes + 64 * MIB);
      assertLess(left, 128 * MIB);
    },
  );
}

testNeeding([needsUcx], "an answer of 400 MB to an action is not in memory twice", async () => {
  await using server = await large(ROWS / 2);
  const found = await read(server.flight!.location, "action", "");
  const answerBytes = 4 * ROWS;
  const peak = found.peakBytes - found.baseBytes;
  console.log(`${(peak / answerBytes).toFixed(3)} of the answer at most`);
  assertEquals(found.rows, ROWS / 2);
  // protobuf gives a view of the message.
  assertLess(peak, 1.5 * answerBytes + 64 * MIB);
});

testNeeding([needsUcx, needsPrlimit], "no memory for a body is out_of_memory, by Flight as by UCX", async () => {
  await using server = await large(2 * ROWS);
  for (const route of ["flight", "ucx"]) {
    const found = await read(server.flight!.location, route, "pool", "limited");
    assertEquals(found.error, "out_of_memory", found.message);
  }
  await using stream = await connect(server.datasets.find(({ name }) => name === "small")!.uris);
  assert((await stream.toTable()).numRows === 1);
});
