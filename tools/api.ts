/**
 * `deno task api [--check]`: writes the public surface of the package, every name of every entry point with its members and
 * types, to docs/api.txt, so that a review shows what changes for users.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { REPOSITORY } from "./repository.ts";

const PAGE = `${REPOSITORY}/docs/api.txt`;

/** A type as `deno doc --json` gives it. */
interface Type {
  readonly kind: string;
  readonly repr?: string;
  // What it holds depends on the kind.
  // deno-lint-ignore no-explicit-any
  readonly value?: any;
}

interface Parameter {
  readonly kind: string;
  readonly name?: string;
  readonly optional?: boolean;
  readonly tsType?: Type;
  readonly left?: Parameter;
  readonly arg?: Parameter;
}

interface FunctionDef {
  readonly params: readonly Parameter[];
  readonly returnType?: Type;
  readonly typeParams?: readonly { readonly name: string }[];
}

interface Member extends FunctionDef {
  readonly name: string;
  readonly kind?: string;
  readonly tsType?: Type;
  readonly readonly?: boolean;
  readonly optional?: boolean;
  readonly isStatic?: boolean;
  readonly computed?: boolean;
  readonly functionDef?: FunctionDef;
  readonly accessibility?: string;
}

interface Declaration {
  readonly kind: string;
  readonly def: FunctionDef & {
    readonly tsType?: Type;
    readonly extends?: Type | string | readonly Type[];
    readonly implements?: readonly Type[];
    readonly properties?: readonly Member[];
    readonly methods?: readonly Member[];
    readonly constructors?: readonly FunctionDef[];
  };
}

interface Documentation {
  readonly nodes: Record<
    string,
    { readonly symbols: readonly { readonly name: string; readonly declarations: readonly Declaration[] }[] }
  >;
}

const inParentheses = (texts: readonly string[]): string => `(${texts.join(", ")})`;

function typeText(type: Type | undefined): string {
  if (type === undefined) return "unknown";
  const { kind, value, repr } = type;
  switch (kind) {
    case "keyword":
    case "this":
      return repr ?? kind;
    case "literal":
      return value.kind === "string" ? JSON.stringify(value.string) : repr ?? "";
    case "typeRef":
      return value.typeName + (value.typeParams === undefined ? "" : `<${value.typeParams.map(typeText).join(", ")}>`);
    case "union":
      return value.map(typeText).join(" | ");
    case "intersection":
      return value.map(typeText).join(" & ");
    case "indexedAccess":
      return `${typeText(value.objType)}[${typeText(value.indexType)}]`;
    case "array":
      return `${typeText(value)}[]`;
    case "tuple":
      return `[${value.map(typeText).join(", ")}]`;
    case "parenthesized":
      return inParentheses([typeText(value)]);
    case "typeOperator":
      return `${value.operator} ${typeText(value.tsType)}`;
    case "fnOrConstructor":
      return `${inParentheses(value.params.map(parameterText))} => ${typeText(value.tsType)}`;
    case "typeLiteral":
      return `{ ${membersOf(value).join("; ")} }`;
    default:
      throw new Error(`tools/api.ts does not know a type of the kind "${kind}": add it to typeText`);
  }
}

function parameterText(parameter: Parameter): string {
  const { kind, name, optional, tsType, left, arg } = parameter;
  if (kind === "assign") return parameterText({ ...left!, optional: true });
  if (kind === "rest") return `...${parameterText({ ...arg!, tsType: tsType ?? arg!.tsType })}`;
  return `${name ?? "options"}${optional ? "?" : ""}: ${typeText(tsType)}`;
}

function signature({ params, returnType, typeParams }: FunctionDef): string {
  const generic = typeParams === undefined || typeParams.length === 0
    ? ""
    : `<${typeParams.map(({ name }) => name).join(", ")}>`;
  return `${generic}${inParentheses(params.map(parameterText))}: ${typeText(returnType)}`;
}

function methodText(member: Member): string {
  const definition = member.functionDef ?? member;
  const prefix = member.isStatic ? "static " : "";
  const name = member.computed && !member.name.startsWith("[") ? `[${member.name}]` : member.name;
  if (member.kind === "getter") return `${prefix}get ${name}: ${typeText(definition.returnType)}`;
  return `${prefix}${name}${member.optional ? "?" : ""}${signature(definition)}`;
}

function propertyText({ name, tsType, readonly, optional, isStatic }: Member): string {
  return `${isStatic ? "static " : ""}${readonly ? "readonly " : ""}${name}${optional ? "?" : ""}: ${typeText(tsType)}`;
}

function membersOf({ properties = [], methods = [], constructors = [] }: Declaration["def"]): string[] {
  const made = constructors.map(({ params }) => `constructor${inParentheses(params.map(parameterText))}`);
  return [...made, ...properties.map(propertyText), ...methods.map(methodText)];
}

function headOf({ kind, def }: Declaration): string {
  const named = (types: readonly Type[] | undefined, word: string): string =>
    types === undefined || types.length === 0 ? "" : ` ${word} ${types.map(typeText).join(", ")}`;
  const parents = typeof def.extends === "string"
    ? ` extends ${def.extends}`
    : named(def.extends as readonly Type[] | undefined, "extends");
  return kind === "class" ? parents + named(def.implements, "implements") : parents;
}

function linesOf(name: string, declaration: Declaration): string[] {
  const { kind, def } = declaration;
  if (kind === "function") return [`function ${name}${signature(def)}`];
  if (kind === "typeAlias") return [`type ${name} = ${typeText(def.tsType)}`];
  if (kind === "variable") return [`const ${name}: ${typeText(def.tsType)}`];
  return [`${kind} ${name}${headOf(declaration)}`, ...membersOf(def).sort().map((member) => `  ${member}`)];
}

async function documentationOf(file: string): Promise<Documentation> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["doc", "--json", file],
    cwd: REPOSITORY,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(`deno doc ${file} failed: ${decoder.decode(stderr)}`);
  return JSON.parse(decoder.decode(stdout)) as Documentation;
}

/** The surface of the package as text: the names of each entry point in order, with their members. */
export async function publicSurface(): Promise<string> {
  const { exports } = JSON.parse(await Deno.readTextFile(`${REPOSITORY}/deno.json`)) as {
    exports: Record<string, string>;
  };
  const parts: string[] = [];
  for (const [entry, file] of Object.entries(exports)) {
    const symbols = Object.values((await documentationOf(file)).nodes).flatMap(({ symbols }) => symbols);
    const sorted = symbols.toSorted((a, b) => a.name < b.name ? -1 : 1);
    const lines = sorted.flatMap(({ name, declarations }) => declarations.flatMap((each) => linesOf(name, each)));
    parts.push([`# ${entry}  (${file}, ${symbols.length} names)`, "", ...lines, ""].join("\n"));
  }
  return `Made by \`deno task api\`: the public surface of the package.\n\n${parts.join("\n")}`;
}

if (import.meta.main) {
  const args = parseArgs(Deno.args, { boolean: ["check"] });
  const wanted = await publicSurface();
  const found = await Deno.readTextFile(PAGE).catch(() => "");
  if (wanted === found) Deno.exit(0);
  if (args.check) {
    console.error("docs/api.txt is not the public surface of the package: run deno task api, and review what changes");
    Deno.exit(1);
  }
  await Deno.writeTextFile(PAGE, wanted);
}
