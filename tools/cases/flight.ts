/**
 * Cases of Flight: servers and clients by others, and programs that use ours.
 *
 * @module
 */
import { FlightClient, serveFlight } from "../../flight.ts";
import { Authority } from "../../tests/support/certificates.ts";
import { unusedPort } from "../../tests/support/ports.ts";
import { dipc, serve } from "../../tests/support/processes.ts";
import { type Case, python, ROOT, run } from "./bench.ts";

function end(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch {
    // It has ended.
  }
}

/**
 * Runs `use` beside a case that is a server or a proxy in Python, once it listens.
 *
 * @param program Path of the case
 * @param args Its arguments after the port
 * @param use Given the port
 * @param mayProbe Whether it bears a connection without a request
 * @returns what it printed, and what `use` returned
 */
async function beside<T>(
  program: string,
  args: readonly string[],
  use: (port: number) => Promise<T>,
  mayProbe = true,
): Promise<{ printed: string; result: T }> {
  const port = unusedPort();
  const child = new Deno.Command(python, {
    args: ["-u", program, String(port), ...args],
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const output = new Response(child.stdout).text();
  try {
    if (!mayProbe) await new Promise((resolve) => setTimeout(resolve, 1_000));
    for (let tries = 0; mayProbe && tries < 200; tries++) {
      try {
        (await Deno.connect({ hostname: "127.0.0.1", port })).close();
        break;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    const result = await use(port);
    end(child);
    return { printed: await output, result };
  } finally {
    end(child);
    await child.status;
  }
}

/** Fetches from a server in Python; the command must end with 0 after so many rows each. */
function fetches(name: string, flights: readonly (readonly [args: readonly string[], rows: number])[]): Case {
  return async ({ cases }) => {
    const { result } = await beside(`${cases}/${name}.py`, [], async (port) => {
      const seen: string[] = [];
      let ok = true;
      for (const [[flight, ...more], rows] of flights) {
        const outcome = await dipc(["get", `grpc://127.0.0.1:${port}`, flight, ...more, "--json"]);
        const found = outcome.code === 0 ? JSON.parse(outcome.stdout).rows : outcome.stderr;
        ok &&= found === rows;
        seen.push(`${flight}: ${found} rows, status ${outcome.code}, ${Math.round(outcome.milliseconds)} ms`);
      }
      return { ok, seen: seen.join("; ") };
    });
    return result;
  };
}

const ERROR_TEXTS = [/表不存在/, /100% café/, /%E8%A1|\ufffd/, /line1[\n ]line2/, /100% 表 5%/, /x{1000}/, /ok/];

/** The cases by their names. */
export const FLIGHT: Readonly<Record<string, Case>> = {
  flight_01_goaway: fetches("flight_01_goaway", [[["x"], 4]]),
  async flight_02_late_first_message({ cases, folder, stream }) {
    const uploads = `${folder}/uploads`;
    await Deno.mkdir(uploads, { recursive: true });
    await using server = await serve([stream, "--flight-port", "0", "--no-ucx", "--allow-put", uploads]);
    const seen = await run(python, [
      `${cases}/flight_02_late_first_message.py`,
      server.info.flight!.split(":").at(-1)!,
    ]);
    return { ok: seen.match(/OK/g)?.length === 2, seen };
  },
  async flight_03_answer_over_4_mib({ cases }) {
    const { result } = await beside(`${cases}/flight_03_answer_over_4_mib.py`, [], async (port) => {
      const uri = `grpc://127.0.0.1:${port}`;
      const get = await dipc(["get", uri, "many", "--json"]);
      const ls = await dipc(["ls", uri]);
      const action = await dipc(["action", uri, "big"]);
      const rows = get.code === 0 ? JSON.parse(get.stdout).rows : get.stderr;
      const ok = rows === 6000 && ls.code === 0 && action.code === 0 && action.stdout.length > 4 * 2 ** 20;
      return { ok, seen: `get ${rows} rows; ls ${ls.code}; action ${action.code}, ${action.stdout.length} characters` };
    });
    return result;
  },
  flight_04_empty_stream: fetches("flight_04_empty_stream", [[["empty"], 0], [["two"], 3]]),
  async flight_07_location_spelt_differently(bench) {
    const token = `${bench.folder}/token`;
    await Deno.writeTextFile(token, "t");
    return await fetches("flight_07_location_spelt_differently", [[["x", "--token-file", token], 1]])(bench);
  },
  flight_08_black_hole: fetches("flight_08_black_hole", [[["x"], 1]]),
  async flight_14_long_token({ cases }) {
    await using server = await serveFlight({
      auth: { bearer: () => Promise.resolve("u") },
      handlers: { listFlights: () => [] },
    });
    const seen = await run(python, [`${cases}/flight_14_long_token.py`, String(server.port)]);
    const lines = seen.trim().split("\n");
    return { ok: lines.every((line) => /taken|too long|at most|limit/i.test(line)), seen };
  },
  async flight_18_proxy({ cases, folder, stream }) {
    const authority = await Authority.create();
    const { cert, key } = await authority.issue("server");
    const files = { ca: authority.cert, cert, key };
    for (const [name, text] of Object.entries(files)) await Deno.writeTextFile(`${folder}/${name}.pem`, text);
    const tls = ["--tls-cert", `${folder}/cert.pem`, "--tls-key", `${folder}/key.pem`];
    await using server = await serve([stream, "--flight-port", "0", "--no-ucx", ...tls]);
    const uri = `grpc+tls://flight.test:${server.info.flight!.split(":").at(-1)}`;
    const get = ["get", uri, "x", "--json", "--tls-ca", `${folder}/ca.pem`, "--tls-server-name", "localhost"];
    const { printed, result } = await beside(`${cases}/flight_18_proxy.py`, [], async (port) => {
      const env = { https_proxy: `http://127.0.0.1:${port}` };
      return [await dipc(get, { env }), await dipc(get, { env: { ...env, no_proxy: "flight.test" } })];
    }, false);
    const [by, direct] = result;
    const ok = by.code === 0 && direct.code !== 0 && printed.match(/CONNECT flight\.test/g)?.length === 1;
    return { ok, seen: `${printed.trim()}; status ${by.code}, with no_proxy ${direct.code} ${by.stderr}` };
  },
  async flight_22_error_text({ cases }) {
    const { result } = await beside(`${cases}/flight_22_error_text.py`, [], async (port) => {
      await using client = await FlightClient.connect(`grpc://127.0.0.1:${port}`);
      const wrong: number[] = [];
      for (const [index, text] of ERROR_TEXTS.entries()) {
        const error = await client.getFlightInfo({ path: [String(index + 1)] }).then(() => null, (thrown) => thrown);
        if (error?.code !== "invalid_argument" || !text.test(error.message)) wrong.push(index + 1);
      }
      return { ok: wrong.length === 0, seen: `wrong: ${wrong.join() || "none"}` };
    });
    return result;
  },
  async flight_30_tcp_probe({ cases }) {
    const args = ["run", "-A", "--config", `${ROOT}deno.json`, `${cases}/flight_30_tcp_probe.ts`];
    const seen = await run(Deno.execPath(), args, { cwd: ROOT });
    return { ok: /events 0\b/.test(seen), seen };
  },
  async flight_31_program_does_not_end({ cases, stream }) {
    await using server = await serve([stream, "--flight-port", "0", "--no-ucx"]);
    const port = server.info.flight!.split(":").at(-1)!;
    const start = performance.now();
    const program = `${cases}/flight_31_program_does_not_end.ts`;
    const seen = await run(Deno.execPath(), ["run", "-A", "--config", `${ROOT}deno.json`, program, port, "x"], {
      cwd: ROOT,
    });
    const seconds = (performance.now() - start) / 1000;
    return {
      ok: seconds < 15 && seen.trim().endsWith("closed"),
      seen: `${seen}the program took ${seconds.toFixed(1)} s in all`,
    };
  },
};
