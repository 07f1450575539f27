/**
 * Reads TOML, as far as manifests of ADBC drivers use it: all of TOML 1.0, dates as text.
 *
 * @module
 */
import { LocalError } from "../errors.ts";

/** A value of TOML. */
export type TomlValue = string | number | bigint | boolean | TomlValue[] | TomlTable;

/** A table of TOML, without a prototype. */
export interface TomlTable {
  [key: string]: TomlValue;
}

/** Deepest nesting of arrays and inline tables. */
const MAX_DEPTH = 64;
const ESCAPES: Readonly<Record<string, string>> = {
  ...{ b: "\b", t: "\t", n: "\n", f: "\f", r: "\r", '"': '"', "\\": "\\" },
};

/**
 * Parses a document.
 *
 * @param text The document
 * @param name What it is, for the message, such as the path of the file
 * @throws {DipcError} `invalid_data` naming the line
 */
export function parseToml(text: string, name: string): TomlTable {
  return new Parser(text, name).document();
}

class Parser {
  readonly #text: string;
  readonly #name: string;
  #at = 0;
  /** Tables that were opened by a header, which no other header may open again. */
  readonly #defined = new Set<TomlValue>();
  /** Arrays of tables. */
  readonly #lists = new Set<TomlValue>();
  /** Inline tables and arrays, to which nothing can be added. */
  readonly #complete = new Set<TomlValue>();

  constructor(text: string, name: string) {
    this.#text = text.replaceAll("\r\n", "\n").replace(/^\ufeff/, "");
    this.#name = name;
  }

  document(): TomlTable {
    const root = emptyTable();
    let table = root;
    for (this.#skip(true); this.#at < this.#text.length; this.#skip(true)) {
      if (this.#peek("[")) table = this.#header(root);
      else this.#pair(table, 0);
      this.#skip(false);
      if (this.#at < this.#text.length && !this.#peek("\n")) throw this.#fault("something follows on the line");
    }
    return root;
  }

  #header(root: TomlTable): TomlTable {
    const isList = this.#text.startsWith("[[", this.#at);
    this.#at += isList ? 2 : 1;
    const keys = this.#keys();
    this.#expect(isList ? "]]" : "]");
    const last = keys.pop()!;
    let table = root;
    for (const key of keys) table = this.#enter(table, key);
    if (isList) return this.#append(table, last);
    const found = this.#enter(table, last);
    if (this.#defined.has(found)) throw this.#fault(`the table ${last} is defined twice`);
    this.#defined.add(found);
    return found;
  }

  #append(table: TomlTable, key: string): TomlTable {
    const list = table[key] ??= this.#newList();
    if (!this.#lists.has(list)) throw this.#fault(`${key} is not an array of tables`);
    const item = emptyTable();
    (list as TomlValue[]).push(item);
    return item;
  }

  #newList(): TomlValue[] {
    const list: TomlValue[] = [];
    this.#lists.add(list);
    return list;
  }

  /** The table below a key, the last one of an array of tables. */
  #enter(table: TomlTable, key: string): TomlTable {
    const found = table[key] ??= emptyTable();
    if (this.#lists.has(found)) return (found as TomlTable[]).at(-1)!;
    if (typeof found !== "object" || Array.isArray(found) || this.#complete.has(found)) {
      throw this.#fault(`${key} is not a table that can be added to`);
    }
    return found;
  }

  #pair(table: TomlTable, depth: number): void {
    const keys = this.#keys();
    this.#expect("=");
    this.#skip(false);
    const last = keys.pop()!;
    for (const key of keys) {
      table = this.#enter(table, key);
      if (this.#defined.has(table)) throw this.#fault(`the table ${key} is defined twice`);
    }
    if (Object.hasOwn(table, last)) throw this.#fault(`${last} is defined twice`);
    table[last] = this.#value(depth);
  }

  #keys(): string[] {
    const keys: string[] = [];
    do {
      this.#skip(false);
      keys.push(this.#key());
      this.#skip(false);
    } while (this.#take("."));
    return keys;
  }

  #key(): string {
    if (this.#peek('"') || this.#peek("'")) return this.#string(false);
    return this.#match(/[A-Za-z0-9_-]+/y) ?? this.#unexpected("a key");
  }

  #value(depth: number): TomlValue {
    if (depth > MAX_DEPTH) throw this.#fault(`values are nested deeper than ${MAX_DEPTH}`);
    if (this.#peek('"') || this.#peek("'")) return this.#string(true);
    if (this.#take("[")) return this.#array(depth);
    if (this.#take("{")) return this.#inlineTable(depth);
    const word = this.#match(/[^\s,\]}#=]+(?: \d\d:[^\s,\]}#=]+)?/y) ?? this.#unexpected("a value");
    return this.#scalar(word);
  }

  #scalar(word: string): TomlValue {
    if (word === "true" || word === "false") return word === "true";
    if (/^[+-]?(?:inf|nan)$/.test(word)) {
      return word.endsWith("nan") ? NaN : word.startsWith("-") ? -Infinity : Infinity;
    }
    const digits = word.replace(/(?<=[\da-fA-F])_(?=[\da-fA-F])/g, "");
    if (/^(?:[+-]?(?:0|[1-9]\d*)|0x[\da-fA-F]+|0o[0-7]+|0b[01]+)$/.test(digits)) {
      const integer = digits.startsWith("-") ? -BigInt(digits.slice(1)) : BigInt(digits.replace(/^\+/, ""));
      return BigInt(Number(integer)) === integer ? Number(integer) : integer;
    }
    if (/^[+-]?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(digits)) return Number(digits);
    if (/^(?:\d{4}-\d\d-\d\d(?:[Tt ]\S+)?|\d\d:\d\d:\d\d(?:\.\d+)?)$/.test(word)) return word;
    return this.#unexpected("a value", word);
  }

  #array(depth: number): TomlValue[] {
    const list: TomlValue[] = [];
    this.#complete.add(list);
    for (this.#skip(true); !this.#take("]"); this.#skip(true)) {
      list.push(this.#value(depth + 1));
      this.#skip(true);
      if (!this.#take(",") && !this.#peek("]")) this.#unexpected('"," or "]"');
    }
    return list;
  }

  #inlineTable(depth: number): TomlTable {
    const table = emptyTable();
    this.#skip(false);
    if (!this.#take("}")) {
      do this.#pair(table, depth + 1); while (this.#afterPair());
    }
    this.#seal(table);
    return table;
  }

  #afterPair(): boolean {
    this.#skip(false);
    if (this.#take(",")) return true;
    this.#expect("}");
    return false;
  }

  /** Also tables that dotted keys made within. */
  #seal(table: TomlTable): void {
    this.#complete.add(table);
    for (const value of Object.values(table)) {
      if (typeof value === "object" && !Array.isArray(value) && !this.#complete.has(value)) this.#seal(value);
    }
  }

  #string(mayHaveLines: boolean): string {
    const quote = this.#text[this.#at];
    const isLong = mayHaveLines && this.#text.startsWith(quote.repeat(3), this.#at);
    this.#at += isLong ? 3 : 1;
    if (isLong) this.#take("\n");
    let result = "";
    for (;;) {
      const character = this.#text[this.#at];
      if (character === undefined || (character === "\n" && !isLong)) throw this.#fault("a string does not end");
      if (character === quote && !isLong) break;
      if (isLong && this.#text.startsWith(quote.repeat(3), this.#at)) break;
      this.#at++;
      result += character === "\\" && quote === '"' ? this.#escape(isLong) : character;
    }
    this.#at += isLong ? 3 : 1;
    // Up to two quotation marks may stand before the three that end it.
    for (let i = 0; isLong && i < 2 && this.#take(quote); i++) result += quote;
    return result;
  }

  #escape(isLong: boolean): string {
    if (isLong && this.#match(/[ \t]*\n\s*/y) !== null) return "";
    const kind = this.#text[this.#at++];
    if (kind !== undefined && Object.hasOwn(ESCAPES, kind)) return ESCAPES[kind];
    const code = kind === "u" ? this.#match(/[\da-fA-F]{4}/y) : kind === "U" ? this.#match(/[\da-fA-F]{8}/y) : null;
    const point = code === null ? NaN : parseInt(code, 16);
    if (!(point <= 0x10ffff) || (point >= 0xd800 && point < 0xe000)) throw this.#fault("an escape is not one of TOML");
    return String.fromCodePoint(point);
  }

  /** Skips blanks, with lines and comments on the way if they may come. */
  #skip(lines: boolean): void {
    this.#match(lines ? /(?:[ \t\n]|#[^\n]*)+/y : /(?:[ \t]|#[^\n]*)+/y);
  }

  #peek(text: string): boolean {
    return this.#text.startsWith(text, this.#at);
  }

  #take(text: string): boolean {
    if (!this.#peek(text)) return false;
    this.#at += text.length;
    return true;
  }

  #expect(text: string): void {
    this.#skip(false);
    if (!this.#take(text)) this.#unexpected(JSON.stringify(text));
  }

  #match(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (found === null) return null;
    this.#at = pattern.lastIndex;
    return found[0];
  }

  #unexpected(expected: string, found = this.#text.slice(this.#at, this.#at + 20).split("\n")[0]): never {
    throw this.#fault(`expected ${expected}, found ${found === "" ? "the end of the line" : JSON.stringify(found)}`);
  }

  #fault(what: string): LocalError {
    const line = this.#text.slice(0, this.#at).split("\n").length;
    return new LocalError("invalid_data", `cannot read ${this.#name}: line ${line} is not TOML: ${what}`);
  }
}

function emptyTable(): TomlTable {
  return Object.create(null);
}
