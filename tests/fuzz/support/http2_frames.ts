/**
 * Frames of HTTP/2 to start fuzzing from, and a mutation that keeps most of them whole.
 *
 * @module
 */
import { Flag, frame, FrameType, numbersFrame, PREFACE, settingsFrame } from "../../../src/http2/frames.ts";
import { encodeHeaders } from "../../../src/http2/hpack.ts";
import { grpcMessage, join } from "../../support/bytes.ts";
import { answer, request, requestBlock } from "../../support/http2_raw.ts";
import type { Random } from "../../support/random.ts";

const { data, headers, priority, rstStream, settings, ping, goaway, windowUpdate, continuation } = FrameType;
const { endStream, endHeaders, padded } = Flag;
const message = grpcMessage(Uint8Array.of(1, 2, 3));

/** A header block cut into HEADERS and CONTINUATION. */
function cutBlock(streamId: number, flags: number): Uint8Array {
  const block = requestBlock();
  return join(
    frame(headers, flags, streamId, block.subarray(0, 5)),
    frame(continuation, 0, streamId, block.subarray(5, 9)),
    frame(continuation, endHeaders, streamId, block.subarray(9)),
  );
}

/** What clients send, preface first. */
export function framesOfClient(): Uint8Array[] {
  const start = join(PREFACE, settingsFrame([[4, 1 << 20], [5, 1 << 15], [3, 4]]));
  return [
    join(start, request(1), frame(data, endStream, 1, message)),
    join(start, request(1), request(3), frame(data, padded, 1, join(Uint8Array.of(2), message, new Uint8Array(2)))),
    join(start, cutBlock(1, endStream), frame(ping, 0, 0, new Uint8Array(8)), numbersFrame(windowUpdate, 1, 100)),
    join(start, request(1), numbersFrame(rstStream, 1, 8), numbersFrame(goaway, 0, 0, 0)),
    join(start, frame(settings, Flag.ack, 0), frame(priority, 0, 1, new Uint8Array(5)), frame(99, 0, 0, message)),
    join(
      start,
      request(1, endHeaders, requestBlock("/s/M", [["content-length", "8"], ["cookie", "a=b"]])),
      frame(data, 0, 1, message.subarray(0, 4)),
      frame(data, 0, 1, message.subarray(4)),
      frame(headers, endStream | endHeaders, 1, encodeHeaders([["x-end", "1"]])),
    ),
  ];
}

/** What servers send, to a client with streams 1 and 3. */
export function framesOfServer(): Uint8Array[] {
  const start = settingsFrame([[3, 100], [4, 1 << 20]]);
  const trailers = answer(1, endStream, [["grpc-status", "0"], ["grpc-message", "a%20b"]]);
  return [
    join(start, answer(1), frame(data, 0, 1, message), trailers),
    join(
      start,
      answer(1, endStream, [[":status", "200"], ["grpc-status", "5"]]),
      answer(3),
      frame(data, 0, 3, message),
    ),
    join(start, answer(1, 0, [[":status", "100"]]), answer(1, 0, [[":status", "200"], ["content-length", "8"]])),
    join(start, frame(settings, Flag.ack, 0), numbersFrame(windowUpdate, 0, 1000), numbersFrame(windowUpdate, 3, 7)),
    join(start, answer(1), numbersFrame(goaway, 0, 1, 0), frame(data, endStream, 1, message)),
    join(start, numbersFrame(rstStream, 1, 7), frame(ping, 0, 0, new Uint8Array(8)), numbersFrame(goaway, 0, 3, 2)),
  ];
}

const TYPES = [data, headers, priority, rstStream, settings, ping, goaway, windowUpdate, continuation, 5, 77];
const FLAGS = [0, endStream, endHeaders, endStream | endHeaders, padded, 0x20, 0xFF];
const STREAMS = [0, 1, 1, 3, 3, 5, 2, 7, 0x7FFFFFFF];
const NUMBERS = [0, 1, 2, 7, 8, 11, 1000, 65_535, 0x7FFFFFFF, 0xFFFFFFFF];

/**
 * Adds, repeats, removes or changes one frame.
 *
 * @param from Bytes before the first frame, besides a preface
 */
export function mutateFrames(input: Uint8Array, from: number, random: Random): Uint8Array {
  const starts: number[] = [];
  let at = input[from] === PREFACE[0] && input[from + 1] === PREFACE[1] ? from + PREFACE.byteLength : from;
  while (at + 9 <= input.byteLength) {
    starts.push(at);
    at += 9 + (input[at] << 16 | input[at + 1] << 8 | input[at + 2]);
  }
  const start = starts.length === 0 ? Math.min(at, input.byteLength) : random.pick(starts);
  const end = Math.min(
    input.byteLength,
    starts.length === 0 ? start : start + 9 + (input[start] << 16 | input[start + 1] << 8 | input[start + 2]),
  );
  const before = input.subarray(0, start), found = input.subarray(start, end), rest = input.subarray(end);
  switch (random.below(6)) {
    case 0:
    case 1:
      return join(before, found, randomFrame(random), rest);
    case 2:
      return join(before, found, found, rest);
    case 3:
      return join(before, rest);
    case 4: { // another type, other flags or another stream
      const changed = input.slice();
      if (end - start < 9) return changed;
      const which = random.below(3);
      if (which === 0) changed[start + 3] = random.pick(TYPES);
      else if (which === 1) changed[start + 4] = random.pick(FLAGS);
      else new DataView(changed.buffer).setUint32(start + 5, random.pick(STREAMS));
      return changed;
    }
    default: { // other content
      const changed = input.slice();
      if (end - start > 9) changed[start + 9 + random.below(end - start - 9)] ^= 1 << random.below(8);
      return changed;
    }
  }
}

function randomFrame(random: Random): Uint8Array {
  const type = random.pick(TYPES), flags = random.pick(FLAGS), streamId = random.pick(STREAMS);
  switch (type) {
    case headers:
      return random.chance(0.5) ? request(streamId, flags) : answer(streamId, flags);
    case settings:
      return settingsFrame([[random.below(8), random.pick(NUMBERS)]]);
    case data:
      return frame(data, flags, streamId, random.chance(0.5) ? message : new Uint8Array(random.below(40)));
    case rstStream:
    case windowUpdate:
      return numbersFrame(type, streamId, random.pick(NUMBERS));
    case goaway:
      return numbersFrame(goaway, 0, random.pick(STREAMS), random.pick(NUMBERS));
    case ping:
      return frame(ping, flags, 0, new Uint8Array(8));
    default:
      return frame(type, flags, streamId, new Uint8Array(random.below(12)));
  }
}
