/**
 * Checks an implementation of Arrow's asynchronous device stream against the rules of `arrow/c/abi.h`:
 *
 *   deno task async:rules IMPLEMENTATION [--list] [--filter TEXT] [--json]
 *
 * The implementation is a shared object that exports the functions of `native/async_conformance/kit.h`, or one that this repository
 * builds: `sample` (a producer and a consumer in C), `arrow-cpp`, `arrow-go`. Exits with 0 if all rules are kept, 1 if one is broken,
 * and 2 if the check could not be made.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import {
  buildArrowCpp,
  buildArrowGo,
  buildChecker,
  buildSample,
  checkAll,
  type Finding,
  loadKit,
  rolesOf,
  type Rule,
  rulesOf,
} from "./async_kit.ts";
import { findPeers } from "./peers.ts";

const USAGE = "usage: deno task async:rules IMPLEMENTATION [--list] [--filter TEXT] [--json]";

/** The findings as a table of Markdown. */
function tableOf(rows: readonly (readonly string[])[]): string {
  const escaped = rows.map((row) => row.map((cell) => cell.replaceAll("|", "\\|")));
  const widths = escaped[0].map((_, i) => Math.max(...escaped.map((row) => row[i].length)));
  const line = (row: readonly string[]): string => `| ${row.map((cell, i) => cell.padEnd(widths[i])).join(" | ")} |`;
  const rule = line(widths.map((width) => "-".repeat(width)));
  return [line(escaped[0]), rule, ...escaped.slice(1).map(line)].join("\n");
}

function listOf(rules: readonly Rule[]): string {
  return tableOf([
    ["role", "rule", "place in abi.h", "sentence"],
    ...rules.map(({ role, name, place, sentence }) => [role, name, place, sentence]),
  ]);
}

function reportOf(findings: readonly Finding[]): string {
  const rows = findings.map(({ role, name, place, result, detail }) => [role, name, place, result, detail]);
  const kept = findings.filter(({ result }) => result === "kept").length;
  const table = tableOf([["role", "rule", "place in abi.h", "result", "what was seen"], ...rows]);
  return `${table}\n\n${kept} of ${findings.length} rules are kept`;
}

async function implementationOf(name: string, compiler: string): Promise<string> {
  if (name === "sample") return buildSample(compiler);
  if (name === "arrow-go") return await buildArrowGo();
  if (name !== "arrow-cpp") return Deno.realPathSync(name);
  const { arrowCpp } = findPeers();
  if (arrowCpp === null) throw new Error("Arrow C++ is missing: deno task setup");
  return buildArrowCpp(arrowCpp);
}

async function main(args: string[]): Promise<number> {
  const options = parseArgs(args, { boolean: ["list", "json"], string: ["filter"] });
  const [name] = options._.map(String);
  const { list, json, filter = "" } = options;
  if (options._.length > 1 || (name === undefined && !list)) {
    console.error(USAGE);
    return 2;
  }
  const { compiler } = findPeers();
  if (compiler === null) throw new Error("there is no C compiler: sudo apt-get install gcc");
  const rules = rulesOf(loadKit(compiler)).filter((rule) => `${rule.role} ${rule.name} ${rule.place}`.includes(filter));
  if (list) {
    console.log(json ? JSON.stringify(rules, null, 2) : listOf(rules));
    return 0;
  }
  const checker = buildChecker(compiler);
  const implementation = await implementationOf(name, compiler);
  const roles = await rolesOf(checker, implementation);
  const applying = rules.filter(({ role }) => roles.includes(role));
  if (applying.length === 0) throw new Error("no rule applies: it exports no role, or the filter matches nothing");
  const findings = await checkAll(checker, implementation, applying);
  console.log(json ? JSON.stringify(findings, null, 2) : reportOf(findings));
  return findings.every(({ result }) => result === "kept") ? 0 : 1;
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    console.error(`error: ${(error as Error).message}`);
    Deno.exit(2);
  }
}
