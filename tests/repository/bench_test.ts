/** `deno task bench`: what it prints and refuses, and how it computes. */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { chooseCores, parseCpuList } from "../../bench/machine.ts";
import { parseBandwidth } from "../../bench/perftest.ts";
import { drawChart } from "../../bench/chart.ts";
import { type BenchReport, type BenchResult, formatTable } from "../../bench/report.ts";
import { median, pairedRatios, percentile } from "../../bench/stats.ts";
import { SUITE } from "../../bench/suite.ts";

const main = new URL("../../bench/main.ts", import.meta.url).pathname;

async function bench(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-prompt", main, ...args],
    stdout: "piped",
    stderr: "piped",
  }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

Deno.test("bench --json prints one object whose results have the promised fields", async () => {
  const { code, stdout, stderr } = await bench("--quick", "--only", "^import$", "--json");
  const report = JSON.parse(stdout) as BenchReport;
  assertEquals(report.failed, [], stderr);
  if (report.skipped.length > 0) {
    // Without the peer nothing can be compared; then the run says so and is not a success.
    assert(Deno.env.get("CI") !== "true", "with CI=true the peer must be there");
    console.warn(`skipped: no comparison was made, ${report.skipped[0].reason}`);
    assertEquals([code, report.results.length], [1, 0]);
    return;
  }
  assertEquals(code, 0, stderr);
  assertEquals(report.results.length, 1);
  const [result] = report.results;
  assertEquals([result.name, result.unit, result.rounds], ["import", "ms", 3]);
  assertEquals(typeof result.peerName, "string");
  for (const field of ["ours", "peer", "ratio", "min", "max"] as const) assertGreater(result[field], 0, field);
  assert(result.min <= result.ours && result.ours <= result.max, JSON.stringify(result));
  assert(stdout.trimEnd().split("\n").length === 1, "exactly one line");
});

Deno.test("bench --list names every result", async () => {
  const { code, stdout } = await bench("--list");
  assertEquals(code, 0);
  const sizes = ["64KiB", "1MiB", "16MiB"];
  const names = [
    ...[...sizes.map((size) => `hot/shm/${size}`), "hot/tcp/1MiB", ...sizes.map((size) => `cold/${size}`)],
    ...[
      "cold/unix/1MiB",
      "keep/1MiB",
      "small/512B",
      "file/1MiB",
      "file/1MiB/read",
      "parquet/rows",
      "parquet/duckdb/rows",
    ],
    ...["csv/rows", "ndjson/rows", "parquet-out/rows", "clients/4x1MiB"],
    ...["64KiB", "1MiB", "16MiB", "64MiB"].map((size) => `shared/hand/${size}`),
    ...["1MiB", "16MiB", "1MiB/private", "mmap"].map((name) => `shared/summed/${name}`),
    ...["shared/keep/1MiB", "shared/clients/4x1MiB"],
    ...["one-process/1MiB", "streams/4x1MiB", "isolates/2"],
    ...["fair/flight-small", "fair/ucx", "fair/timer-10ms", "burst/200", "burst/200/ucx", "idle/256"],
    ...["to-pyarrow", "from-pyarrow", "ours", "ucx"].map((route) => `flight/${route}/1MiB`),
    ...["gateway/first/1MiB", "gateway/second/1MiB"],
    ...["sql/rows", "sql/adbc", "sql/client", "sql/small"],
    ...["first-batch", "first-batch/cold", "small-query", "cpu/1MiB", "cpu/1MiB/shared"],
    ...["import", "c-data/import", "c-data/export", "c-data/memory", "postgres/rows", "duckdb/1GB", "fuzz"],
  ];
  assertEquals(stdout.trim().split("\n"), names);
  assertEquals(SUITE.map(({ name }) => name), names);
});

Deno.test("bench refuses what it does not know with exit status 2", async () => {
  for (const args of [["--nonsense"], ["--only", "no such result"], ["--rounds", "0"], ["--only", "("]]) {
    const { code, stdout, stderr } = await bench(...args);
    assertEquals([code, stdout], [2, ""], args.join(" "));
    assertGreater(stderr.length, 0);
  }
});

Deno.test("a ratio compares with the peer's runs on both sides and favours us above 1 for times too", () => {
  assertEquals(pairedRatios([6, 6], [2, 2, 8], true), [3, 1.5]);
  assertEquals(pairedRatios([6, 6], [12, 12, 3], false), [2, 1]);
});

Deno.test("medians and percentiles do not depend on the order", () => {
  assertEquals(median([3, 1, 2]), 2);
  assertEquals(median([4, 1, 3, 2]), 2.5);
  const values = Array.from({ length: 100 }, (_, i) => (i * 37) % 100 + 1);
  assertEquals([percentile(values, 50), percentile(values, 99), percentile(values, 100)], [50, 99, 100]);
});

Deno.test("the bandwidth of ucx_perftest is read from its result line, in MiB/s", () => {
  const header =
    "|     Test     | # iterations | 50.0%ile | average | overall |  average |  overall  |  average  |  overall  |\n";
  const line =
    "                       50000      4.298     4.838     4.838    12918.88   12918.50      206702      206702\n";
  assertEquals(parseBandwidth(header + line), 12918.5 * 1048576);
  assertEquals(parseBandwidth("connect() failed: Connection refused"), null);
});

Deno.test("lists of cores are expanded and two different cores are chosen", async () => {
  assertEquals(parseCpuList("0-3,8"), [0, 1, 2, 3, 8]);
  assertEquals(parseCpuList("5\n"), [5]);
  const cores = await chooseCores();
  assert(cores === null || cores.server !== cores.client, JSON.stringify(cores));
});

Deno.test("table and chart show every result and what was left out", () => {
  const result = (name: string, peerName: string, ratio: number): BenchResult => ({
    ...{ name, peerName, ratio, unit: "GB/s", ours: ratio, peer: 1, min: ratio, max: ratio, peerMin: 1, peerMax: 1 },
    ...{ ratioMin: ratio, ratioMax: ratio, rounds: 5, target: 2, transports: ["posix"] },
  });
  const report: BenchReport = {
    ...{ date: "2026-01-01T00:00:00Z", quick: false, seconds: 1, cores: null, pyarrow: null, ucxSettings: {} },
    machine: { cpu: "A <fast> & quiet one", cores: 2, memoryBytes: 1, kernel: "6", deno: "2", v8: "1" },
    libucp: { path: "/libucp.so.0", version: "1.22.0" },
    results: [result("cold/1MiB", "pyarrow Flight DoGet", 3), result("hot/shm/1MiB", "ucx_perftest -t tag_bw -e", 0.9)],
    skipped: [{ name: "keep/1MiB", reason: "no Python" }],
    failed: [{ name: "small/512B", reason: "it broke" }],
  };
  const table = formatTable(report).join("\n");
  for (
    const text of ["cold/1MiB", "≥ 2 met", "≥ 2 missed", "0.90×", "keep/1MiB: skipped, no Python", "FAILED, it broke"]
  ) {
    assert(table.includes(text), text);
  }
  const svg = drawChart(report);
  assert(svg.includes(">cold/1MiB<") && svg.includes(">hot/shm/1MiB<"), "the labels are missing");
  assert(svg.includes("A &#60;fast&#62; &#38; quiet one"), "text is escaped");
  assert(svg.includes("prefers-color-scheme: dark"));
});
