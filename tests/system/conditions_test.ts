/**
 * Server and client as users, namespaces, limits and networks have them: every transfer arrives whole, or fails within its
 * time-out with a message that names the cause. `docs/conditions.md` has the table.
 *
 * UCX chooses shared memory with every process of the machine, and in some of these conditions notices only later that it
 * cannot use it, or never: then the client connects once more without it. And UCX spreads data over all interfaces that it
 * believes to lead to the peer, through the wrong one if both hosts have an address in common, so it is limited to the
 * interface of the address.
 */
import { assert, assertEquals, assertGreater, assertLess, assertMatch } from "@std/assert";
import { writeWideFile } from "../support/cli_data.ts";
import { needsUcx, testNeeding, ucxVersions } from "../support/needs.ts";
import { serve } from "../support/processes.ts";
import {
  after,
  asUser,
  fetch,
  needsNamespaces,
  needsTools,
  NetworkPair,
  type Result,
  type Side,
  transfer,
} from "./support/conditions.ts";

const MEGABYTES = 4;
const ROWS = MEGABYTES * 2 ** 17;
const TIMEOUT_SECONDS = 4, START_SECONDS = 8;

/** What must come of a condition. */
interface Expected {
  /** The transports, of a transfer that arrives. */
  over?: RegExp;
  /** Why they are not the fastest. */
  because?: RegExp;
  /** The error, of one that does not. */
  error?: RegExp;
}

interface Case extends Expected {
  name: string;
  server?: Side;
  client?: Side;
}

const SHARED = /sysv|posix/, TCP = /^tcp$/;
const SMALL_SHM = after("mount -t tmpfs -o size=64k tmpfs /dev/shm", ["unshare", "--mount"]);
const NO_SEGMENTS = after("echo 0 > /proc/sys/kernel/shmmni", ["unshare", "--ipc"]);
const DESCRIPTORS = /file descriptors|open no more files/;

/** Of one machine, which need root. */
const NAMESPACES: Case[] = [
  {
    name: "two users",
    server: { within: asUser(1234) },
    client: { within: asUser(1235) },
    over: TCP,
    because: /this user may not open/,
  },
  {
    name: "a client of root, and a server of another user",
    server: { within: asUser(1234) },
    over: TCP,
    because: /the server ended the connection/,
  },
  { name: "IPC namespaces apart", client: { within: ["unshare", "--ipc"] }, over: TCP },
  {
    name: "PID namespaces apart, one IPC namespace",
    client: { within: ["unshare", "--pid", "--fork", "--mount-proc"] },
    over: TCP,
    because: /not found by its process number/,
  },
  { name: "mount namespaces apart", client: { within: ["unshare", "--mount"] }, over: SHARED },
  { name: "/dev/shm of 64 KiB", server: { within: SMALL_SHM }, client: { within: SMALL_SHM }, over: SHARED },
  { name: "a server that may have no shared memory segment", server: { within: NO_SEGMENTS }, over: TCP },
  {
    name: "a client that may have no shared memory segment",
    client: { within: NO_SEGMENTS },
    over: TCP,
    because: /ipcs -l/,
  },
];

/** Of one machine and one user. */
const LIMITS: Case[] = [
  { name: "nothing special", over: SHARED, because: /^$/ },
  ...[24, 32, 48, 64, 96, 128, 256].flatMap((limit): Case[] => {
    const within = after(`ulimit -n ${limit}`);
    const start: Expected = limit <= 64 ? { error: DESCRIPTORS } : { over: SHARED };
    // A server that is close to its limit turns clients away.
    const accept: Expected = limit === 96 ? { error: /the server is full/ } : start;
    return [
      { name: `ulimit -n ${limit} of the client`, client: { within }, ...start },
      { name: `ulimit -n ${limit} of the server`, server: { within }, ...accept },
    ];
  }),
  ...(["server", "client"] as const).flatMap((side): Case[] => {
    const choose = (transports: string, expected: Expected): Case => ({
      name: `UCX_TLS=${transports} of the ${side}`,
      [side]: { env: { UCX_TLS: transports } },
      ...expected,
    });
    const none = (transports: string) => choose(transports, { error: new RegExp(`UCX_TLS=${transports} in the env`) });
    return [choose("tcp", { over: TCP }), none("sm"), none("self"), none("rc"), choose("^sysv", { over: TCP })];
  }),
];

function check(result: Result, expected: Expected): void {
  const shown = JSON.stringify(result);
  if (expected.error !== undefined) {
    // And the start of the process, on a busy machine.
    assertLess(result.milliseconds, (TIMEOUT_SECONDS + START_SECONDS) * 1000, shown);
    assert(result.code !== 0, shown);
    assertMatch(result.error, expected.error);
    return;
  }
  assertEquals([result.code, result.rows, result.error], [0, ROWS, ""], shown);
  assertMatch(
    result.transports.filter((name) => name !== "tcp" || result.transports.length === 1).join(),
    expected.over!,
  );
  assertMatch(result.transportsReason, expected.because ?? /^$/);
}

async function withFile(use: (file: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const file = `${folder}/wide.arrows`;
    writeWideFile(file, MEGABYTES);
    await Deno.chmod(folder, 0o755);
    await use(file);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function both(env: Record<string, string>, { server, client }: { server?: Side; client?: Side }) {
  return {
    server: { ...server, env: { ...env, ...server?.env } },
    client: { ...client, env: { ...env, ...client?.env } },
    timeoutSeconds: TIMEOUT_SECONDS,
  };
}

for (const { label, need, env } of ucxVersions) {
  const table = (cases: readonly Case[]) => async (t: Deno.TestContext): Promise<void> => {
    await withFile(async (file) => {
      for (const each of cases) {
        await t.step(each.name, async () => check(await transfer(file, both(env, each)), each));
      }
    });
  };
  const needsRoot = [need, needsNamespaces, needsTools];

  testNeeding([need], `UCX ${label}: within limits and settings, data arrives or the error names them`, table(LIMITS));
  testNeeding(needsRoot, `UCX ${label}: between users and namespaces of one machine, data arrives`, table(NAMESPACES));

  testNeeding(
    needsRoot,
    `UCX ${label}: two hosts connect though both have a bridge with one address`,
    () =>
      withFile(async (file) => {
        await using pair = await NetworkPair.make("bridge", ["10.77.0"]);
        await pair.addSameBridge("172.17.0.1/16");
        const server = { within: pair.on(0) };
        for (const within of [pair.on(1), [...pair.on(1), "unshare", "--ipc"]]) {
          // With a server on all addresses only the client is limited, which is not enough for UCX 1.13.
          for (const address of label === "1.13.1" ? ["10.77.0.1"] : ["10.77.0.1", "0.0.0.0"]) {
            check(await transfer(file, { ...both(env, { server, client: { within } }), address }), { over: TCP });
          }
        }
      }),
  );

  testNeeding(
    needsRoot,
    `UCX ${label}: between two networks data takes the one of the address`,
    () =>
      withFile(async (file) => {
        await using pair = await NetworkPair.make("nets", ["10.77.0", "10.78.0"]);
        const sides = both(env, { server: { within: pair.on(0) }, client: { within: pair.on(1) } });
        const bytes = () => Promise.all([0, 1].map((wire) => pair.receivedBytes(1, `wire${wire}b`)));
        for (const [wire, address] of ["10.77.0.1", "10.78.0.1"].entries()) {
          const before = await bytes();
          check(await transfer(file, { ...sides, address }), { over: TCP });
          const received = (await bytes()).map((count, i) => count - before[i]);
          assertGreater(received[wire], MEGABYTES * 2 ** 20);
          assertLess(received[1 - wire], 64 * 1024);
        }
      }),
  );
}

/** The namespaces that a container has of its own, but for that of the network. */
const CONTAINER = [
  ...["unshare", "--ipc", "--pid", "--mount", "--uts", "--cgroup"],
  ...["--fork", "--kill-child", "--mount-proc"],
];

/** Clients of a dataset with `share`, served by this user in plain surroundings, and why its memory cannot be used. */
const SHARING: [name: string, client: Side, because: RegExp][] = [
  ["nothing special", {}, /^$/],
  ["another user", { within: asUser(1235) }, /the client is of another user \(1235\)/],
  ["an IPC namespace of its own", { within: ["unshare", "--ipc"] }, /^$/],
  ["a /dev/shm of 64 KiB", { within: SMALL_SHM }, /^$/],
  ["no shared memory segments", { within: NO_SEGMENTS }, /^$/],
  ["a container in the same network", { within: CONTAINER }, /^$/],
  ["a user namespace of its own", { within: ["unshare", "--user", "--map-root-user"] }, /^$/],
  ["UCX_TLS=tcp", { env: { UCX_TLS: "tcp" } }, /^$/],
  ["ulimit -n 128", { within: after("ulimit -n 128") }, /^$/],
];

function checkShared(result: Result, because: RegExp): void {
  const shown = JSON.stringify(result);
  assertEquals([result.code, result.rows], [0, ROWS], shown);
  assertMatch(result.sharingReason!, because, shown);
  assertEquals(result.sharedBytes, result.sharingReason === "" ? result.bodyBytes : 0, shown);
}

testNeeding(
  [needsUcx, needsNamespaces, needsTools],
  "a dataset with share is read in the server's memory by one user in one network namespace",
  async (t) => {
    await withFile(async (file) => {
      await using server = await serve([`x=${file}`, "--share"]);
      for (const [name, client, because] of SHARING) {
        await t.step(name, async () => checkShared(await fetch(server.uri("x"), client, TIMEOUT_SECONDS), because));
      }
      await using foreign = await serve([`x=${file}`, "--share"], { within: asUser(1234) });
      await t.step("a server of another user", async () => {
        checkShared(await fetch(foreign.uri("x"), {}, TIMEOUT_SECONDS), /its socket belongs to the user 1234/);
      });
      await using pair = await NetworkPair.make("share", ["10.79.0"]);
      await using host = await serve([`x=${file}`, "--share", "--address", "10.79.0.1"], { within: pair.on(0) });
      await t.step("a network namespace of its own", async () => {
        const result = await fetch(host.uri("x"), { within: pair.on(1) }, TIMEOUT_SECONDS);
        checkShared(result, /another network namespace/);
      });
    });
  },
);
