/**
 * The buffers of each kind of Arrow column, in the order in which a batch lists them: one table for all code that walks them.
 *
 * @module
 */

/** Which buffers a node has; the numbers are used in flat arrays. */
export const NodeKind = {
  /** No buffers: null, run-end encoded. */
  none: 0,
  /** Values of a fixed number of bits. */
  fixed: 1,
  /** Bytes of any length, with 32-bit offsets. */
  binary32: 2,
  /** Bytes of any length, with 64-bit offsets. */
  binary64: 3,
  /** Views of 16 bytes, and any number of buffers that hold long values. */
  view: 4,
  /** Ranges of one child, with 32-bit offsets. */
  list32: 5,
  /** Ranges of one child, with 64-bit offsets. */
  list64: 6,
  /** Ranges of one child, with 32-bit offsets and sizes. */
  listView32: 7,
  /** Ranges of one child, with 64-bit offsets and sizes. */
  listView64: 8,
  /** Nothing but children: struct, fixed-size list. */
  validity: 9,
  /** One of the children in each row, all of them as long as the union. */
  sparseUnion: 10,
  /** One of the children in each row, with offsets into them. */
  denseUnion: 11,
} as const;

/** One of the kinds of {@linkcode NodeKind}. */
export type NodeKind = (typeof NodeKind)[keyof typeof NodeKind];

/**
 * What a buffer is for. `data` holds values of fixed width, bytes, or views; `variadic` stands for as many buffers as the
 * variadic counts of the batch declare; `unused` buffers are present but carry no information.
 */
export type BufferRole = "validity" | "typeIds" | "offsets" | "sizes" | "data" | "variadic" | "unused";

/** How many elements a buffer has, given the length of its node. */
export const ElementCount = {
  /** As many as the node has values. */
  values: 0,
  /** One more than the node has values: the start of each value, and the end of the last one. */
  valuesAndEnd: 1,
  /** As many as the last offset in the preceding buffer. */
  lastOffset: 2,
  /** Any number. */
  any: 3,
} as const;

/** One of the rules of {@linkcode ElementCount}. */
export type ElementCount = (typeof ElementCount)[keyof typeof ElementCount];

/** One buffer of a node, or its variadic ones. */
export interface BufferSpec {
  readonly role: BufferRole;
  /** Its name in messages, before the word "buffer". */
  readonly name: string;
  /** Bits of one element, or `null` if the type of the column decides. */
  readonly bits: number | null;
  readonly count: ElementCount;
}

const { values, valuesAndEnd, lastOffset, any } = ElementCount;

const VALIDITY: BufferSpec = { role: "validity", name: "validity", bits: 1, count: values };
const TYPE_IDS: BufferSpec = { role: "typeIds", name: "type id", bits: 8, count: values };
const BYTES: BufferSpec = { role: "data", name: "value", bits: 8, count: lastOffset };
const VIEWS: BufferSpec = { role: "data", name: "view", bits: 128, count: values };
/** Before metadata V5 a union had a validity bitmap, in practice always absent. */
const UNUSED: BufferSpec = { role: "unused", name: "validity", bits: 1, count: any };

const fixedWidth = (bits: number | null): BufferSpec => ({ role: "data", name: "value", bits, count: values });
const offsets = (bits: 32 | 64, count: ElementCount): BufferSpec => ({ role: "offsets", name: "offset", bits, count });
const sizes = (bits: 32 | 64): BufferSpec => ({ role: "sizes", name: "size", bits, count: values });

/** The buffers of each kind of node under metadata V5, as in the "Buffer Listing for Each Layout" of Arrow's format. */
export const BUFFERS: Readonly<Record<NodeKind, readonly BufferSpec[]>> = {
  [NodeKind.none]: [],
  [NodeKind.fixed]: [VALIDITY, fixedWidth(null)],
  [NodeKind.binary32]: [VALIDITY, offsets(32, valuesAndEnd), BYTES],
  [NodeKind.binary64]: [VALIDITY, offsets(64, valuesAndEnd), BYTES],
  [NodeKind.view]: [VALIDITY, VIEWS, { role: "variadic", name: "data", bits: 8, count: any }],
  [NodeKind.list32]: [VALIDITY, offsets(32, valuesAndEnd)],
  [NodeKind.list64]: [VALIDITY, offsets(64, valuesAndEnd)],
  [NodeKind.listView32]: [VALIDITY, offsets(32, values), sizes(32)],
  [NodeKind.listView64]: [VALIDITY, offsets(64, values), sizes(64)],
  [NodeKind.validity]: [VALIDITY],
  [NodeKind.sparseUnion]: [TYPE_IDS],
  [NodeKind.denseUnion]: [TYPE_IDS, offsets(32, values)],
};

const BUFFERS_V4: Readonly<Record<NodeKind, readonly BufferSpec[]>> = {
  ...BUFFERS,
  [NodeKind.sparseUnion]: [UNUSED, ...BUFFERS[NodeKind.sparseUnion]],
  [NodeKind.denseUnion]: [UNUSED, ...BUFFERS[NodeKind.denseUnion]],
};

/**
 * The buffers of every kind of node.
 *
 * @param version Metadata version of the message
 */
export function buffersIn(version: 4 | 5): Readonly<Record<NodeKind, readonly BufferSpec[]>> {
  return version === 4 ? BUFFERS_V4 : BUFFERS;
}

/** Whether nodes of a kind have a validity bitmap. */
export function hasValidity(kind: NodeKind): boolean {
  return BUFFERS[kind].includes(VALIDITY);
}

const counts = (buffers: Readonly<Record<NodeKind, readonly BufferSpec[]>>): Uint8Array =>
  Uint8Array.from(Object.values(NodeKind), (kind) => buffers[kind].filter(({ role }) => role !== "variadic").length);
const COUNTS_V4 = counts(BUFFERS_V4);
const COUNTS = counts(BUFFERS);

/**
 * Number of the buffers that every node of a kind has; the variadic ones, which are the last ones, are not counted.
 *
 * @param version Metadata version of the message
 */
export function fixedBufferCount(kind: NodeKind, version: 4 | 5): number {
  return (version === 4 ? COUNTS_V4 : COUNTS)[kind];
}

/**
 * Bytes that the values of a node take in a buffer; 0 if that does not follow from the length of the node.
 *
 * @param spec Buffer of the node
 * @param length Number of values of the node
 * @param typeBits Bits of one value, according to the type of the column
 */
export function bytesOf(spec: BufferSpec, length: number, typeBits: number): number {
  const { count } = spec;
  if (count === any || count === lastOffset) return 0;
  const elements = count === values ? length : length + 1;
  return Math.ceil(elements * (spec.bits ?? typeBits) / 8);
}
