/** The table of buffers: as the columnar format lists them, for every type. */
import { assertEquals } from "@std/assert";
import {
  BUFFERS,
  buffersIn,
  type BufferSpec,
  bytesOf,
  ElementCount,
  fixedBufferCount,
  hasValidity,
  NodeKind,
} from "../../src/ipc/buffers.ts";
import { type ArrowType, type FieldLayout, NodePlan, storageOf } from "../../src/ipc/layout.ts";

/**
 * "Buffer Listing for Each Layout" of Arrow's columnar format, with the widths that its sections on each layout give: role,
 * bits of an element, and how many elements there are for n values.
 */
const LISTING: [layout: string, types: ArrowType[], buffers: string[]][] = [
  ["Primitive", [
    { id: "int", bitWidth: 8, signed: true },
    { id: "float", bitWidth: 64 },
    { id: "decimal", bitWidth: 256, precision: 76, scale: 2 },
    { id: "date", unit: "day" },
    { id: "time", unit: "ns", bitWidth: 64 },
    { id: "timestamp", unit: "us", timezone: null },
    { id: "duration", unit: "s" },
    { id: "interval", unit: "month_day_nano" },
    { id: "fixed_size_binary", byteWidth: 3 },
    { id: "bool" },
  ], ["validity 1 × n", "data by type × n"]],
  ["Variable Binary", [{ id: "binary" }, { id: "utf8" }], ["validity 1 × n", "offsets 32 × n + 1", "data 8 × offset"]],
  ["Large Variable Binary", [{ id: "large_binary" }, { id: "large_utf8" }], [
    "validity 1 × n",
    "offsets 64 × n + 1",
    "data 8 × offset",
  ]],
  ["Variable Binary View", [{ id: "binary_view" }, { id: "utf8_view" }], [
    "validity 1 × n",
    "data 128 × n",
    "variadic 8 × any",
  ]],
  ["List", [{ id: "list" }, { id: "map", keysSorted: false }], ["validity 1 × n", "offsets 32 × n + 1"]],
  ["Large List", [{ id: "large_list" }], ["validity 1 × n", "offsets 64 × n + 1"]],
  ["List View", [{ id: "list_view" }], ["validity 1 × n", "offsets 32 × n", "sizes 32 × n"]],
  ["Large List View", [{ id: "large_list_view" }], ["validity 1 × n", "offsets 64 × n", "sizes 64 × n"]],
  ["Fixed-size List", [{ id: "fixed_size_list", listSize: 2 }], ["validity 1 × n"]],
  ["Struct", [{ id: "struct" }], ["validity 1 × n"]],
  ["Sparse Union", [{ id: "union", mode: "sparse", typeIds: [0] }], ["typeIds 8 × n"]],
  ["Dense Union", [{ id: "union", mode: "dense", typeIds: [0] }], ["typeIds 8 × n", "offsets 32 × n"]],
  ["Null", [{ id: "null" }], []],
  ["Run-end encoded", [{ id: "run_end_encoded" }], []],
];

const COUNT_TEXT = {
  [ElementCount.values]: "n",
  [ElementCount.valuesAndEnd]: "n + 1",
  [ElementCount.lastOffset]: "offset",
  [ElementCount.any]: "any",
};

function text({ role, bits, count }: BufferSpec): string {
  return `${role} ${bits ?? "by type"} × ${COUNT_TEXT[count]}`;
}

for (const [layout, types, buffers] of LISTING) {
  Deno.test(`the buffers of layout ${layout} are those of the columnar format`, () => {
    for (const type of types) {
      const { kind } = storageOf(type);
      assertEquals(BUFFERS[kind].map(text), buffers, type.id);
      assertEquals(fixedBufferCount(kind, 5), buffers.filter((buffer) => !buffer.startsWith("variadic")).length);
      assertEquals(hasValidity(kind), buffers[0]?.startsWith("validity") ?? false);
    }
  });
}

Deno.test("the listing of the columnar format has every kind of node", () => {
  const seen = new Set(LISTING.flatMap(([, types]) => types.map((type) => storageOf(type).kind)));
  assertEquals([...seen].sort((a, b) => a - b), Object.values(NodeKind));
});

Deno.test("before metadata V5 unions have one more buffer, and nothing else has", () => {
  for (const kind of Object.values(NodeKind)) {
    const isUnion = kind === NodeKind.sparseUnion || kind === NodeKind.denseUnion;
    assertEquals(
      buffersIn(4)[kind].map(text),
      isUnion ? ["unused 1 × any", ...BUFFERS[kind].map(text)] : BUFFERS[kind].map(text),
    );
    assertEquals(fixedBufferCount(kind, 4), fixedBufferCount(kind, 5) + (isUnion ? 1 : 0));
  }
});

Deno.test("bytes of a buffer follow from the values of its node, rounded up to whole bytes", () => {
  const bytes = (type: ArrowType, length: number): number[] => {
    const { kind, bits } = storageOf(type);
    return BUFFERS[kind].map((spec) => bytesOf(spec, length, bits));
  };
  assertEquals(bytes({ id: "bool" }, 9), [2, 2]);
  assertEquals(bytes({ id: "int", bitWidth: 16, signed: false }, 9), [2, 18]);
  assertEquals(bytes({ id: "fixed_size_binary", byteWidth: 5 }, 3), [1, 15]);
  assertEquals(bytes({ id: "fixed_size_binary", byteWidth: 0 }, 3), [1, 0]);
  assertEquals(bytes({ id: "interval", unit: "day_time" }, 2), [1, 16]);
  assertEquals(bytes({ id: "utf8" }, 8), [1, 36, 0]);
  assertEquals(bytes({ id: "large_list" }, 8), [1, 72]);
  assertEquals(bytes({ id: "utf8_view" }, 3), [1, 48, 0]);
  assertEquals(bytes({ id: "large_list_view" }, 3), [1, 24, 24]);
  assertEquals(bytes({ id: "union", mode: "dense", typeIds: [0, 1] }, 3), [3, 12]);
});

Deno.test("a plan counts nodes, buffers and views of all its columns, and knows each node's parent", () => {
  const field = (type: ArrowType, ...children: FieldLayout[]): FieldLayout => ({
    name: type.id,
    path: type.id,
    nullable: true,
    type,
    children,
    dictionary: null,
    metadata: new Map(),
  });
  const union = field(
    { id: "union", mode: "dense", typeIds: [0, 1] },
    field({ id: "utf8_view" }),
    field({ id: "null" }),
  );
  const plan = new NodePlan([field({ id: "bool" }), field({ id: "list" }, union)]);
  assertEquals([plan.nodeCount, plan.viewCount, plan.bufferCounts], [5, 1, { 4: 9, 5: 8 }]);
  assertEquals([...plan.parents], [-1, -1, 1, 2, 2]);
  assertEquals([...plan.bits], [1, 0, 0, 0, 0]);
});
