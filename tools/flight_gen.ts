/**
 * `deno task flight:gen [--check]`: makes src/flight/gen/ from src/flight/proto/flight.proto, with the generator of
 * protobuf-es. `--check` writes nothing and fails if the folder is not up to date.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { REPOSITORY } from "./peers.ts";

const BUF = "npm:@bufbuild/buf@1.75.0";
const GENERATOR = "npm:@bufbuild/protoc-gen-es@2.17.0";
const PROTO = `${REPOSITORY}/src/flight/proto`;
const GENERATED = `${REPOSITORY}/src/flight/gen`;
const NAME = "flight_pb.ts";
/** Messages without fields are made of `{}`. */
const LINT = "// deno-lint-ignore-file ban-types\n";
const OPTIONS = "target=ts,import_extension=ts,js_import_style=module";

/** Makes the module's text, formatted as everything else here is. */
export async function generateFlight(): Promise<string> {
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
      PROTO,
      "--template",
      JSON.stringify(template),
    ]);
    // As the rest of the repository is formatted, so that `deno fmt --check` holds.
    await run(deno, ["fmt", "--line-width=120", `${out}/${NAME}`]);
    return LINT + await Deno.readTextFile(`${out}/${NAME}`);
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
  const text = await generateFlight();
  const path = `${GENERATED}/${NAME}`;
  if (check) {
    const isUpToDate = await Deno.readTextFile(path).catch(() => "") === text;
    console.log(
      isUpToDate ? `${NAME} is up to date` : `${NAME} is not what flight.proto gives: run deno task flight:gen`,
    );
    Deno.exit(isUpToDate ? 0 : 1);
  }
  await Deno.mkdir(GENERATED, { recursive: true });
  await Deno.writeTextFile(path, text);
  console.log(`${path}: ${text.length} characters`);
}
