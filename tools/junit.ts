/**
 * Reads the JUnit report of `deno test`.
 *
 * @module
 */

/** Outcome of one test or step. */
export interface CaseResult {
  /** Its name; a step's is `test > step`. */
  readonly name: string;
  /** What became of it. */
  readonly outcome: "passed" | "failed" | "skipped";
  /** First line of the error, if it failed. */
  readonly message: string;
}

const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };

function unescapeXml(text: string): string {
  return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, hex, decimal, name) => {
    if (name !== undefined) return ENTITIES[name] ?? whole;
    return String.fromCodePoint(hex !== undefined ? parseInt(hex, 16) : Number(decimal));
  });
}

/**
 * The results in a report, each counted once: a test with steps is counted by its steps, unless it failed by itself.
 *
 * @param xml What `deno test --junit-path` wrote
 */
export function readJunit(xml: string): CaseResult[] {
  const cases: CaseResult[] = [];
  for (const [, attributes, body] of xml.matchAll(/<testcase\b([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g)) {
    const name = unescapeXml(/\bname="([^"]*)"/.exec(attributes)?.[1] ?? "");
    const failure = /<(?:failure|error)\b[^>]*?message="([^"]*)"/.exec(body ?? "");
    const hasFailed = /<(?:failure|error)\b/.test(body ?? "");
    const outcome = hasFailed ? "failed" : /<skipped\b/.test(body ?? "") ? "skipped" : "passed";
    cases.push({ name, outcome, message: unescapeXml(failure?.[1] ?? "").split("\n")[0] });
  }
  const parents = new Set<string>();
  for (const { name } of cases) {
    for (let at = name.lastIndexOf(" > "); at > 0; at = name.lastIndexOf(" > ", at - 1)) parents.add(name.slice(0, at));
  }
  const isOnlyTheSum = ({ name, outcome, message }: CaseResult): boolean =>
    parents.has(name) && (outcome !== "failed" || /^\d+ test steps? failed/.test(message));
  return cases.filter((result) => !isOnlyTheSum(result));
}
