/**
 * `dipc serve` for clients that take messages of up to 4 MiB, as gRPC's libraries are by default: arrow-go's and
 * grpc-js's; and pyarrow's, which has no limit.
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { pythonClient } from "../support/flight_python.ts";
import { type Counts, countStreams, LARGE_FILES, writeLargeFiles } from "../support/large_files.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { type Found, peers, peerTest } from "../support/peers.ts";
import { serve, type ServeProcess } from "../support/processes.ts";
import { printTable } from "../support/table.ts";

/** What a client has read of a flight, or why it has not. */
type Read = Partial<Counts> & { readonly error?: string };

/** Reads flights of a server at an address, one outcome per path. */
type DefaultClient = (address: string, paths: readonly string[]) => Promise<Read[]>;
type Needs = Found<"goPrograms" | "grpcJs" | "python">;

const NEEDS = ["goPrograms", "grpcJs", "python"] as const;
/** Clients that refuse messages of more than 4 MiB. */
const LIMITED = ["arrow-go", "grpc-js"];

/** Runs a program that prints a line of JSON for each path. */
async function lines<T>(command: string, args: readonly string[]): Promise<T[]> {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    env: { NO_COLOR: "1" },
    signal: AbortSignal.timeout(120_000),
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim().split("\n").map((line) => JSON.parse(line));
}

function defaultClients({ goPrograms, grpcJs }: Needs): Record<string, DefaultClient> {
  return {
    "arrow-go": (address, paths) => lines<Read>(goPrograms.defaultClient, [address, ...paths]),
    "grpc-js": (address, paths) => readByGrpcJs(grpcJs.folder, address, paths),
    async pyarrow(address, paths) {
      const steps = paths.map((path) => ["get_sum", [path]] as const);
      const results = await pythonClient({ location: `grpc://${address}`, steps });
      return results.map(({ value, message }) => value ?? { error: message });
    },
  };
}

async function readByGrpcJs(modules: string, address: string, paths: readonly string[]): Promise<Read[]> {
  using folder = new TemporaryFolder();
  const program = ["run", "-A", "-q", "--no-check", `${ROOT}/tests/flight/support/grpc_js_program.ts`];
  const args = [...program, modules, folder.path, address, ...paths];
  const found = await lines<{ file?: string; error?: string }>(Deno.execPath(), args);
  const counts = await countStreams(found.flatMap(({ file = [] }) => file)).then((all) => all.values());
  return found.map(({ error }) => error === undefined ? counts.next().value! : { error });
}

const addressOf = (server: ServeProcess): string => (server.info as { flight?: string }).flight!.replace("grpc://", "");

const nameOf = (file: string): string => file.replace(/\..*/, "");

peerTest(NEEDS, "default clients read what dipc cuts for them, and refuse a batch that is not cut", async (found) => {
  using folder = new TemporaryFolder();
  await writeLargeFiles(folder.path);
  const files = Object.keys(LARGE_FILES).map((name) => folder.file(name));
  const args = [...files, "--flight-port", "0", "--no-ucx"];
  await using byDefault = await serve(args);
  await using cutting = await serve([...args, "--max-batch", "4M"]);
  const names = Object.keys(LARGE_FILES) as (keyof typeof LARGE_FILES)[];
  const rows: string[][] = [];
  await Promise.all(
    Object.entries(defaultClients(found)).map(async ([client, read]) => {
      const [doubles, whole] = await read(addressOf(byDefault), ["doubles", "large"]);
      const cut = await read(addressOf(cutting), names.map(nameOf));
      const all = [[doubles, names[0], "default"] as const, ...cut.map((read, i) => [read, names[i], "4M"] as const)];
      for (const [{ batches, error, ...counts }, file, option] of all) {
        rows.push([client, file, option, error ?? [counts.rows, counts.columns, batches].join(" / ")]);
        assertEquals({ ...counts, error }, { ...LARGE_FILES[file], error: undefined }, `${client}: ${file}`);
      }
      rows.push([client, "large.arrow", "default", whole.error ?? "read"]);
      if (LIMITED.includes(client)) assertMatch(whole.error!, /larger than max/);
      else assertEquals(whole.rows, LARGE_FILES["large.arrow"].rows);
    }),
  );
  printTable(
    `clients as they are by default: arrow-go ${peers.goPrograms!.version}, grpc-js ${peers.grpcJs!.version}, pyarrow`,
    ["client", "file", "--max-batch", "rows / columns / batches, or the error"],
    rows.sort(),
  );
});
