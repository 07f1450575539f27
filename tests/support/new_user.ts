/**
 * What a new user does with the README and the documents at hand: each task is a line for a shell, run on a terminal of 80
 * columns, with the status that it ends with and what it must show.
 *
 * @module
 */
import { npmFolder, ROOT, TemporaryFolder } from "./paths.ts";
import { serve, type ServeProcess } from "./processes.ts";
import { python } from "./python.ts";
import { onTerminal, type Shown } from "./terminal.ts";

/** One task. */
export interface Task {
  /** The document that leads to it. */
  readonly page: string;
  /** What the user wants. */
  readonly what: string;
  /** Line for the shell. */
  readonly line: string;
  /** Exit status of the line. Default 0. */
  readonly status?: number;
  /** What must be shown. */
  readonly shows: RegExp;
  /** Answers to the questions of Deno. */
  readonly answers?: readonly (readonly [string, string])[];
}

const YES = Array.from({ length: 5 }, () => ["Allow?", "y\n"] as const);

/** The tasks, in the order of the documents. */
export const TASKS: readonly Task[] = [
  {
    page: "README.md",
    what: "see what there is",
    line: "dipc",
    status: 2,
    shows: /^ {2}get +fetch a dataset or read a file/m,
  },
  {
    page: "README.md",
    what: "serve a file, and stop with Ctrl-C",
    line: "timeout --foreground -s INT 3 bash -c 'exec dipc_plain serve flights.arrow'",
    // timeout's own: it had to send the signal.
    status: 124,
    shows: /^flights +3,000 rows[\s\S]+Ctrl-C stops/m,
  },
  { page: "README.md", what: "fetch it", line: 'dipc get "$URI"', shows: /\n3,000 rows in 3 batches, .* over \w+/ },
  {
    page: "README.md",
    what: "write a file",
    line: 'dipc get "$URI" -o flights.csv && head -n 2 flights.csv',
    shows: /id,fare,zone/,
  },
  { page: "README.md", what: "ask the doctor", line: "dipc doctor", shows: /All is well\./ },
  {
    page: "README.md",
    what: "forget the quotes of the URI",
    line: "dipc get ${URI%%\\?*}",
    status: 2,
    shows: /error\[invalid_uri\]: .*the parameter want_data is missing; give the whole URI/,
  },
  {
    page: "permissions.md",
    what: "run without permissions, and answer Deno's questions",
    line: 'dipc_asking get "$URI" --limit 3',
    shows: /3 rows in 1 batch/,
    answers: YES,
  },
  {
    page: "permissions.md",
    what: "serve by Flight without the network",
    line: "dipc_offline serve flights.arrow --flight-port 8815",
    status: 1,
    shows: /error\[permission_denied\]: .*run again with\s--allow-net=127\.0\.0\.1:8815/,
  },
  {
    page: "examples/README.md",
    what: "get UCX",
    line: "deno_run --allow-ffi --allow-env=DIPC_LIBUCP,HOME,XDG_CACHE_HOME --allow-read=$HOME/.cache,/usr/lib " +
      "--allow-write=$HOME/.cache --allow-run=python3,pip3,pip $CLONE/cli.ts setup",
    shows: /^libucp \d/m,
  },
  {
    page: "examples/README.md",
    what: "run an example",
    line: 'deno_run --allow-ffi --allow-env=DIPC_LIBUCP,HOME,XDG_CACHE_HOME $CLONE/examples/read.ts "$URI"',
    shows: /3000 rows, \d+ bytes/,
  },
  {
    page: "command.md",
    what: "see the columns of a file",
    line: "dipc schema flights.arrow",
    shows: /zone +dictionary/,
  },
  {
    page: "command.md",
    what: "look at thirty rows of a file",
    line: "dipc get flights.arrow --limit 30",
    shows: /\n +29 +7\.25 .*\n\n30 rows in 1 batch/,
  },
  {
    page: "command.md",
    what: "convert a file, and pipe one",
    line: "dipc get flights.arrow -o flights.parquet && dipc get flights.parquet -o - --format csv | head -n 3",
    shows: /flights\.parquet: 3,000 rows[\s\S]*\n0,0,\n/,
  },
  {
    page: "library.md",
    what: "write a program",
    line: 'deno_run --allow-ffi --allow-env=DIPC_LIBUCP,HOME,XDG_CACHE_HOME program.ts "$URI"',
    shows: /3000 rows\n.*closed: cannot read the stream again/,
  },
  {
    page: "text-formats.md",
    what: "see rows as JSON",
    line: "dipc get flights.arrow --limit 2 -o - --format ndjson",
    shows: /^\{"id":0,.*"zone":.*\}\n\{"id":1,/m,
  },
  {
    page: "parquet.md",
    what: "write Parquet, and see what a column became",
    line: "dipc get flights.arrow -o made.parquet && python3 -c 'import pyarrow.parquet as pq; " +
      'print(pq.read_schema("made.parquet").field("zone"))\'',
    shows: /zone: dictionary<values=string/,
  },
  {
    page: "c-interfaces.md",
    what: "hand a batch to a library, and take one over",
    line: "deno_run --allow-ffi c_data.ts",
    shows: /Int32Array\(3\) \[ 1, 2, 3 \]/,
  },
  {
    page: "adbc.md",
    what: "query by a driver without the permissions to look for it",
    line: "dipc get 'adbc:no_such_driver?query=select 1'",
    status: 1,
    shows: /error\[library_not_found\]: cannot open the ADBC driver no_such_driver[\s\S]*--allow-env --allow-read/,
  },
  {
    page: "duckdb.md",
    what: "run SQL over a file before DuckDB is set up",
    line: "XDG_CACHE_HOME=/nowhere dipc query flights.arrow 'select count(*) from t'",
    status: 1,
    shows: /cannot load DuckDB[\s\S]*dipc setup duckdb/,
  },
  { page: "flight-fetch.md", what: "list the flights", line: 'dipc ls "$FLIGHT"', shows: /^flights +3,000 rows/m },
  {
    page: "flight-fetch.md",
    what: "forget the name of the flight",
    line: 'dipc get "$FLIGHT"',
    status: 2,
    shows: /no flight is named; this server has flights;/,
  },
  {
    page: "flight-serve.md",
    what: "upload a file and fetch it again",
    line: 'dipc put flights.arrow "$FLIGHT" copy && dipc get "$FLIGHT/copy" --limit 2',
    shows: /2 rows in 1 batch/,
  },
  { page: "flight-client.md", what: "check the server", line: 'dipc action "$FLIGHT" healthcheck', shows: /^ok\n/m },
  {
    page: "flight-sql.md",
    what: "ask a server for SQL that has none",
    line: 'dipc sql "$FLIGHT" "select 1"',
    status: 1,
    shows: /it\s+is\s+not\s+a\s+Flight\s+SQL\s+server;\s+dipc\s+ls\s+grpc:/,
  },
  {
    page: "flight-sql.md",
    what: "serve tables without a port for Flight",
    line: "dipc serve flights.arrow --sql",
    status: 2,
    shows: /cannot\s+use\s+--sql:\s+it\s+is\s+for\s+Flight;\s+give\s+--flight-port/,
  },
  {
    page: "flight-sql.md",
    what: "forget the statement",
    line: 'dipc sql "$FLIGHT"',
    status: 2,
    shows: /it\s+needs\s+a\s+statement;\s+write\s+dipc\s+sql\s+URI/,
  },
  {
    page: "gateway.md",
    what: "run a gateway to a Flight server, and stop with Ctrl-C",
    line: `timeout --foreground -s INT 3 bash -c 'exec dipc_plain gateway "$FLIGHT" --share'`,
    status: 124,
    shows: /^grpc:\/\/127\.0\.0\.1:\d+[\s\S]+passing calls on to grpc:[\s\S]+Ctrl-C stops/m,
  },
  {
    page: "gateway.md",
    what: "name a second engine without a name",
    line: 'dipc gateway "$FLIGHT" "$FLIGHT"',
    status: 2,
    shows: /error\[invalid_argument\]: .*with\s+several, write NAME=URI for\s+each/,
  },
  {
    page: "observability.md",
    what: "write a trace of a transfer",
    line:
      `dipc get "$FLIGHT/flights" --limit 1 --trace trace.json > shown; grep -o '"name":"dipc.stream","cat":"client"' trace.json`,
    status: 0,
    shows: /dipc\.stream/,
  },
  {
    page: "errors.md",
    what: "use the scheme of the other kind of server",
    line: 'dipc get "grpc://${UCX}/flights"; dipc get "ucx://${FLIGHT#grpc://}/flights?want_data=1"',
    status: 2,
    shows: /a UCX server is at that port[\s\S]*speaks HTTP\/2, as Flight does/,
  },
  {
    page: "troubleshooting.md",
    what: "name a libucp that is not there",
    line: 'DIPC_LIBUCP=/no/libucp.so.0 dipc get "$URI"',
    status: 1,
    shows: /error\[library_not_found\]: [\s\S]*\/no\/libucp\.so\.0/,
  },
  {
    page: "wire.md",
    what: "fetch metadata and bodies from two ports",
    line: 'dipc get "$METADATA_URI" --body-uri "$BODY_URI"',
    shows: /3,000 rows in 3 batches/,
  },
  {
    page: "device-memory.md",
    what: "receive into a GPU that is not there",
    line: 'DIPC_LIBCUDA=/no/libcuda.so.1 dipc_cuda get "$URI" --memory cuda:0',
    status: 1,
    shows: /error\[library_not_found\]: .*libcuda/,
  },
  {
    page: "isolates.md",
    what: "serve with every core, and stop with Ctrl-C",
    line: "timeout --foreground -s INT 8 bash -c 'exec dipc_plain serve flights.arrow --isolates 2'",
    status: 124,
    shows: /^flights +3,000 rows[\s\S]+ucx:[\s\S]+ucx:[\s\S]+Ctrl-C stops/m,
  },
  {
    page: "shared-memory.md",
    what: "serve a file to be read in place, and stop with Ctrl-C",
    line: "timeout --foreground -s INT 3 bash -c 'exec dipc_plain serve flights.arrow --share'",
    status: 124,
    shows: /^flights +3,000 rows[\s\S]+share=dipc-[\s\S]+Ctrl-C stops/m,
  },
  {
    page: "python.md",
    what: "read by a pipe",
    line: "dipc get flights.arrow -o - | python3 -c 'import sys, pyarrow as pa; " +
      'print(pa.ipc.open_stream(sys.stdin.buffer).read_all().num_rows, "rows")\'',
    shows: /3000 rows/,
  },
];

const PROGRAM = `
import { connect } from "@arrow-ucx/dipc";

await using stream = await connect(Deno.args[0]);
console.log((await stream.toTable()).numRows, "rows");
try {
  await stream.toTable();
} catch (error) {
  console.log(\`\${error.code}: \${error.message}\`);
}
`;

/** Folder, servers and shell functions for the tasks. */
export class NewUser implements AsyncDisposable {
  readonly #folder = new TemporaryFolder();
  readonly #servers: ServeProcess[] = [];
  #preamble = "";
  #env: Record<string, string> = {};

  /** Starts the servers. @param file The Arrow file to serve and work with */
  static async open(file: Uint8Array): Promise<NewUser> {
    const user = new NewUser();
    const folder = user.#folder;
    Deno.writeFileSync(folder.file("flights.arrow"), file);
    Deno.writeTextFileSync(folder.file("program.ts"), PROGRAM);
    const [, handOver] = /```ts\n([^]*?)```/.exec(Deno.readTextFileSync(`${ROOT}/docs/c-interfaces.md`))!;
    Deno.writeTextFileSync(folder.file("c_data.ts"), handOver);
    Deno.mkdirSync(folder.file("uploads"));
    Deno.mkdirSync(folder.file("bin"));
    const flights = folder.file("flights.arrow");
    const one = await serve([flights, "--flight-port", "0", "--allow-put", folder.file("uploads")]);
    const two = await serve([flights, "--metadata-port", "0"]);
    user.#servers.push(one, two);
    const uri = one.uri("flights"), [metadata, body] = two.uris("flights");
    const python3 = python ?? "python3";
    user.#env = {
      ...{ URI: uri, METADATA_URI: metadata, BODY_URI: body, FLIGHT: one.info.flight!, CLONE: ROOT, NO_COLOR: "1" },
      UCX: `127.0.0.1:${one.info.port}`,
      PATH: `${folder.file("bin")}:${python3.replace(/\/?[^/]*$/, "")}:${Deno.env.get("PATH")}`,
    };
    const run = `"${Deno.execPath()}" run -q --config "${ROOT}/deno.json"`;
    // What is written for the clone's folder holds for that of the task, too.
    const alias = /^alias dipc='deno run (.*) cli\.ts'$/m.exec(Deno.readTextFileSync(`${ROOT}/README.md`))![1]
      .replace("$HOME/.cache/deno/npm", await npmFolder()).replace("=.,", `=.,${ROOT},`);
    const cli = `"${ROOT}/cli.ts" "$@"`;
    user.#preamble = [
      `deno_run() { ${run} --no-prompt "$@"; }`,
      `dipc() { ${run} ${alias} ${cli}; }`,
      `dipc_asking() { ${run} ${cli}; }`,
      `dipc_offline() { ${run} ${alias.replace("--allow-net ", "")} ${cli}; }`,
      `dipc_cuda() { ${run} ${alias.replace("--allow-env=", "--allow-env=DIPC_LIBCUDA,")} ${cli}; }`,
    ].join("\n");
    // A program and not a function, for what starts programs.
    Deno.writeTextFileSync(folder.file("bin/dipc_plain"), `#!/bin/sh\nexec ${run} ${alias} ${cli}\n`, { mode: 0o755 });
    return user;
  }

  /** Does a task. @returns what it showed, without the folder's name */
  async do(task: Task): Promise<Shown> {
    return await onTerminal(["bash", "-c", `${this.#preamble}\n${task.line}`], {
      cwd: this.#folder.path,
      env: this.#env,
      answers: task.answers,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) await server[Symbol.asyncDispose]();
    this.#folder[Symbol.dispose]();
  }
}
