/**
 * Fuzz target for FlightData: gRPC messages that hold Arrow data, as they arrive in pieces, up to verified messages.
 *
 * @module
 */
import { encodeFrame, FrameVerifier, type OutgoingFrame } from "../../../src/flight/data.ts";
import { FrameDecoder } from "../../../src/flight/frame_decoder.ts";
import type { FlightFrame } from "../../../src/flight/data.ts";
import { readerLimits } from "../../../src/limits.ts";
import { join } from "../../support/bytes.ts";
import type { Random } from "../../support/random.ts";
import { storedStreams } from "../../support/simulated_dataset.ts";
import { SimulatedPool } from "../../support/simulated_memory.ts";
import { check, encode, inPieces, same } from "../support/checks.ts";
import type { FuzzTarget } from "../target.ts";

const LIMITS = readerLimits({ maxMetadataBytes: 4096, maxBodyBytes: 20_000 });
const PIECES = [0, 1, 3, 17, 512];
const PUT_RESULTS = 1, REQUEST = 2, VERIFIED = 4;

/** Whole streams as a peer sends them. */
const STREAMS: OutgoingFrame[][] = storedStreams()
  .filter(({ name }) => name !== "long" && name !== "large")
  .map(({ schema, messages }) => [
    { descriptor: { path: ["a", "b"] }, header: schema.bytes, appMetadata: encode("first") },
    ...messages.map(({ header }) => ({ header: header.bytes, body: new Uint8Array(header.bodyLength).fill(1) })),
  ]);
const bytesOfFrames = (frames: readonly OutgoingFrame[]) => join(...frames.flatMap(encodeFrame));

let peakBytes = 0;

/** What was decoded, with its memory back in the pool. */
function decode(input: Uint8Array, mode: number): { frames: FlightFrame[]; isWhole: boolean } {
  const pool = new SimulatedPool();
  const { maxMetadataBytes, maxBodyBytes } = LIMITS;
  const decoder = new FrameDecoder({
    ...{ maxMetadataBytes, maxBodyBytes, pool },
    ...{ isPutResults: (mode & PUT_RESULTS) !== 0, isRequest: (mode & REQUEST) !== 0 },
  });
  const verifier = (mode & VERIFIED) !== 0 ? new FrameVerifier(LIMITS) : null;
  const frames: FlightFrame[] = [];
  try {
    inPieces(input, PIECES[(mode >> 3) % PIECES.length], (piece) => {
      decoder.push(piece);
      for (let frame; (frame = decoder.take()) !== null;) {
        check("a body is within its limit", (frame.body?.byteLength ?? 0) <= maxBodyBytes);
        check("metadata is within its limit", frame.header.byteLength <= maxMetadataBytes);
        check("metadata is within its limit", frame.appMetadata.byteLength <= maxMetadataBytes);
        if (verifier !== null) verifier.verify(frame)?.body?.release();
        else keep(frame, frames);
      }
      check("nothing waits once everything was taken", decoder.queuedBytes === 0);
    });
    return { frames, isWhole: decoder.isWhole };
  } finally {
    decoder.close();
    peakBytes = pool.peakBytes;
    check("every block is given back", pool.out === 0 && pool.misuses === 0);
  }
}

/** Keeps a frame with a copy of its body. */
function keep(frame: FlightFrame, frames: FlightFrame[]): void {
  const bytes = frame.body?.bytes().slice() ?? null;
  frame.body?.release();
  frames.push({
    ...frame,
    body: bytes === null ? null : { byteLength: bytes.byteLength, bytes: () => bytes } as never,
  });
}

/** What is written again is read the same. */
function checkAgain(frames: readonly FlightFrame[]): void {
  const outgoing = frames.map(({ descriptor, header, appMetadata, body }) => ({
    ...{ descriptor, header, appMetadata },
    body: body?.bytes() ?? null,
  }));
  const again = decode(bytesOfFrames(outgoing), 0).frames;
  check("as many frames come out", again.length === frames.length);
  again.forEach((frame, i) => {
    same("a header", frame.header, frames[i].header);
    same("application metadata", frame.appMetadata, frames[i].appMetadata);
    // An empty body is not written.
    if ((frames[i].body?.byteLength ?? 0) > 0) same("a body", frame.body?.bytes() ?? null, frames[i].body!.bytes());
  });
}

/** Puts a field into a message, or repeats a whole message. */
function mutate(input: Uint8Array, random: Random): Uint8Array {
  if (random.chance(0.3)) {
    return join(input, bytesOfFrames(random.pick(STREAMS).filter(() => random.chance(0.4))));
  }
  const length = random.below(random.pick([4, 100, 5000]));
  const value = new Uint8Array(Math.min(length, 300));
  const tag = random.pick([[0x0a], [0x12], [0x1a], [0xc2, 0x3e], [0x22], [0x08], [0x09], [0x0d], [0x0b], [0x02]]);
  const field = join(Uint8Array.of(...tag, 0x80 | length & 127, length >> 7 & 127), value);
  const message = join(Uint8Array.of(0, 0, 0, field.byteLength >> 8, field.byteLength & 255), field);
  const at = random.chance(0.6) ? input.byteLength : random.below(input.byteLength + 1);
  return join(input.subarray(0, at), message, input.subarray(at));
}

const target: FuzzTarget = {
  name: "flight/data",
  files: ["src/flight/frame_decoder.ts", "src/flight/data.ts", "src/flight/value_buffer.ts"],
  maxInputBytes: 12_000,
  maxAllocatedBytes: 1 << 20,
  seeds: () => [
    ...STREAMS.map((frames, i) => join(Uint8Array.of(VERIFIED | i % 5 << 3), bytesOfFrames(frames))),
    ...STREAMS.map((frames, i) => join(Uint8Array.of(REQUEST | i % 5 << 3), bytesOfFrames(frames))),
    join(Uint8Array.of(PUT_RESULTS), Uint8Array.of(0, 0, 0, 0, 5, 0x0a, 3, 1, 2, 3)),
  ],
  mutate,
  run(input) {
    const mode = input[0] ?? 0;
    const { frames, isWhole } = decode(input.subarray(1), mode);
    if ((mode & (PUT_RESULTS | VERIFIED)) === 0) checkAgain(frames);
    return isWhole && input.byteLength > 1;
  },
  allocatedBytes: () => peakBytes,
};

export default target;
