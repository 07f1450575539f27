/**
 * Reads an `ArrowSchema` into the schema message of a stream.
 *
 * @module
 */
import { MAX_DEPTH } from "../ipc/flatbuffer.ts";
import { HeaderReader, type VerifiedHeader } from "../ipc/header.ts";
import type { ArrowType, DictionaryLayout } from "../ipc/layout.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { quoted, shortText } from "../ipc/quote.ts";
import { encodeSchemaMessage, type SchemaField } from "../ipc/schema_writer.ts";
import { DipcError } from "../errors.ts";
import { typeOfFormat } from "./format.ts";
import { readMetadataAt } from "./metadata.ts";
import { CarefulReader, integerAt, invalidStruct, scratch } from "./raw.ts";
import { C_LAYOUT, moveStruct, releaseStruct, SCHEMA_FLAGS } from "./structs.ts";

const AT = C_LAYOUT.ArrowSchema;
/** Most fields of a schema at all depths. */
const MAX_FIELDS = 1_000_000;
/** Longest format or name in bytes. */
const MAX_TEXT_BYTES = 2 ** 20;
/** The limits of metadata guard against peers; a library in this process already has the memory. */
const NO_LIMITS = {
  maxMetadataBytes: Number.MAX_SAFE_INTEGER,
  maxBodyBytes: Number.MAX_SAFE_INTEGER,
  maxRows: Number.MAX_SAFE_INTEGER,
};
const decoder = new TextDecoder();

/**
 * Reads the schema of record batches, which is that of a struct, takes the structure over and releases it.
 *
 * @param address Address of an `ArrowSchema`
 * @returns The schema message
 * @throws {DipcError} `invalid_argument` if there is none or it is not that of a struct; `invalid_data`; `unsupported` for a type
 * that this version does not know; `limit_exceeded`. The structure is released all the same
 */
export function importSchema(address: bigint): MessageHeader {
  return readSchema(address);
}

/** As {@linkcode importSchema}, with the details that only this library uses. */
export function readSchema(address: bigint): VerifiedHeader {
  const own = scratch(AT.size);
  moveStruct("ArrowSchema", address, own.address);
  try {
    return new SchemaWalk().read(own.address);
  } finally {
    releaseStruct("ArrowSchema", own.address);
  }
}

/** One structure, read. */
interface RawField {
  readonly format: string;
  readonly name: string;
  readonly metadata: Map<string, string>;
  readonly flags: number;
  /** Address of each child. */
  readonly children: readonly bigint[];
  /** Address of the schema of the values, or 0. */
  readonly dictionary: bigint;
}

class SchemaWalk {
  readonly #reader = new CarefulReader();
  #fields = 0;
  #dictionaries = 0n;

  read(address: bigint): VerifiedHeader {
    const root = this.#raw(address, "");
    if (root.format !== "+s" || root.dictionary !== 0n) {
      throw new DipcError(
        "invalid_argument",
        `cannot import Arrow data: its format is ${
          shortText(root.format)
        }, expected +s; put the array into a struct, ` +
          "which is what record batches are",
      );
    }
    const fields = root.children.map((child) => this.#field(child, "", 1));
    return new HeaderReader(NO_LIMITS).read(encodeSchemaMessage(fields, root.metadata));
  }

  #field(address: bigint, prefix: string, depth: number): SchemaField {
    const raw = this.#raw(address, prefix);
    const path = prefix === "" ? raw.name : `${prefix}.${raw.name}`;
    if (depth > MAX_DEPTH) throw invalidStruct(`its fields are nested deeper than ${MAX_DEPTH}`);
    const type = typeOfFormat(raw.format, path, (raw.flags & SCHEMA_FLAGS.mapKeysSorted) !== 0);
    const common = { name: raw.name, nullable: (raw.flags & SCHEMA_FLAGS.nullable) !== 0, metadata: raw.metadata };
    if (raw.dictionary === 0n) {
      const children = raw.children.map((child) => this.#field(child, path, depth + 1));
      return { ...common, type, children, dictionary: null };
    }
    if (type.id !== "int" || raw.children.length > 0) {
      throw invalidStruct(
        `field ${quoted(path)} has a dictionary and the format ${
          quoted(raw.format)
        } with ${raw.children.length} children, ` +
          "expected an integer for the indices",
      );
    }
    return { ...common, ...this.#values(raw, type, path, depth) };
  }

  /** The values of a dictionary-encoded field. */
  #values(
    { dictionary, flags }: RawField,
    index: DictionaryLayout["index"] & ArrowType,
    path: string,
    depth: number,
  ): Pick<SchemaField, "type" | "children" | "dictionary"> {
    const id = this.#dictionaries++;
    const values = this.#field(dictionary, path, depth + 1);
    if (values.dictionary !== null) {
      throw new DipcError(
        "unsupported",
        `cannot import Arrow data: the dictionary of field ${
          quoted(path)
        } has a dictionary itself, which messages cannot ` +
          "represent; decode one of them",
      );
    }
    const ordered = (flags & SCHEMA_FLAGS.dictionaryOrdered) !== 0;
    return { type: values.type, children: values.children, dictionary: { id, index, ordered } };
  }

  #raw(address: bigint, path: string): RawField {
    if (++this.#fields > MAX_FIELDS) {
      throw new DipcError("limit_exceeded", `cannot import Arrow data: its schema has more than ${MAX_FIELDS} fields`);
    }
    const { words, halves, address: target } = scratch(AT.size);
    if (address === 0n || !this.#reader.read(target, address, AT.size)) {
      throw invalidStruct(`a field of ${path === "" ? "the schema" : quoted(path)} is not readable`);
    }
    if (words[AT.release / 8] === 0n) {
      throw invalidStruct(`a field of ${path === "" ? "the schema" : quoted(path)} was released`);
    }
    const name = words[AT.name / 8] === 0n ? "" : this.#text(words[AT.name / 8], path);
    const own = path === "" ? name : `${path}.${name}`;
    return {
      name,
      format: this.#text(words[AT.format / 8], own),
      metadata: readMetadataAt(words[AT.metadata / 8], this.#reader, own),
      flags: halves[AT.flags / 4],
      children: this.#children(integerAt(halves, AT.n_children / 8), words[AT.children / 8], own),
      dictionary: words[AT.dictionary / 8],
    };
  }

  #children(count: number, address: bigint, path: string): bigint[] {
    if (count === 0) return [];
    if (!(count > 0 && count <= MAX_FIELDS)) throw invalidStruct(`field ${quoted(path)} has ${count} children`);
    const pointers = scratch(8 * count);
    if (address === 0n || !this.#reader.read(pointers.address, address, 8 * count)) {
      throw invalidStruct(`the ${count} children of field ${quoted(path)} are not readable`);
    }
    return [...pointers.words.subarray(0, count)];
  }

  #text(address: bigint, path: string): string {
    const bytes = address === 0n ? null : this.#reader.text(address, MAX_TEXT_BYTES);
    if (bytes === null) throw invalidStruct(`the format or name of field ${quoted(path)} is not readable`);
    return decoder.decode(bytes);
  }
}
