/**
 * Cases of files and formats: what goes in by `dipc serve` comes out of `dipc get`, by UCX and by Flight, as other programs read it.
 * Python with pyarrow, and with DuckDB for some.
 *
 * @module
 */
import { dipc, getArguments, serve } from "../../tests/support/processes.ts";
import { type Bench, type Case, type Found, python, run } from "./bench.ts";

/** Says what is right about a file that was passed on. */
type Judge = (passed: Passed, output: string) => Promise<Found>;

/** What became of a file on its way. */
interface Passed {
  /** Exit status of `get`, or of `serve` if that refused. */
  readonly code: number;
  /** Standard error of both. */
  readonly text: string;
}

/** Makes the inputs of a case in its folder. @returns what it printed */
async function make({ cases, folder }: Bench, name: string, args: readonly string[] = []): Promise<string> {
  return (await run(python, [`${cases}/${name}.py`, ...args], { cwd: folder })).trim();
}

/** Serves a file and gets it into another one. */
async function pass(input: string, output: string, route: "ucx" | "flight"): Promise<Passed> {
  try {
    await using server = await serve([`x=${input}`, ...(route === "flight" ? ["--flight-port", "0"] : [])]);
    const get = route === "flight"
      ? ["get", `${server.info.flight}/x`, "--route", "flight"]
      : getArguments(server.uris("x"));
    const { code, stderr } = await dipc([...get, "-o", output]);
    server.running.kill("SIGTERM");
    return { code, text: stderr + (await server.running.outcome).stderr };
  } catch (error) {
    return { code: 3, text: String(error) };
  }
}

/** Passes a file by both routes, each into a file of its own; `judge` says what is right about one. */
async function byBothRoutes(
  { folder }: Bench,
  input: string,
  extension: string,
  judge: Judge,
): Promise<Found> {
  const found: Found[] = [];
  for (const route of ["ucx", "flight"] as const) {
    const output = `${folder}/${input}.${route}.${extension}`;
    const judged = await judge(await pass(`${folder}/${input}`, output, route), output);
    found.push({ ok: judged.ok, seen: `${route}: ${judged.seen.trim()}` });
  }
  return all(found);
}

function all(found: readonly Found[]): Found {
  const seen = [...new Set(found.map(({ seen }) => seen.replace(/^(?:ucx|flight): /, "")))];
  return { ok: found.every(({ ok }) => ok), seen: seen.join("; ") };
}

/** Whether a Python expression over `table`, the file as pyarrow reads it, prints the right text; or it was refused by name. */
function reads(expression: string, right: RegExp, refusal?: RegExp): Judge {
  return async ({ code, text }, output) => {
    if (code !== 0) return { ok: refusal?.test(text) ?? false, seen: `status ${code}, ${text}` };
    const reader = {
      parquet: "import pyarrow.parquet as r; table = r.read_table(path)",
      csv: "import pyarrow.csv as r; table = r.read_csv(path)",
      arrow: "import pyarrow as r; table = r.ipc.open_file(path).read_all()",
      arrows: "import pyarrow as r; table = r.ipc.open_stream(path).read_all()",
    }[output.split(".").at(-1)!];
    const program = `import sys; path = sys.argv[1]; ${reader ?? ""}\nprint(${expression})`;
    const seen = await run(python, ["-c", program, output]);
    return { ok: right.test(seen), seen };
  };
}

/** The case's own program reads what came out. */
function rereads(bench: Bench, name: string, right: RegExp): Judge {
  return async ({ code, text }, output) => {
    if (code !== 0) return { ok: false, seen: `status ${code}, ${text}` };
    const seen = await make(bench, name, [output]);
    return { ok: right.test(seen), seen };
  };
}

/** A case whose program makes files that are passed into one format, and read. */
function files(name: string, inputs: Readonly<Record<string, readonly [extension: string, judge: Judge]>>): Case {
  return async (bench) => {
    await make(bench, name);
    const found: Found[] = [];
    for (const [input, [extension, judge]] of Object.entries(inputs)) {
      found.push(await byBothRoutes(bench, input, extension, judge));
    }
    return all(found);
  };
}

/** A case whose program makes a file, and reads what came out. */
function roundTrip(name: string, input: string, extension: string, right: RegExp): Case {
  return async (bench) => {
    await make(bench, name);
    return await byBothRoutes(bench, input, extension, rereads(bench, name, right));
  };
}

/** Nothing was dropped in silence: an error, or a warning. */
const saysSo = (about: RegExp): Judge => ({ text }) => Promise.resolve({ ok: about.test(text), seen: text });
const values = "table.column(0).to_pylist()";
const dates = "[1000, 1970, 2300, 9999]";
const names = "[line.strip() for line in open(path)]";

/** The cases by their names. */
export const FORMATS: Readonly<Record<string, Case>> = {
  ipc_01_csv_null_rows: roundTrip("ipc_01_csv_null_rows", "one_column.arrows", "csv", /pyarrow rows: 5[^]*rows: 5/),
  ipc_02_streams_one_after_the_other: files("ipc_02_streams_one_after_the_other", {
    "two.arrows": ["csv", reads(values, /\[1, 2, 3, 4, 5\]/)],
    "junk.arrows": ["csv", saysSo(/error|warning/)],
  }),
  ipc_03_dictionary_that_changes: files("ipc_03_dictionary_that_changes", {
    "appended.parquet": ["arrow", reads(values, /\['a', 'b', 'c', 'd'\]/)],
    "grows.arrows": ["arrow", reads(values, /\['foo', 'foo', 'foo', 'bar'\]/)],
    "empty_first.arrows": ["arrow", reads(values, /\['Foo', 'Baz'\]/)],
    "null_group.parquet": ["arrow", reads(values, /\[None, None, 'p', 'q'\]/)],
  }),
  async ipc_05_cut_between_batches(bench) {
    const path = `${bench.folder}/cut.arrows`;
    await run("sh", ["-c", `"${python}" "${bench.cases}/ipc_05_cut_between_batches.py" > "${path}"`]);
    const rows = reads("table.num_rows", /^6$/m);
    return await byBothRoutes(bench, "cut.arrows", "csv", async (passed, output) => {
      const { ok, seen } = await rows(passed, output);
      return { ok: ok && /warning/.test(passed.text), seen: `${seen.trim()} rows, ${passed.text}` };
    });
  },
  ipc_07_parquet_of_seconds: roundTrip(
    "ipc_07_parquet_of_seconds",
    "seconds.arrows",
    "parquet",
    /datetime\(2020, 1, 1.*datetime\(2020.*date\(1970, 1, 2\).*time\(1, 0\).*\[datetime/,
  ),
  ipc_07_parquet_string_view: files("ipc_07_parquet_string_view", {
    "view.parquet": ["csv", reads("table.num_rows", /^3$/m)],
    "binary_view.parquet": ["arrows", reads(values, /\[b'a text that is longer than a view', None, b'b'\]/)],
    "nested_view.parquet": ["arrows", reads(values, /\[\['a text that is longer than a view'\], None, \['b'\]\]/)],
    "list_view.parquet": ["arrows", reads(values, /\[\[1, 2\], None, \[\]\]/)],
  }),
  ipc_08_two_columns_of_one_name: files("ipc_08_two_columns_of_one_name", {
    "twice.arrows": ["ndjson", reads(names, /"id":1,"(?!id")[^"]+":"x"/, /"?id"?/)],
    "twice_struct.arrows": ["ndjson", reads(names, /"k":1,"(?!k")[^"]+":"x"/, /"?k"?/)],
    "twice_map.arrows": ["ndjson", reads(names, /1.*2/, /"?k"?/)],
  }),
  ipc_13_interval_months: files("ipc_13_interval_months", {
    "interval.parquet": ["csv", reads("open(path).read()", /P?(1Y2M|14M|14 mon|1 year 2 mon)/, /interval/i)],
  }),
  async ipc_14_very_many_columns(bench) {
    await make(bench, "ipc_14_very_many_columns");
    const [input, output] = [`${bench.folder}/wide.arrow`, `${bench.folder}/wide.arrows`];
    // Each error names the option of the limit that was met.
    const options: string[] = [];
    for (;;) {
      const { code, stderr } = await dipc(["get", input, ...options, "-o", output]);
      const option = code === 0 || options.length >= 8 ? undefined : /is (--max-[a-z-]+)/.exec(stderr)?.[1];
      if (option === undefined || options.includes(option)) {
        const { ok, seen } = await reads("table.num_columns", /^300000$/m)({ code, text: stderr }, output);
        return { ok, seen: `${options.join(" ")}: ${seen}` };
      }
      options.push(option, "500000000");
    }
  },
  ipc_16_flight_failure_is_not_logged: files("ipc_16_flight_failure_is_not_logged", {
    "second_schema.arrows": ["csv", saysSo(/schema/)],
  }),
  ipc_17_int96_far_years: files("ipc_17_int96_far_years", {
    "int96.parquet": ["csv", reads(`all(f"{y}-" in open(path).read() for y in ${dates})`, /True/, /int96/i)],
    "int96_struct.parquet": ["csv", reads(`all(f"{y}-" in open(path).read() for y in ${dates})`, /True/, /int96/i)],
    "int96_list.parquet": ["csv", reads(`all(f"{y}-" in open(path).read() for y in ${dates})`, /True/, /int96/i)],
  }),
  ipc_21_dictionary_of_fixed_size_binary: roundTrip(
    "ipc_21_dictionary_of_fixed_size_binary",
    "codes.arrows",
    "parquet",
    /found: +\[b'abc', None, b'abd'\]/,
  ),
  async ipc_24_categories_day_by_day(bench) {
    const name = "ipc_24_categories_day_by_day";
    await make(bench, name);
    const found: Found[] = [];
    for (const input of ["days.parquet", "days.arrows"]) {
      found.push(await byBothRoutes(bench, input, "parquet", rereads(bench, name, /found: 240 rows/)));
    }
    return all(found);
  },
  async footer_version_absent(bench) {
    await make(bench, "footer_version_absent", ["absent.arrow"]);
    return await byBothRoutes(bench, "absent.arrow", "csv", reads(values, /\[1, 2, 3\]/));
  },
};
