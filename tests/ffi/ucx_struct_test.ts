/** The structures that UCX is given have the layout of its headers, in every version. */
import { assert, assertEquals } from "@std/assert";
import { LAYOUT, MEMORY_CUDA, MEMORY_HOST, requestParams } from "../../ffi/ucp_structs.ts";
import { findPeers, PEER_ADVICE } from "../../tools/peers.ts";
import { testNeeding } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";

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
  assert(noticed, "the wrong offset was not noticed");
});

Deno.test("every request says what kind of memory it is about", () => {
  const { op_attr_mask, memory_type } = LAYOUT.ucp_request_param_t;
  // UCP_OP_ATTR_FIELD_MEMORY_TYPE is bit 6; UCS_MEMORY_TYPE_HOST and UCS_MEMORY_TYPE_CUDA are 0 and 1.
  assertEquals([MEMORY_HOST, MEMORY_CUDA], [0, 1]);
  for (const [params, type] of [[requestParams(), 0], [requestParams(4, 8n, true, MEMORY_CUDA), 1]] as const) {
    assertEquals(params.view.getUint32(op_attr_mask, true) >> 6 & 1, 1);
    assertEquals(params.view.getUint32(memory_type, true), type);
  }
});

const peers = findPeers();

for (const [version, installed] of [["1.22.0", peers.ucx], ["1.13.1", peers.olderUcx]] as const) {
  testNeeding(
    [
      { what: "a C compiler", present: peers.compiler !== null, how: PEER_ADVICE.compiler },
      {
        what: `the headers of UCX ${version}`,
        present: typeof installed?.include === "string",
        how: PEER_ADVICE[version === "1.22.0" ? "ucx" : "olderUcx"],
      },
    ],
    `the structures have the layout that the compiler gives them with the headers of UCX ${version}`,
    async () => {
      const program = await Deno.makeTempFile();
      try {
        const compiled = await new Deno.Command(peers.compiler!, {
          args: ["-Wall", `-I${installed!.include}`, "-o", program, `${ROOT}/native/struct_layout.c`],
        }).output();
        assert(compiled.success, new TextDecoder().decode(compiled.stderr));
        const printed = await new Deno.Command(program).output();
        const layout: Layout = JSON.parse(new TextDecoder().decode(printed.stdout));
        assertLayout(layout);
        assertEquals(layout, JSON.parse(await Deno.readTextFile(`${ROOT}/native/layouts/${version}.json`)));
      } finally {
        await Deno.remove(program);
      }
    },
  );
}
