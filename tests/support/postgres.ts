/**
 * A PostgreSQL server for one test: made in a temporary folder, and removed at its end.
 *
 * @module
 */
import type { Postgres } from "../../tools/peers.ts";
import { unusedPort } from "./ports.ts";

/** User and group that the server runs as if the tests run as root, which it refuses: `nobody` of Debian. */
const NOBODY = 65_534;
/** Longest time for the server to start, in milliseconds. */
const START_MS = 60_000;
const USER = "dipc";

/** A running server. */
export interface PostgresServer extends AsyncDisposable {
  /** URI of its database. */
  readonly uri: string;
  /** Runs SQL with psql. @returns What it printed, without headers */
  psql(sql: string): Promise<string>;
  /** Ends the server at once, as a crash would. Idempotent. */
  stop(): Promise<void>;
}

/** Starts a server. */
export async function startPostgres(postgres: Postgres): Promise<PostgresServer> {
  const folder = await Deno.makeTempDir({ prefix: "dipc-postgres-" });
  try {
    const isRoot = Deno.uid() === 0;
    const installed = isRoot ? await readable(postgres, folder) : postgres.folder;
    const programs = `${installed}/${postgres.programs}`;
    const options: Deno.CommandOptions = {
      cwd: folder,
      env: { LD_LIBRARY_PATH: `${installed}/${postgres.libraries}`, LC_ALL: "C", TZ: "UTC" },
      stdin: "null",
      ...(isRoot ? { uid: NOBODY, gid: NOBODY } : {}),
    };
    const data = `${folder}/data`;
    await Deno.mkdir(data, { mode: 0o700 });
    if (isRoot) await Deno.chown(data, NOBODY, NOBODY);
    const settings = ["-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", "-N"];
    await succeeded(`${programs}/initdb`, { ...options, args: ["-D", data, ...settings] });
    const port = unusedPort();
    const server = await startServer(`${programs}/postgres`, data, port, options);
    const uri = `postgresql://${USER}@127.0.0.1:${port}/postgres`;
    let isStopped = false;
    const stop = async (): Promise<void> => {
      if (!isStopped) server.kill("SIGQUIT");
      isStopped = true;
      await server.status;
    };
    return {
      uri,
      stop,
      psql: (sql) => succeeded(`${programs}/psql`, { ...options, args: [uri, "-X", "-A", "-t", "-q", "-c", sql] }),
      [Symbol.asyncDispose]: async () => {
        await stop();
        await Deno.remove(folder, { recursive: true });
      },
    };
  } catch (error) {
    await Deno.remove(folder, { recursive: true });
    throw error;
  }
}

/** A copy of the programs that another user may read: the folder of root's cache is not open to others. */
async function readable({ folder, programs, libraries }: Postgres, target: string): Promise<string> {
  await Deno.chmod(target, 0o755);
  const parts = [
    ...["postgres", "initdb", "psql"].map((name) => `${programs}/${name}`),
    "usr/share/postgresql",
    libraries,
  ];
  const modules = `${programs}/../lib`;
  const names = [...Deno.readDirSync(`${folder}/${modules}`)].map(({ name }) => name);
  for (const name of names) if (/\.so$/.test(name) && !name.startsWith("llvm")) parts.push(`${modules}/${name}`);
  await succeeded("cp", { cwd: folder, args: ["-rd", "--parents", ...parts, target] });
  return target;
}

async function startServer(
  program: string,
  data: string,
  port: number,
  options: Deno.CommandOptions,
): Promise<Deno.ChildProcess> {
  const settings = ["listen_addresses=127.0.0.1", `port=${port}`, "unix_socket_directories=", "fsync=off", "jit=off"];
  settings.push("shared_buffers=64MB", "max_connections=20", "autovacuum=off");
  const args = ["-D", data, ...settings.flatMap((setting) => ["-c", setting])];
  const server = new Deno.Command(program, { ...options, args, stdout: "null", stderr: "piped" }).spawn();
  let said = "";
  const isReady = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => isReady.resolve(false), START_MS);
  const listen = async (): Promise<void> => {
    for await (const text of server.stderr.pipeThrough(new TextDecoderStream())) {
      said += text;
      if (said.includes("ready to accept connections")) isReady.resolve(true);
    }
    isReady.resolve(false);
  };
  void listen();
  const isUp = await isReady.promise;
  clearTimeout(timer);
  if (isUp) return server;
  server.kill("SIGQUIT");
  await server.status;
  throw new Error(`PostgreSQL did not start: ${said}`);
}

async function succeeded(program: string, options: Deno.CommandOptions): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, options).output();
  const text = new TextDecoder();
  if (!success) throw new Error(`${program} failed: ${text.decode(stderr)}`);
  return text.decode(stdout).trim();
}
