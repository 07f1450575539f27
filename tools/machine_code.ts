/**
 * `deno run -A tools/machine_code.ts`: compiles the C of `native/` that dipc runs itself for both processors that Deno runs on, and
 * writes the machine code to `src/`. Needs Zig's C compiler (`pip install ziglang==0.17.1`) and pyarrow's headers, and only when
 * a C file changes.
 *
 * @module
 */
import { pyarrowFolder } from "./peer_places.ts";
import { REPOSITORY } from "./repository.ts";
import { run } from "./setup_run.ts";

/** The file that each C file is compiled to, and how its constants begin. */
const OUTPUTS = {
  "c_data/code.c": { output: "c_data/machine_code.ts", prefix: "" },
  "c_data/async.c": { output: "c_data/async_machine_code.ts", prefix: "ASYNC_" },
  "duckdb/rows.c": { output: "duckdb/rows_machine_code.ts", prefix: "ROWS_" },
  "duckdb/scan.c": { output: "duckdb/scan_machine_code.ts", prefix: "SCAN_" },
} as const;
/** What the C files include of `native/`. */
const HEADER = "c_data/system_call.h";
/** Deno's name of each processor, and its own options. */
const TARGETS = { x86_64: ["-mno-red-zone"], aarch64: ["-mno-outline-atomics"] } as const;
const FLAGS = [
  ...[
    "-std=gnu11",
    "-Os",
    "-g0",
    "-fPIC",
    "-ffreestanding",
    "-fno-builtin",
    "-fno-stack-protector",
    "-fno-jump-tables",
  ],
  ...["-fno-sanitize=all", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-fomit-frame-pointer", "-Wall"],
];

/** Machine code of one processor: its bytes, and where each function begins. */
interface Code {
  readonly bytes: Uint8Array;
  readonly functions: ReadonlyMap<string, number>;
}

/** Reads the one section with code of an ELF object file (64 bits, little-endian), and the functions in it. */
function readObject(file: Uint8Array): Code {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const long = (at: number): number => Number(view.getBigUint64(at, true));
  const text = (at: number): string => new TextDecoder().decode(file.subarray(at, file.indexOf(0, at)));
  const [table, count, namesIndex] = [long(40), view.getUint16(60, true), view.getUint16(62, true)];
  const sections = Array.from({ length: count }, (_, index) => {
    const at = table + 64 * index;
    const [name, type, link] = [view.getUint32(at, true), view.getUint32(at + 4, true), view.getUint32(at + 40, true)];
    return { name, type, link, offset: long(at + 24), size: long(at + 32), index };
  });
  const nameOf = (section: { name: number }): string => text(sections[namesIndex].offset + section.name);
  const code = sections.find((section) => nameOf(section) === ".text")!;
  const foreign = sections.find((section) =>
    section.size > 0 && (/^\.rela?\.text/.test(nameOf(section)) || /^\.(data|rodata|bss)/.test(nameOf(section)))
  );
  if (foreign !== undefined) throw new Error(`the code is not self-contained: it has a section ${nameOf(foreign)}`);
  const symbols = sections.find((section) => section.type === 2)!;
  const functions = new Map<string, number>();
  for (let at = symbols.offset; at < symbols.offset + symbols.size; at += 24) {
    const isFunction = (file[at + 4] & 15) === 2 && view.getUint16(at + 6, true) === code.index;
    if (isFunction) functions.set(text(sections[symbols.link].offset + view.getUint32(at, true)), long(at + 8));
  }
  return { bytes: file.slice(code.offset, code.offset + code.size), functions };
}

/** SHA-256 of a C file and of the header that it includes, in hexadecimal digits. */
export async function sourceHash(file: keyof typeof OUTPUTS): Promise<string> {
  const texts = [HEADER, file].map((name) => Deno.readTextFileSync(`${REPOSITORY}/native/${name}`));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(texts.join("")));
  return new Uint8Array(digest).toHex();
}

async function compile(source: string, target: keyof typeof TARGETS, folder: string): Promise<Code> {
  const object = `${folder}/${target}.o`;
  const python = Deno.env.get("DIPC_ZIG_PYTHON") ?? "python3";
  const include = [`-I${pyarrowFolder()}/include/arrow/c`, `-I${REPOSITORY}/native/c_data`];
  const args = ["-m", "ziglang", "cc", "-target", `${target}-linux-gnu`, ...FLAGS, ...TARGETS[target], ...include];
  await run(python, [...args, "-c", source, "-o", object]);
  return readObject(await Deno.readFile(object));
}

function rendered(file: keyof typeof OUTPUTS, codes: Record<string, Code>, hash: string): string {
  const { prefix } = OUTPUTS[file];
  const entries = Object.entries(codes).map(([target, { bytes, functions }]) => {
    const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const lines = (hex.match(/.{1,100}/g) ?? []).map((line) => `      "${line}"`).join(" +\n");
    const at = [...functions].map(([name, offset]) => `      ${name}: ${offset},`).join("\n");
    return `  ${target}: {\n    hex:\n${lines},\n    functions: {\n${at}\n    },\n  },`;
  });
  return `/**
 * Machine code of \`native/${file}\`, written by \`tools/machine_code.ts\`; do not edit.
 *
 * @module
 */

/** SHA-256 of the C that the code was compiled from. */
export const ${prefix}SOURCE_HASH = "${hash}";

/** The code for each processor, in hexadecimal digits, and where each function begins. */
export const ${prefix}MACHINE_CODE = {
${entries.join("\n")}
} as const;
`;
}

async function build(file: keyof typeof OUTPUTS, folder: string): Promise<void> {
  const source = `${REPOSITORY}/native/${file}`;
  const codes: Record<string, Code> = {};
  for (const target of Object.keys(TARGETS) as (keyof typeof TARGETS)[]) {
    codes[target] = await compile(source, target, folder);
  }
  const text = rendered(file, codes, await sourceHash(file));
  await Deno.writeTextFile(`${REPOSITORY}/src/${OUTPUTS[file].output}`, text);
}

if (import.meta.main) {
  const folder = await Deno.makeTempDir();
  try {
    for (const file of Object.keys(OUTPUTS) as (keyof typeof OUTPUTS)[]) await build(file, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
