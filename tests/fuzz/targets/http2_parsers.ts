/**
 * Fuzz targets for the parsers of HTTP/2: frames and header blocks.
 *
 * @module
 */
import { checkFrame } from "../../../src/http2/frame_checks.ts";
import { type ControlSink, type DataSink, FrameReader, FrameType } from "../../../src/http2/frames.ts";
import { encodeHeaders, HpackDecoder } from "../../../src/http2/hpack.ts";
import { fieldsError, headersOf, readRequest, readStatus } from "../../../src/http2/fields.ts";
import { initialSettings, readSettings } from "../../../src/http2/settings.ts";
import { join } from "../../support/bytes.ts";
import type { Random } from "../../support/random.ts";
import { answering, check, inPieces } from "../support/checks.ts";
import { framesOfClient, framesOfServer, mutateFrames } from "../support/http2_frames.ts";
import type { FuzzTarget } from "../target.ts";

const MAX_FRAME_BYTES = 16_384;
const MAX_LIST_BYTES = 1000;

/** Writes down what a reader reads; pieces of a body count as one. */
class Journal implements ControlSink, DataSink {
  entries: string[] = [];
  #body = 0;

  onFrame(type: number, flags: number, streamId: number, payload: Uint8Array): void {
    checkFrame(type, flags, streamId, payload.byteLength);
    if (type === FrameType.settings) readSettings(payload, initialSettings(), false);
    this.entries.push(`frame ${type} ${flags} ${streamId} ${payload.toHex()}`);
  }
  onHeaders(streamId: number, flags: number, block: Uint8Array): void {
    this.entries.push(`headers ${streamId} ${flags} ${block.toHex()}`);
  }
  onDataStart(streamId: number, flags: number, length: number): void {
    this.entries.push(`data ${streamId} ${flags} ${length}`);
    this.#body = length;
  }
  onDataBytes(bytes: Uint8Array): void {
    for (const byte of bytes) this.entries.push(String(byte));
    this.#spend(bytes.byteLength);
  }
  onDataPadding(length: number): void {
    this.#spend(length);
  }
  onDataEnd(): void {
    check("a DATA frame ends when all of it has come", this.#body === 0);
    this.entries.push("end");
  }
  #spend(bytes: number): void {
    this.#body -= bytes;
    check("no more than a DATA frame holds is passed on", this.#body >= 0);
  }
}

/** What a reader reads of bytes in pieces, and why it stopped. */
function read(bytes: Uint8Array, isServer: boolean, pieceBytes: number): { text: string; error: unknown } {
  const journal = new Journal();
  const reader = new FrameReader(journal, journal, MAX_FRAME_BYTES, isServer);
  try {
    inPieces(bytes, pieceBytes, (piece) => reader.push(piece));
    return { text: journal.entries.join("\n"), error: null };
  } catch (error) {
    return { text: journal.entries.join("\n"), error };
  }
}

const PIECES = [1, 2, 3, 8, 9, 10, 64];

const frames: FuzzTarget = {
  name: "http2/frames",
  files: ["src/http2/frames.ts", "src/http2/frame_checks.ts", "src/http2/settings.ts"],
  maxInputBytes: 2000,
  // Whose frames, and in pieces of which length.
  seeds: () => [
    ...framesOfClient().map((bytes, i) => join(Uint8Array.of(2 * i), bytes)),
    ...framesOfServer().map((bytes, i) => join(Uint8Array.of(2 * i + 1), bytes)),
  ],
  mutate: (input, random) => mutateFrames(input, 1, random),
  run(input) {
    if (input.byteLength === 0) return false;
    const isServer = (input[0] & 1) !== 0;
    const bytes = input.subarray(1);
    const whole = read(bytes, isServer, 0), pieces = read(bytes, isServer, PIECES[(input[0] >> 1) % PIECES.length]);
    check("pieces are read as the whole is", String(whole.error) === String(pieces.error));
    check("pieces are read as the whole is", whole.text === pieces.text);
    answering(() => {
      if (whole.error !== null) throw whole.error;
    });
    return whole.text !== "";
  },
};

/** Header blocks, each after its length as u8. */
function blocks(...fields: (readonly [string, string])[][]): Uint8Array<ArrayBuffer> {
  return join(
    ...fields.map((each, i) => encodeHeaders(each, i === 0)).flatMap((block) => [
      Uint8Array.of(block.byteLength),
      block,
    ]),
  );
}

const REQUEST = [[":method", "POST"], [":scheme", "http"], [":path", "/s/M"], [":authority", "here"]] as const;
/** Of RFC 7541, appendix C.4 and C.6: dynamic tables and Huffman code. */
const EXAMPLES = [
  [
    "828684418cf1e3c2e5f23a6ba0ab90f4ff",
    "828684be5886a8eb10649cbf",
    "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
  ],
  [
    "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
    "4883640effc1c0bf",
    "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af2708" +
    "7f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
  ],
];

function mutateBlocks(input: Uint8Array, random: Random): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < input.byteLength; at += 1 + input[at]) parts.push(input.slice(at + 1, at + 1 + input[at]));
  if (parts.length === 0) return input.slice();
  const part = random.pick(parts);
  switch (random.below(4)) {
    case 0:
      parts.push(part);
      break;
    case 1: // a change of the table's size
      parts.splice(random.below(parts.length), 0, Uint8Array.of(0x20 | random.below(32), random.below(256)));
      break;
    case 2:
      if (part.byteLength > 0) part[random.below(part.byteLength)] = 0xC0 - random.below(4);
      break;
    default:
      if (part.byteLength > 0) part[random.below(part.byteLength)] ^= 1 << random.below(8);
  }
  return join(...parts.flatMap((each) => [Uint8Array.of(each.byteLength), each.subarray(0, 255)]));
}

const hpack: FuzzTarget = {
  name: "http2/hpack",
  files: ["src/http2/hpack.ts", "src/http2/huffman.ts", "src/http2/fields.ts"],
  maxInputBytes: 1200,
  seeds: () => [
    blocks([...REQUEST], [[":status", "200"], ["content-type", "application/grpc"]], [["grpc-status", "0"]]),
    blocks([...REQUEST, ["authorization", "Bearer x"], ["cookie", "a=b"], ["te", "trailers"], ["content-length", "5"]]),
    ...EXAMPLES.map((each) =>
      join(
        ...each.map((digits) => Uint8Array.fromHex(digits)).flatMap((block) => [
          Uint8Array.of(block.byteLength),
          block,
        ]),
      )
    ),
  ],
  mutate: mutateBlocks,
  run(input) {
    const decoder = new HpackDecoder(MAX_LIST_BYTES, new Set(["grpc-message"]));
    let count = 0;
    for (let at = 0; at < input.byteLength; at += 1 + input[at]) {
      const block = input.subarray(at + 1, at + 1 + input[at]);
      const { fields, isTooLong } = answering(() => decoder.decode(block));
      const bytes = fields.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0);
      check("a list is within its limit", bytes <= MAX_LIST_BYTES);
      check("the table is within its limit", decoder.tableBytes >= 0 && decoder.tableBytes <= 4096);
      const again = new HpackDecoder(MAX_LIST_BYTES).decode(encodeHeaders(fields, true)).fields;
      check("fields come out the same", JSON.stringify(again) === JSON.stringify(fields));
      if (!isTooLong) readRequest(fields);
      if (typeof readStatus(fields) === "number") headersOf(fields.slice(1));
      if (fieldsError(fields) === null) headersOf(fields);
      count += fields.length;
    }
    return count > 0;
  },
};

const targets: FuzzTarget[] = [frames, hpack];
export default targets;
