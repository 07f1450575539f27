/**
 * `deno task demo`: a real data set travels from a server process to a client process over UCX.
 *
 * Fetches what is missing first (UCX, the data set), and says so.
 *
 * @module
 */
import { type DataName, fetchData } from "./data.ts";
import { REPOSITORY } from "./repository.ts";
import { prepare } from "./setup.ts";

/** What `dipc serve --json` prints. */
interface Announcement {
  readonly pid: number;
  readonly datasets?: ReadonlyArray<{ readonly name: string; readonly uris: readonly string[] }>;
}

/** Longest time that either process may take for anything. */
const TIMEOUT_MS = 60_000;
const DATA: readonly DataName[] = ["flights-200k.arrow", "flights-3m.parquet"];

function dipc(args: string[], options: Pick<Deno.CommandOptions, "stdout">): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-A", "--no-prompt", `${REPOSITORY}/cli.ts`, ...args],
    cwd: REPOSITORY,
    stdin: "null",
    stdout: options.stdout,
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).spawn();
}

/** The first line of a stream; the rest is read and dropped, so that the writer never waits. */
async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("\n")) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`the server ended before it announced itself; it had printed ${JSON.stringify(text)}`);
    text += value;
  }
  (async () => {
    while (!(await reader.read()).done);
  })().catch(() => {});
  return text.slice(0, text.indexOf("\n"));
}

/** Runs the demo. @returns exit status */
async function demo(): Promise<number> {
  if (!await prepare({ peers: false })) return 1;
  const paths: string[] = [];
  for (const name of DATA) paths.push(await fetchData(name, (line) => console.error(`setup: ${line}`)));

  const command = ["serve", "--json", ...paths];
  console.log(`\n$ dipc ${command.join(" ")}`);
  const server = dipc(command, { stdout: "piped" });
  try {
    const line = await firstLine(server.stdout);
    console.log(line);
    const { pid, datasets } = JSON.parse(line) as Announcement;
    if (datasets === undefined) return 1; // An error, which the server has explained.
    for (const { uris } of datasets) {
      console.log(`\n$ dipc get '${uris[0]}'      (a second process; the server is process ${pid})`);
      const { code } = await dipc(["get", uris[0]], { stdout: "inherit" }).status;
      if (code !== 0) {
        console.error(`the client ended with status ${code}`);
        return 1;
      }
    }
  } finally {
    try {
      server.kill("SIGINT");
    } catch {
      // It has ended by itself.
    }
    await server.status;
  }
  console.log("\nReal data sets went from one process to another over UCX. Try it with files of your own:");
  console.log("  npx -y deno@2.9.6 run -A cli.ts serve FILE.arrow");
  console.log("  npx -y deno@2.9.6 run -A cli.ts get URI -o COPY.parquet");
  return 0;
}

if (import.meta.main) Deno.exit(await demo());
