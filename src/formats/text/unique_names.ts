/**
 * Names that an object of JSON can have: each once.
 *
 * @module
 */
import { type DataType, type Dictionary, type Field, Type } from "apache-arrow";
import { quoted } from "../../ipc/quote.ts";

/**
 * The names, of which no two are the same: of those that occur again, each gets the first of `_1`, `_2`, … that makes it
 * unique.
 *
 * @param names Names in their order
 */
export function uniqueNames(names: readonly string[]): string[] {
  const all = new Set(names);
  if (all.size === names.length) return [...names];
  const seen = new Set<string>();
  const next = new Map<string, number>();
  return names.map((name) => {
    if (!seen.has(name)) {
      seen.add(name);
      return name;
    }
    let number = next.get(name) ?? 1;
    while (all.has(`${name}_${number}`)) number++;
    next.set(name, number + 1);
    const unique = `${name}_${number}`;
    all.add(unique);
    return unique;
  });
}

/** Most warnings for one schema. */
const MAX_WARNINGS = 10;

/**
 * What to warn about because names of fields occur twice.
 *
 * @param fields Columns of the stream
 * @param areKeys Whether the names of the columns are keys of an object
 * @returns a sentence for each name that is written otherwise, for the first ones if there are many
 */
export function nameWarnings(fields: readonly Field[], areKeys: boolean): string[] {
  const warnings: string[] = [];
  if (areKeys) compareNames(fields, "column", "", warnings);
  for (const field of fields) visit(field.type, field.name, warnings);
  const left = warnings.length - MAX_WARNINGS;
  return left <= 1 ? warnings : [...warnings.slice(0, MAX_WARNINGS), `${left} more names are changed in the same way`];
}

function compareNames(fields: readonly Field[], what: string, where: string, warnings: string[]): void {
  const names = fields.map(({ name }) => name);
  uniqueNames(names).forEach((unique, i) => {
    if (unique === names[i]) return;
    warnings.push(
      `${what} ${i + 1}${where}, ${quoted(names[i])}, is written as ${quoted(unique)}: another ${what} has its name`,
    );
  });
}

function visit(type: DataType, column: string, warnings: string[]): void {
  const inner = type.typeId === Type.Dictionary ? (type as Dictionary).dictionary : type;
  const children: readonly Field[] = inner.children ?? [];
  if (inner.typeId === Type.Struct || inner.typeId === Type.Union) {
    compareNames(children, "field", ` of column ${quoted(column)}`, warnings);
  }
  for (const child of children) visit(child.type, column, warnings);
}
