/**
 * Which way bodies take between users and namespaces when a server shares its memory: handed out as a descriptor, or lent by a remote
 * key. Every transfer arrives whole, and says why it was not the best way. `docs/shared-memory.md` has the reasons.
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { writeWideFile } from "../support/cli_data.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { dipc, serve } from "../support/processes.ts";
import { printTable } from "../support/table.ts";
import { asUser, needsNamespaces, needsTools, NetworkPair, type Side } from "./support/conditions.ts";

const MEGABYTES = 4;
const ROWS = MEGABYTES * 2 ** 17;

interface Case {
  readonly name: string;
  readonly server?: Side;
  readonly client?: Side;
  /** Address of the server, if it is not the usual one. */
  readonly address?: string;
  /** Why bodies are sent, or fetched: with a descriptor, and with a key. */
  readonly reasons: readonly [RegExp, RegExp];
}

const NONE = /^$/;
const FETCHED = /^bodies are fetched: this process may not map|^bodies are fetched: UCX cannot map/;

/** Conditions of one machine. */
const CASES: Case[] = [
  { name: "nothing special", reasons: [NONE, NONE] },
  {
    name: "two users",
    server: { within: asUser(1234) },
    client: { within: asUser(1235) },
    reasons: [/another user|belongs to the user/, FETCHED],
  },
  { name: "IPC namespaces apart", client: { within: ["unshare", "--ipc"] }, reasons: [NONE, FETCHED] },
  {
    name: "PID namespaces apart",
    client: { within: ["unshare", "--pid", "--fork", "--mount-proc"] },
    reasons: [NONE, FETCHED],
  },
];

async function check(file: string, { name, server, client, address, reasons }: Case): Promise<string[][]> {
  const where = address === undefined ? [] : ["--address", address];
  await using running = await serve([`x=${file}`, "--share", "--remote-keys", ...where], server);
  const uri = running.uri("x");
  const ways = [["descriptor", uri], ["key", uri.replace(/&share=[^&]*/, ""), "--remote-keys"]];
  const rows: string[][] = [];
  for (const [i, [way, location, ...flags]] of ways.entries()) {
    const { code, stdout, stderr } = await dipc(["get", location, "--json", "--timeout", "10s", ...flags], client);
    assertEquals(code, 0, `${name}, ${way}: ${stderr}`);
    const { rows: count, sharedBytes, bodyBytes, sharingReason } = JSON.parse(stdout);
    assertEquals(count, ROWS, `${name}, ${way}`);
    assertMatch(sharingReason, reasons[i], `${name}, ${way}`);
    // What is fetched was read in the server's memory, too.
    const isSent = i === 0 && sharingReason !== "";
    assertEquals(sharedBytes, isSent ? 0 : bodyBytes, `${name}, ${way}`);
    rows.push([name, way, isSent ? "sent" : sharingReason === "" ? "mapped" : "fetched", sharingReason.slice(0, 90)]);
  }
  return rows;
}

testNeeding(
  [needsUcx, needsNamespaces, needsTools],
  "between users and namespaces bodies take the best way that there is, and the reason is said",
  async () => {
    using folder = new TemporaryFolder();
    const file = folder.file("wide.arrows");
    writeWideFile(file, MEGABYTES);
    await Deno.chmod(folder.path, 0o755);
    const rows: string[][] = [];
    for (const each of CASES) rows.push(...await check(file, each));
    await using pair = await NetworkPair.make("share", ["10.79.0"]);
    rows.push(
      ...await check(file, {
        name: "network namespaces apart",
        server: { within: pair.on(0) },
        client: { within: [...pair.on(1), "unshare", "--ipc"] },
        address: "10.79.0.1",
        reasons: [/cannot reach the server's socket/, FETCHED],
      }),
    );
    printTable("bodies of a server that shares its memory", ["condition", "by", "way", "reason"], rows);
  },
);
