/**
 * Draws the ratios of a run as an SVG file that reads well on light and on dark pages.
 *
 * @module
 */
import { type BenchReport, type BenchResult, formatNumber } from "./report.ts";

const WIDTH = 880;
const BAR_LEFT = 220;
const BAR_RIGHT = 600;
const ROW = 34;
/** A scale that would end beyond this is logarithmic, and begins at `LOWEST`. */
const LINEAR_END = 20, LOWEST = 0.25;
const BAR = 14;

const STYLE = `
  text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .title { font-size: 17px; font-weight: 600 }
  .group { font-weight: 600 }
  .quiet { fill: #59636e; font-size: 12px }
  .ratio { font-weight: 600 }
  .bar { fill: #0969da }
  .peer { stroke: #9a6700; stroke-width: 1.5; stroke-dasharray: 4 3 }
  .mark { fill: #9a6700; font-size: 12px }
  .spread { stroke: #1f2328; stroke-width: 1.5 }
  .track { fill: #818b981f }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .quiet { fill: #9198a1 }
    .bar { fill: #4493f8 }
    .peer { stroke: #d29922 }
    .mark { fill: #d29922 }
    .spread { stroke: #f0f6fc }
  }
`;

/** By the longest beginning of a result's name. */
const LABELS: Readonly<Record<string, string>> = {
  "cold": "1 GiB from memory, Flight",
  "cold/unix": "1 GiB, IPC on a Unix socket",
  "keep": "all batches kept, Flight",
  "small": "a column of each read, Flight",
  "small-query": "a request of a batch each, Flight",
  "file": "Arrow file, both map it",
  "file/1MiB/read": "ours reads the file",
  "parquet": "Parquet to a table, Flight",
  "parquet/duckdb": "the same, decoded by DuckDB",
  "parquet-out": "Parquet to Parquet, a program",
  "csv": "Parquet to CSV, a program",
  "ndjson": "Parquet to NDJSON, DuckDB",
  "postgres": "a query of PostgreSQL, ADBC",
  "duckdb": "through DuckDB, Flight",
  "c-data/import": "C data interface",
  "c-data/export": "C data interface",
  "clients": "four clients at once, Flight",
  "flight/to-pyarrow": "DoGet from dipc to pyarrow",
  "flight/from-pyarrow": "DoGet from pyarrow to dipc",
  "flight/ours": "DoGet from dipc to dipc",
  "flight/ucx": "the same, and UCX taken",
  "gateway/first": "pyarrow by our gateway",
  "gateway/second": "the same, kept by the gateway",
  "sql/rows": "DuckDB by Flight SQL",
  "sql/adbc": "to ADBC, a server in Go",
  "sql/client": "a query of Sail, ADBC",
  "sql/small": "prepared queries, ADBC",
  "hot": "one hot buffer",
  "shared/hand": "read in place, Flight",
  "shared/summed": "the same, every byte added up",
  "shared/summed/mmap": "Arrow file that pyarrow maps",
  "shared/keep": "read in place and kept, Flight",
  "shared/clients": "four clients read in place",
};

function labelOf(name: string): string {
  const key = Object.keys(LABELS).filter((key) => name.startsWith(key)).sort((a, b) => b.length - a.length)[0];
  return LABELS[key] ?? "";
}

interface Group {
  readonly title: string;
  readonly peer: string;
  readonly results: readonly BenchResult[];
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** What is drawn together. Times, and what compares dipc with itself, are only in the table. */
const GROUPS: readonly (Omit<Group, "results"> & { readonly names: RegExp })[] = [
  {
    title: "Batches that travel: times as fast as Apache Arrow’s own ways (pyarrow)",
    peer: "peer",
    names: /^(?:cold|keep|small|file|clients)/,
  },
  {
    title: "Batches that are read in the server’s memory",
    peer: "peer",
    names: /^shared\/(?!.*\/private$)/,
  },
  { title: "Flight, a gateway and SQL", peer: "peer", names: /^(?:flight|gateway|sql)\// },
  {
    title: "Formats, databases and C interfaces",
    peer: "peer",
    names: /^(?:parquet|csv|ndjson|postgres|duckdb|c-data\/(?:import|export))/,
  },
  {
    title: "Share of what UCX itself carries (ucx_perftest, same settings)",
    peer: "ucx_perftest",
    names: /^hot\//,
  },
];

function groupsOf(report: BenchReport): Group[] {
  const rates = report.results.filter(({ unit }) => unit !== "ms");
  return GROUPS.map(({ names, ...group }) => ({ ...group, results: rates.filter(({ name }) => names.test(name)) }))
    .filter(({ results }) => results.length > 0);
}

/** A round number at or above `value`, so that the bars end on a readable scale. */
function scaleEnd(value: number): number {
  return value <= 1.25 ? 1.25 : value <= 2 ? 2 : Math.ceil(value);
}

function drawGroup(group: Group, top: number): { svg: string; bottom: number } {
  const end = scaleEnd(Math.max(1, ...group.results.map(({ ratio, ratioMax }) => Math.min(ratioMax, ratio * 1.6))));
  const share = end <= LINEAR_END
    ? (ratio: number) => ratio / end
    : (ratio: number) => Math.log(Math.max(ratio, LOWEST) / LOWEST) / Math.log(end / LOWEST);
  const x = (ratio: number) => BAR_LEFT + share(Math.min(ratio, end)) * (BAR_RIGHT - BAR_LEFT);
  const first = top + 52;
  const bottom = first + group.results.length * ROW;
  const parts = [
    `<text class="group" x="24" y="${top + 20}">${
      escape(group.title + (end <= LINEAR_END ? "" : ", logarithmic"))
    }</text>`,
    `<text class="mark" x="${x(1).toFixed(1)}" y="${top + 42}" text-anchor="middle">${escape(group.peer)} = 1</text>`,
  ];
  group.results.forEach((result, i) => {
    const middle = first + i * ROW + ROW / 2;
    const label = labelOf(result.name);
    const y = middle - BAR / 2;
    parts.push(
      `<g><title>${escape(`${result.name}: ${label}, against ${result.peerName}`)}</title>`,
      `<text x="${BAR_LEFT - 12}" y="${middle - 1}" text-anchor="end">${escape(result.name)}</text>`,
      `<text class="quiet" x="${BAR_LEFT - 12}" y="${middle + 13}" text-anchor="end">${escape(label)}</text>`,
      `<rect class="track" x="${BAR_LEFT}" y="${y}" width="${BAR_RIGHT - BAR_LEFT}" height="${BAR}" rx="3"/>`,
      `<rect class="bar" x="${BAR_LEFT}" y="${y}" width="${
        (x(result.ratio) - BAR_LEFT).toFixed(1)
      }" height="${BAR}" rx="3"/>`,
      `<line class="spread" x1="${x(result.ratioMin).toFixed(1)}" x2="${
        x(result.ratioMax).toFixed(1)
      }" y1="${middle}" y2="${middle}"/>`,
      `<text class="ratio" x="${BAR_RIGHT + 14}" y="${middle + 4.5}">${
        result.ratio.toFixed(result.ratio >= 100 ? 0 : result.ratio >= 10 ? 1 : 2)
      }×</text>`,
      `<text class="quiet" x="${BAR_RIGHT + 70}" y="${middle + 4.5}">${
        escape(`${formatNumber(result.ours)} : ${formatNumber(result.peer)} ${result.unit}`)
      }</text></g>`,
    );
  });
  parts.push(`<line class="peer" x1="${x(1).toFixed(1)}" x2="${x(1).toFixed(1)}" y1="${first - 4}" y2="${bottom}"/>`);
  return { svg: parts.join("\n"), bottom };
}

/** The chart of a run: one bar per result, a thin line for the spread of its rounds, a dashed line at the value of the peer. */
export function drawChart(report: BenchReport): string {
  const parts: string[] = [];
  let top = 64;
  for (const group of groupsOf(report)) {
    const { svg, bottom } = drawGroup(group, top);
    parts.push(svg);
    top = bottom + 22;
  }
  const { machine, libucp } = report;
  const facts = `${machine.cpu}, ${machine.cores} cores · UCX ${libucp.version} · Deno ${machine.deno} · pyarrow ${
    report.pyarrow ?? "–"
  }`;
  const how = `median of ${report.results[0]?.rounds ?? 0} rounds in turn with the peer, both ends on one core each · ${
    report.date.slice(0, 10)
  }`;
  const height = top + 56;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="dipc next to its peers">
<style>${STYLE}</style>
<text class="title" x="24" y="36">dipc: Arrow batches from process to process in Deno</text>
${parts.join("\n")}
<text class="quiet" x="24" y="${top + 14}">${escape(facts)}</text>
<text class="quiet" x="24" y="${top + 34}">${escape(how)}</text>
</svg>
`;
}
