/**
 * `deno run -A tools/words.ts [FILE...]`: finds words that a native engineer would not write, in comments, messages, names of
 * tests and documents. The glossary and the reasons are in CONTRIBUTING.md.
 *
 * @module
 */
import { REPOSITORY } from "./repository.ts";

/** Something not to write. */
export interface Rule {
  readonly pattern: RegExp;
  /** What to write instead. */
  readonly advice: string;
}

/** "where" that is no place but a condition: it is followed by a subject and a verb, or by a state. */
const CONDITIONAL_WHERE =
  /(?<!\b(?:say|says|said|saying|know|knows|known|see|sees|find|finds|found|look|looks|tell|tells|show|shows|decide|decides|choose|from|to|of|is|are|and|place|places|point|points|byte|position|offset|folder|exactly|just) )\bwhere (?:it|they|he|there|this|that|these|those|one|none|nobody|nothing|something|somebody|everybody|no|not|neither|either|both|all|some|any|each|every|such|possible|needed|known|given|necessary|a|an|the|its|their|only|bodies|metadata|clients|both) /i;

/** The rules; each is tested with an example that it must find. */
export const RULES: readonly Rule[] = [
  { pattern: CONDITIONAL_WHERE, advice: 'if or when: "where" is for places' },
  {
    pattern:
      /(?<!\b(?:there|where|which|that|this|here|who|it|and) )\b(?:is|are) no (?!longer|more\b|less|better|different|other|good)[a-z]/i,
    advice: "is not a …",
  },
  {
    pattern:
      /\b(?:it|that|this|which|who) (?:is|are|was|were) no (?!longer|more\b|less|better|different|other|good|news|use)[a-z]/i,
    advice: "is not a …",
  },
  { pattern: /\bfor ever\b/i, advice: "forever" },
  { pattern: /\bat one time\b/i, advice: "concurrently, or at once" },
  { pattern: /\b(?:is|are|was|were|be|been|been|what|as) asked for\b/i, advice: "requested" },
  { pattern: /\bgiv(?:es|e|en|ing) up\b|\bgave up\b/i, advice: "abort, stop, cancel or drop" },
  { pattern: /\bin front of\b/i, advice: "before" },
  { pattern: /\b(?:is|are|was|were|be|been) told\b/i, advice: "is notified, learns, or is sent" },
  { pattern: /\bone a line\b/i, advice: "one per line" },
  { pattern: /\bwhole numbers?\b/i, advice: "integer" },
  { pattern: /\broads?\b/i, advice: "route, or staging" },
  { pattern: /\b(?:[Ii]ts|[Tt]heir) bytes\.?(?= *\*\/|$)/, advice: "Size in bytes" },
  { pattern: /\bby itself alone\b|\bin any case\b/i, advice: "always, regardless, or nothing" },
  { pattern: /\bwithout a word\b/i, advice: "silently" },
  { pattern: /\bonce in so many\b|\bnow and then\b/i, advice: "periodically" },
  { pattern: /\bput in order\b|\bmade ready\b/i, advice: "initialised, or prepared" },
  { pattern: /\bleave to (?:fetch|send|read)\b/i, advice: "permission" },
];

/** Files that are read, and those that are not ours to word. */
const READ = /\.(?:ts|md|sh|py|c|h)$/;
const APART =
  /^(?:LICENSE|docs\/measurements\/20|docs\/api\.txt|CHANGELOG\.md|tools\/words\.ts|tests\/repository\/words_test\.ts|src\/flight\/gen\/|tests\/fuzz\/corpus\/)/;

/** Header of the table in CONTRIBUTING.md that quotes the words not to write. */
const GLOSSARY = /^\|\s*write\s*\|\s*not\s*\|$/;

/** One place to mend. */
export interface Offence {
  readonly line: number;
  readonly text: string;
  readonly advice: string;
}

/**
 * What a text should not say.
 *
 * @param text Content of a file
 * @param isProse Whether all of it is read by people; otherwise comments and strings are
 */
export function offencesIn(text: string, isProse: boolean): Offence[] {
  const found: Offence[] = [];
  let isGlossary = false;
  for (const [index, line] of text.split("\n").entries()) {
    isGlossary = isProse && (GLOSSARY.test(line) || (isGlossary && line.startsWith("|")));
    if (isGlossary) continue;
    const read = isProse ? line : prosePart(line);
    if (read === "") continue;
    for (const { pattern, advice } of RULES) {
      if (pattern.test(read)) found.push({ line: index + 1, text: line.trim(), advice });
    }
  }
  return found;
}

/** Comments and string literals of a line of code. */
function prosePart(line: string): string {
  const comment = /(?:^\s*(?:\/\*\*?|\*(?!\/)|#)|\/\/|\/\*\*?)\s?(.*)$/.exec(line)?.[1] ?? "";
  const strings = [...line.matchAll(/"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`|'(?:[^'\\]|\\.)*'/g)].map(([text]) => text);
  return [comment, ...strings.filter((text) => text.includes(" "))].join(" | ");
}

function trackedFiles(): string[] {
  const { stdout } = new Deno.Command("git", { args: ["ls-files"], cwd: REPOSITORY, stdin: "null" }).outputSync();
  return new TextDecoder().decode(stdout).split("\n").filter((file) => READ.test(file) && !APART.test(file));
}

if (import.meta.main) {
  const files = Deno.args.length > 0 ? Deno.args : trackedFiles();
  let count = 0;
  for (const file of files) {
    let text: string;
    try {
      text = await Deno.readTextFile(`${REPOSITORY}/${file}`);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) continue; // deleted, not committed yet
      throw error;
    }
    for (const { line, text: shown, advice } of offencesIn(text, file.endsWith(".md"))) {
      count++;
      console.log(`${file}:${line}: ${advice}\n    ${shown}`);
    }
  }
  if (count > 0) console.log(`${count} places to reword`);
  Deno.exit(count === 0 ? 0 : 1);
}
