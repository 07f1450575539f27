import { assert, assertEquals } from "@std/assert";
import { LAYOUT } from "../ffi/ucp_structs.ts";
import { findLibucp } from "../ffi/find.ts";
import { ROOT } from "./support/paths.ts";

type Layout = Record<string, Record<string, number>>;

/** Compares our table with what a compiler says: offsets equal, ours at least as large. */
function assertLayout(layout: Layout): void {
  let fields = 0;
  for (const [name, ours] of Object.entries(LAYOUT as Layout)) {
    const theirs = layout[name];
    if (theirs === undefined) continue; // a structure that this version does not have
    for (const [field, offset] of Object.entries(theirs)) {
      if (field === "size") {
        assert(ours.size >= offset, `${name}: we allocate ${ours.size} bytes, the header says ${offset}`);
      } else {
        assertEquals(ours[field], offset, `${name}.${field}`);
        fields++;
      }
    }
    for (const field of Object.keys(ours)) assert(field in theirs, `struct_layout.c does not print ${name}.${field}`);
  }
  assert(fields >= 30, `only ${fields} fields were compared`);
}

for (const version of ["1.13.1", "1.22.0"]) {
  Deno.test(`the structures have the layout that the headers of UCX ${version} gave`, async () => {
    assertLayout(JSON.parse(await Deno.readTextFile(`${ROOT}/native/layouts/${version}.json`)));
  });
}

Deno.test("a layout that differs by one offset is noticed", async () => {
  const layout: Layout = JSON.parse(await Deno.readTextFile(`${ROOT}/native/layouts/1.22.0.json`));
  layout.ucp_request_param_t.memory_type += 8;
  let noticed = false;
  try {
    assertLayout(layout);
  } catch {
    noticed = true;
  }
  assert(noticed);
});

/** Folders with UCX headers on this machine. */
function includeFolders(): string[] {
  const folders = ["/usr/include", "/usr/local/include", ...(Deno.env.get("DIPC_UCX_INCLUDE") ?? "").split(":")];
  try {
    folders.push(findLibucp().path.replace(/\/lib[^/]*\/[^/]*$/, "/include"));
  } catch {
    // no library, perhaps headers all the same
  }
  return [...new Set(folders)].filter((folder) => {
    try {
      return folder !== "" && Deno.statSync(`${folder}/ucp/api/ucp.h`).isFile;
    } catch {
      return false;
    }
  });
}

const folders = includeFolders();
if (folders.length === 0) {
  console.log("SKIPPED compiling native/struct_layout.c: no UCX headers; install libucx-dev or set DIPC_UCX_INCLUDE");
}
Deno.test({
  name: "the structures have the layout that the compiler gives them with the headers of this machine",
  ignore: folders.length === 0,
  async fn() {
    const program = await Deno.makeTempFile();
    try {
      for (const folder of folders) {
        const compiled = await new Deno.Command("cc", {
          args: ["-Wall", `-I${folder}`, "-o", program, `${ROOT}/native/struct_layout.c`],
        }).output();
        assert(compiled.success, new TextDecoder().decode(compiled.stderr));
        const printed = await new Deno.Command(program).output();
        assertLayout(JSON.parse(new TextDecoder().decode(printed.stdout)));
      }
    } finally {
      await Deno.remove(program);
    }
  },
});
