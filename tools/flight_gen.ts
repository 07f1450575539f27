/**
 * `deno task flight:gen [--check]`: makes src/flight/gen/ and src/flight_sql/gen/ from the `.proto` files next to them, with the
 * generator of protobuf-es. `--check` writes nothing and fails if a folder is not up to date.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { REPOSITORY } from "./repository.ts";

const BUF = "npm:@bufbuild/buf@1.75.0";
const GENERATOR = "npm:@bufbuild/protoc-gen-es@2.17.0";
/** The folders of `src/` that have messages: `proto/NAME.proto` gives `gen/NAME_pb.ts`, NAME being the folder's. */
const ROOMS = ["flight", "flight_sql"];
/** Messages without fields are made of `{}`. */
const LINT = "// deno-lint-ignore-file ban-types\n";
const OPTIONS = "target=ts,import_extension=ts,js_import_style=module";

/** Makes the text of a room's module, formatted as everything else here is. */
async function generate(room: string): Promise<string> {
  const out = await Deno.makeTempDir({ prefix: "flight_gen_" });
  try {
    const deno = Deno.execPath();
    const template = {
      version: "v2",
      plugins: [{
        local: [deno, "run", "-A", "--no-lock", "--no-config", GENERATOR],
        out,
        opt: OPTIONS.split(","),
      }],
    };
    await run(deno, [
      "run",
      "-A",
      "--no-lock",
      "--no-config",
      BUF,
      "generate",
      `${REPOSITORY}/src/${room}/proto`,
      "--template",
      JSON.stringify(template),
    ]);
    // As the rest of the repository is formatted, so that `deno fmt --check` holds.
    const module = `${out}/${room}_pb.ts`;
    await run(deno, ["fmt", "--line-width=120", module]);
    return LINT + await Deno.readTextFile(module);
  } finally {
    await Deno.remove(out, { recursive: true });
  }
}

async function run(command: string, args: string[]): Promise<void> {
  const { code, stderr } = await new Deno.Command(command, { args, stdin: "null" }).output();
  if (code !== 0) {
    throw new Error(`${args.join(" ")} failed with status ${code}:\n${new TextDecoder().decode(stderr)}`);
  }
}

if (import.meta.main) {
  const { check } = parseArgs(Deno.args, { boolean: ["check"] });
  const texts = await Promise.all(ROOMS.map(generate));
  let isUpToDate = true;
  for (const [i, room] of ROOMS.entries()) {
    const folder = `${REPOSITORY}/src/${room}/gen`;
    const path = `${folder}/${room}_pb.ts`;
    if (check) {
      const isSame = await Deno.readTextFile(path).catch(() => "") === texts[i];
      const found = isSame ? "is up to date" : `is not what ${room}.proto gives: run deno task flight:gen`;
      console.log(`${room}_pb.ts ${found}`);
      isUpToDate &&= isSame;
    } else {
      await Deno.mkdir(folder, { recursive: true });
      await Deno.writeTextFile(path, texts[i]);
      console.log(`${path}: ${texts[i].length} characters`);
    }
  }
  if (!isUpToDate) Deno.exit(1);
}
