/**
 * Every comparison of `deno task bench`.
 *
 * Throughput counts from the moment when the schema has arrived until the end of the stream, on both sides; what a
 * connection costs is in `first-batch`. Each run checks its rows and bytes; before the first, every value is compared.
 *
 * @module
 */
import { fetchData } from "../tools/data.ts";
import { ADBC } from "./adbc.ts";
import { C_DATA } from "./c_data.ts";
import { DUCKDB } from "./duckdb.ts";
import type { Comparison, Measured } from "./compare.ts";
import { type Shape, shapeOf } from "./data.ts";
import { FLIGHT } from "./flight.ts";
import { GATEWAY } from "./gateway.ts";
import { FUZZING } from "./fuzz.ts";
import { ISOLATES } from "./isolates.ts";
import { FILES } from "./files.ts";
import { REQUESTS } from "./requests.ts";
import { SHARED } from "./shared.ts";
import { SQL } from "./sql.ts";
import { UNDER_LOAD } from "./under_load.ts";
import {
  checkTotals,
  coldBytes,
  concurrently,
  GiB,
  KiB,
  MiB,
  rate,
  serveFlight,
  serveNothing,
  serveOurs,
} from "./serving.ts";
import type { Fetched } from "./workbench.ts";

const SIZES = { "64KiB": 64 * KiB, "1MiB": MiB, "16MiB": 16 * MiB } as const;

/** One body sent again and again, against the bandwidth of UCX itself. */
function hot(tls: "shm" | "tcp", size: keyof typeof SIZES, target: number): Comparison {
  return {
    ...{ name: `hot/${tls}/${size}`, unit: "GB/s", peerName: "ucx_perftest -t tag_bw -e", target, needs: "perftest" },
    async prepare(bench, quick) {
      const variant = tls === "tcp" ? { tls } : {};
      const shape = shapeOf(SIZES[size], SIZES[size]);
      const times = (tls === "tcp" ? 1 : 4) * (quick ? 3 * GiB / 8 : 2 * GiB) / SIZES[size];
      const spec = { kind: "repeat", ...shape };
      const few = await serveOurs(bench, { ...spec, times: 64 }, variant);
      checkTotals(await bench.fetch("client", { do: "verify", uri: few.uri, shape, times: 64 }, variant), shape, 64);
      const { uri, settings } = await serveOurs(bench, { ...spec, times }, variant);
      return {
        ours: async () => rate(checkTotals(await bench.fetch("client", { do: "read", uri }, variant), shape, times)),
        peer: async () => ({ value: await bench.perftest(SIZES[size], times, settings) / 1e9 }),
        close: async () => void await bench.call("server", { do: "serve", datasets: [] }, variant),
      };
    },
  };
}

/** Every batch once, from memory. */
function cold(size: keyof typeof SIZES, target: number): Comparison {
  return {
    ...{ name: `cold/${size}`, unit: "GB/s", peerName: "pyarrow Flight DoGet", target, needs: "python" },
    async prepare(bench, quick) {
      const shape = shapeOf(SIZES[size], coldBytes(quick));
      const spec = { kind: "memory", ...shape };
      const [{ uri }, flight] = [await serveOurs(bench, spec), await serveFlight(bench, spec)];
      await bench.fetch("client", { do: "verify", uri, shape, times: 1 });
      return {
        ours: async () => rate(checkTotals(await bench.fetch("client", { do: "read", uri }), shape)),
        peer: async () => rate(checkTotals(await bench.fetch("flight-client", { do: "read", ...flight }), shape)),
        close: () => serveNothing(bench),
      };
    },
  };
}

const coldUnix: Comparison = {
  ...{ name: "cold/unix/1MiB", unit: "GB/s", peerName: "pyarrow IPC, Unix socket", target: 2.5, needs: "python" },
  async prepare(bench, quick) {
    const shape = shapeOf(MiB, coldBytes(quick));
    const spec = { kind: "memory", ...shape };
    const socket = `${bench.folder}/ipc.socket`;
    const { uri } = await serveOurs(bench, spec);
    await bench.call("ipc-server", { do: "serve", socket, datasets: [spec] });
    await bench.fetch("client", { do: "verify", uri, shape, times: 1 });
    return {
      ours: async () => rate(checkTotals(await bench.fetch("client", { do: "read", uri }), shape)),
      peer: async () => rate(checkTotals(await bench.fetch("ipc-client", { do: "read", socket }), shape)),
      close: () => serveNothing(bench),
    };
  },
};

const keep: Comparison = {
  ...{ name: "keep/1MiB", unit: "GB/s", peerName: "pyarrow Flight read_all", target: 2.5, needs: "python" },
  async prepare(bench, quick) {
    const shape = shapeOf(MiB, quick ? GiB / 2 : GiB);
    const spec = { kind: "memory", ...shape };
    const [{ uri }, flight] = [await serveOurs(bench, spec), await serveFlight(bench, spec)];
    return {
      ours: async () => rate(checkTotals(await bench.fetch("client", { do: "keep", uri }), shape)),
      peer: async () => rate(checkTotals(await bench.fetch("flight-client", { do: "keep", ...flight }), shape)),
      close: () => serveNothing(bench),
    };
  },
};

const small: Comparison = {
  ...{ name: "small/512B", unit: "batches/s", peerName: "pyarrow Flight DoGet", target: 5, needs: "python" },
  async prepare(bench, quick) {
    const shape: Shape = { rows: 64, batches: quick ? 30_000 : 100_000, columns: 1 };
    const spec = { kind: "memory", ...shape };
    const [{ uri }, flight] = [await serveOurs(bench, spec), await serveFlight(bench, spec)];
    await bench.fetch("client", { do: "verify", uri, shape, times: 1 });
    // First value of each batch: 0 + 64 + 128 + …
    const checksum = 64 * shape.batches * (shape.batches - 1) / 2;
    const figure = (fetched: Fetched): Measured => {
      checkTotals(fetched, shape);
      if (fetched.checksum !== checksum) {
        throw new Error(`sum of first values ${fetched.checksum}, expected ${checksum}`);
      }
      return { value: fetched.batches / fetched.seconds, transports: fetched.transports };
    };
    return {
      ours: async () => figure(await bench.fetch("client", { do: "small", uri })),
      peer: async () => figure(await bench.fetch("flight-client", { do: "small", ...flight })),
      close: () => serveNothing(bench),
    };
  },
};

/** The same file from both servers. Ours maps it under a lease, as `dipc serve` does, or reads it. */
function file(name: string, map: "guarded" | false, target: number | null): Comparison {
  return {
    ...{ name, unit: "GB/s", peerName: "pyarrow Flight, file mapped", target, needs: "python" },
    async prepare(bench, quick) {
      const shape = shapeOf(MiB, coldBytes(quick));
      const path = `${bench.folder}/data.arrow`;
      await bench.call("flight-server", { do: "write-file", path, ...shape });
      const spec = { kind: "file", path, map };
      const [{ uri }, flight] = [await serveOurs(bench, spec), await serveFlight(bench, spec)];
      await bench.fetch("client", { do: "verify", uri, shape, times: 1 });
      return {
        ours: async () => rate(checkTotals(await bench.fetch("client", { do: "read", uri }), shape)),
        peer: async () => rate(checkTotals(await bench.fetch("flight-client", { do: "read", ...flight }), shape)),
        async close() {
          await serveNothing(bench);
          await Deno.remove(path);
        },
      };
    },
  };
}

/** A Parquet file to a table, by one of our engines. None of the processes is pinned, because DuckDB and pyarrow have several threads. */
function parquet(name: string, engine: "wasm" | "duckdb", target: number): Comparison {
  return {
    ...{ name, unit: "rows/s", peerName: "pyarrow read + Flight", target, needs: "python" },
    async prepare(bench) {
      const free = { pinned: false };
      const spec = { kind: "parquet", path: await fetchData("flights-3m.parquet", console.error) };
      const [{ uri }, flight] = [
        await serveOurs(bench, { ...spec, engine }, free),
        await serveFlight(bench, spec, free),
      ];
      const rows = 3_000_000;
      // From the request on, because the server starts to decode then.
      const figure = (fetched: Fetched): Measured => {
        if (fetched.rows !== rows) throw new Error(`got ${fetched.rows} rows, expected ${rows}`);
        return { value: fetched.rows / fetched.wholeSeconds, transports: fetched.transports };
      };
      return {
        ours: async () => figure(await bench.fetch("client", { do: "keep", uri }, free)),
        peer: async () => figure(await bench.fetch("flight-client", { do: "keep", ...flight }, free)),
        close: () => serveNothing(bench, free),
      };
    },
  };
}

/** Four clients at once, none of the processes pinned; the rate counts from the first start to the last end. */
const clients: Comparison = {
  ...{ name: "clients/4x1MiB", unit: "GB/s", peerName: "pyarrow Flight DoGet, 4 clients", target: 2, needs: "python" },
  async prepare(bench, quick) {
    const shape = shapeOf(MiB, coldBytes(quick) / 4);
    const spec = { kind: "memory", ...shape };
    const free = { pinned: false };
    const [{ uri }, flight] = [await serveOurs(bench, spec, free), await serveFlight(bench, spec, free)];
    const all = (role: "client" | "flight-client", command: Record<string, unknown>) =>
      concurrently(bench, role, Array(4).fill(command), shape);
    return {
      ours: () => all("client", { do: "read", uri }),
      peer: () => all("flight-client", { do: "read", ...flight }),
      close: () => serveNothing(bench, free),
    };
  },
};

/** Start-up of a program that imports the library and does nothing, process and all. */
const importing: Comparison = {
  ...{ name: "import", unit: "ms", peerName: "import pyarrow.flight", target: null, needs: "python" },
  prepare(bench) {
    const run = async (command: string, args: string[]): Promise<Measured> => {
      const start = performance.now();
      const { success, stderr } = await new Deno.Command(command, { args, stdout: "null", stderr: "piped" }).output();
      const value = performance.now() - start;
      if (!success) throw new Error(`${command} failed: ${new TextDecoder().decode(stderr).trim()}`);
      return { value };
    };
    const program = import.meta.resolve("./import_probe.ts");
    return Promise.resolve({
      ours: () => run(Deno.execPath(), ["run", "--no-prompt", ...bench.tools.denoArgs, program]),
      peer: () => run(bench.tools.python!.path, ["-c", "import pyarrow.flight"]),
    });
  },
};

/** In the order in which they run and are printed. */
export const SUITE: readonly Comparison[] = [
  hot("shm", "64KiB", 0.6),
  hot("shm", "1MiB", 0.8),
  hot("shm", "16MiB", 0.75),
  hot("tcp", "1MiB", 0.9),
  cold("64KiB", 7),
  cold("1MiB", 5),
  cold("16MiB", 3.2),
  coldUnix,
  keep,
  small,
  file("file/1MiB", "guarded", 2),
  file("file/1MiB/read", false, null),
  parquet("parquet/rows", "wasm", 0.5),
  parquet("parquet/duckdb/rows", "duckdb", 1.2),
  ...FILES,
  clients,
  ...SHARED,
  ...ISOLATES,
  ...UNDER_LOAD,
  ...FLIGHT,
  ...GATEWAY,
  ...SQL,
  ...REQUESTS,
  importing,
  ...C_DATA,
  ...ADBC,
  ...DUCKDB,
  ...FUZZING,
];
