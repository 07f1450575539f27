/** The options of `connect`: what is unknown, or does not apply to the URI, is rejected before anything is sent. */
import { assertEquals, fail } from "@std/assert";
import { connect, type ConnectOptions } from "../../mod.ts";
import { connectCuda, type ConnectCudaOptions } from "../../cuda.ts";
import { choice, parseCommand } from "../../src/cli/args.ts";
import { commands } from "../../src/cli/commands.ts";
import { deviceArgs } from "../../src/cli/device.ts";
import { sourceOf } from "../../src/cli/source.ts";
import { assertDipcError } from "../support/assert.ts";

const UCX = "ucx://127.0.0.1:9/x?want_data=1";
const FLIGHT = "grpc://127.0.0.1:9/x";

Deno.test("an option that cannot apply to the URI is an invalid argument, and the message names it", async () => {
  const cases: [uri: string | string[], options: object, name: string][] = [
    [UCX, { route: "flight" }, 'route: "flight"'],
    [UCX, { route: "shared" }, "route"],
    [UCX, { flight: { token: "t" } }, "flight.token"],
    [UCX, { flight: { path: "x" } }, "flight.path"],
    [[UCX], { flight: { user: "u", password: "p" } }, "flight.user"],
    [UCX, { token: "t" }, "token"],
    [UCX, { timeOutMs: 1 }, "timeOutMs"],
    [UCX, { memory: "cuda:0" }, "connectCuda"],
    [FLIGHT, { bodyUri: UCX }, "bodyUri"],
    [FLIGHT, { flight: { tokens: "t" } }, "flight.tokens"],
    [FLIGHT, { via: "ucx" }, "via"],
    [FLIGHT, { route: "flight", library: "libucp.so.0" }, "library"],
    [FLIGHT, { route: "ucx", flight: { ucxTimeoutMs: 5 } }, "flight.ucxTimeoutMs"],
    [FLIGHT, { ticket: "t", library: "libucp.so.0" }, "a ticket at a Flight server"],
  ];
  for (const [uri, options, name] of cases) {
    const about = JSON.stringify([uri, options]);
    await assertDipcError("invalid_argument", name, () => connect(uri, options as ConnectOptions), about);
  }
  await assertDipcError("invalid_argument", "flight.token", () => connectCuda(UCX, { flight: { token: "t" } }));
  const withPool = { pool: { space: "host", acquire: () => fail("nothing is received") } };
  await assertDipcError("invalid_argument", "the option pool", () => connectCuda(UCX, withPool as ConnectCudaOptions));
});

Deno.test("an option that is undefined counts as left out", async () => {
  const options = { memory: undefined, route: undefined, flight: { token: undefined } } as ConnectOptions;
  // Nobody listens there: the options passed their check.
  await assertDipcError("unreachable", "", () => connect(FLIGHT, { ...options, timeoutMs: 2000 }));
});

Deno.test("former names of options, --via among them, are accepted, are not shown, and mean the same", () => {
  const get = commands.find(({ name }) => name === "get")!;
  const serve = commands.find(({ name }) => name === "serve")!;
  for (const { help } of [get, serve]) assertEquals([...help.matchAll(/--(?:via|road)\b/g)], []);
  const parse = (...words: string[]) => parseCommand(get, words);
  const routeOf = (args: ReturnType<typeof parse>) => {
    const source = sourceOf(args, "get");
    return source.kind === "flight" ? source.options.route : null;
  };
  assertEquals(routeOf(parse(FLIGHT, "--via", "flight")), "flight");
  assertEquals(routeOf(parse(FLIGHT, "--route", "ucx")), "ucx");
  assertEquals(deviceArgs(parse(UCX, "--memory", "cuda:0", "--road", "staged")).staging, "always");
  assertEquals(deviceArgs(parse(UCX, "--memory", "cuda:0", "--road", "direct")).staging, "never");
  assertEquals(deviceArgs(parseCommand(serve, ["x", "--memory", "cuda:0", "--road", "auto"])).staging, "auto");
  assertDipcError(
    "invalid_argument",
    "--route",
    () => sourceOf(parse(FLIGHT, "--via", "ucx", "--route", "ucx"), "get"),
  );
  assertDipcError("invalid_argument", "narrow", () =>
    choice(parse("--road", "narrow"), "staging", ["auto", "never"], {
      option: "road",
    }));
});
