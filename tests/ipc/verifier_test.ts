/** The verifier of metadata: what it rejects, and that each of its checks is needed. */
import {
  assert,
  assertEquals,
  assertGreater,
  assertInstanceOf,
  assertLess,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
  fail,
} from "@std/assert";
import { DipcError } from "../../src/errors.ts";
import { describe, describeSchema } from "../../src/ipc/describe.ts";
import { HeaderReader } from "../../src/ipc/header.ts";
import { field, schemaMessage, writeFlat } from "../support/ipc_flatbuffer.ts";
import { HOSTILE_METADATA, type HostileCase, SOUND_METADATA } from "../support/ipc_hostile_metadata.ts";

/** What is used of a reader, so that damaged copies of it fit too. */
interface Reader {
  read(metadata: Uint8Array): unknown;
}

/** Reads all frames; the error of the last one, or `null`. Earlier frames must be sound. */
function refusal(reader: Reader, { frames }: HostileCase): unknown {
  frames.slice(0, -1).forEach((frame) => reader.read(frame));
  try {
    reader.read(frames.at(-1)!);
    return null;
  } catch (error) {
    return error;
  }
}

for (const hostile of HOSTILE_METADATA) {
  Deno.test(`metadata is rejected: ${hostile.name}`, () => {
    const error = refusal(new HeaderReader(), hostile);
    assertInstanceOf(error, DipcError);
    assertStringIncludes(error.message, hostile.text);
    assertEquals(error.code, hostile.code);
  });
}

for (const { name, frames } of SOUND_METADATA) {
  Deno.test(`metadata is accepted: ${name}`, () => {
    const reader = new HeaderReader();
    for (const frame of frames) assertEquals([...reader.read(frame).bytes], [...frame]);
  });
}

Deno.test("equal metadata gives the same header, at any alignment; other metadata gives another one", () => {
  const [schema, batch] = SOUND_METADATA[0].frames;
  // A length that is not a multiple of 4, so that the last bytes are compared too.
  const longer = new Uint8Array(batch.byteLength + 3);
  longer.set(batch);
  for (const frame of [batch, longer]) {
    for (const shift of [0, 1, 4, 8]) {
      const reader = new HeaderReader();
      reader.read(schema);
      const first = reader.read(frame);
      const at = new Uint8Array(frame.byteLength + 16).subarray(shift, shift + frame.byteLength);
      at.set(frame);
      assertStrictEquals(reader.read(at), first);
      for (let i = 0; i < at.byteLength; i++) {
        const known = reader.read(frame);
        at[i] ^= 0xff;
        try {
          assert(reader.read(at) !== known, `a change of byte ${i} was not noticed`);
        } catch (error) {
          assertInstanceOf(error, DipcError);
        }
        at[i] ^= 0xff;
      }
    }
  }
});

Deno.test("the content of the schema is read from the right fields", () => {
  const [frame] = SOUND_METADATA.find(({ name }) => name.includes("parameters"))!.frames;
  const described = describeSchema(new HeaderReader().read(frame));
  assertEquals(described.slice(0, 15).map(({ type }) => type.replace(/(union<).*/, "$1")), [
    ...["halffloat", "float", "double", "decimal32(9, -3)", "decimal64(18, -3)", "decimal128(38, -3)"],
    ...["decimal256(76, -3)", "decimal128(1, -3)", "time32[s]", "time64[ns]", "fixed_size_binary[0]"],
    ...["fixed_size_list<x: int32>[0]", "sparse_union<", "sparse_union<", "map<int32, int32>"],
  ]);
  assertEquals(described.slice(15).map(({ type }) => type), [
    "large_list_view<x: int32>",
    "dictionary<values=string, indices=int8, ordered=0>",
    "dictionary<values=string, indices=int8, ordered=0>",
    "dictionary<values=string, indices=int32, ordered=0>",
  ]);
  for (const [name, endianness] of [["integers", "little"], ["big-endian", "big"]]) {
    const header = new HeaderReader().read(SOUND_METADATA.find((sound) => sound.name === name)!.frames[0]);
    assertEquals(describe(header).endianness, endianness);
  }
  const [schema, lz4, plain] = SOUND_METADATA.find(({ name }) => name.includes("nothing but"))!.frames;
  const reader = new HeaderReader();
  assertEquals([schema, lz4, plain].map((frame) => reader.read(frame).compression), ["none", "lz4", "none"]);
});

Deno.test("names in errors cannot control a terminal, and are cut if they are long", () => {
  const name = `\u001b[2J"\u202e\u0085${"x".repeat(500)}`;
  const error = assertThrows(() => new HeaderReader().read(writeFlat(schemaMessage([field(name, 0)])).bytes)) as Error;
  assertStringIncludes(error.message, 'field "\\u001b[2J\\"\\u202e\\u0085xxx');
  // deno-lint-ignore no-control-regex -- these are what must not be there
  assert(!/[\u0000-\u001f\u007f-\u009f\u202e]/.test(error.message), JSON.stringify(error.message));
  assertLess(error.message.length, 300);
});

Deno.test("a header is a copy: the caller may reuse the memory", () => {
  const reader = new HeaderReader();
  const frame = SOUND_METADATA[0].frames[0].slice();
  const header = reader.read(frame);
  const before = [...header.bytes];
  frame.fill(0xff);
  assertEquals([...header.bytes], before);
  assertEquals(header.bytes.byteOffset % 8, 0);
});

Deno.test("each check of the verifier is needed: without it, a crafted message is no longer rejected for its reason", async (t) => {
  const folder = await Deno.makeTempDir({ prefix: "dipc-verifier-" });
  const source = new URL("../../src/", import.meta.url);
  const files = ["flatbuffer.ts", "schema_reader.ts", "type_reader.ts", "batch_reader.ts", "header.ts"];
  const others = ["buffers.ts", "layout.ts", "message.ts", "quote.ts", "verified_header.ts"];
  let checks = 0;
  try {
    for (const file of files) {
      const text = await Deno.readTextFile(new URL(`ipc/${file}`, source));
      for (const site of text.matchAll(/\bthrow (?=[a-zA-Z])/g)) {
        const lineStart = text.lastIndexOf("\n", site.index) + 1;
        if (text.slice(lineStart, site.index).includes("*")) continue; // "@throws" and prose in comments
        const line = text.slice(0, site.index).split("\n").length;
        checks++;
        const copy = `${folder}/${file}-${line}`;
        await Deno.mkdir(`${copy}/ipc`, { recursive: true });
        for (const shared of ["bytes.ts", "errors.ts", "text.ts"]) {
          await Deno.copyFile(new URL(shared, source), `${copy}/${shared}`);
        }
        for (const other of [...files, ...others]) {
          await Deno.copyFile(new URL(`ipc/${other}`, source), `${copy}/ipc/${other}`);
        }
        // `void` evaluates the error and goes on.
        const without = `${text.slice(0, site.index)}void ${text.slice(site.index + "throw ".length)}`;
        await Deno.writeTextFile(`${copy}/ipc/${file}`, without);
        const { HeaderReader: Damaged } = await import(`file://${copy}/ipc/header.ts`) as {
          HeaderReader: new () => Reader;
        };
        const missed = HOSTILE_METADATA.find((hostile) => {
          // Would run forever without the visit budget, which another case needs too.
          if (hostile.name.includes("DAG")) return false;
          try {
            const error = refusal(new Damaged(), hostile) as Error | null;
            return error === null || !error.message.includes(hostile.text);
          } catch {
            return false;
          }
        });
        if (missed === undefined) fail(`${file}:${line}: no crafted message needs this check`);
      }
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  await t.step(`${checks} checks were removed, one at a time`, () => assertGreater(checks, 40));
});
