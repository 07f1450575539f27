/**
 * FlightData on the wire: ours against protobuf-es's and against bytes written by hand, in any pieces, and malformed.
 */
import { assert, assertEquals, assertLess, assertThrows } from "@std/assert";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Dictionary, Int32, Table, Utf8, vectorFromArray } from "apache-arrow";
import { DipcError, type DipcErrorCode, fromTable } from "../../mod.ts";
import {
  encodeFrame,
  type FlightFrame,
  frameOfMessage,
  FrameVerifier,
  type OutgoingFrame,
} from "../../src/flight/data.ts";
import { FrameDecoder, type FrameDecoderOptions } from "../../src/flight/frame_decoder.ts";
import { FlightDataSchema, PutResultSchema } from "../../src/flight/gen/flight_pb.ts";
import { MessageDecoder } from "../../src/grpc/message_decoder.ts";
import { descriptorToProto } from "../../src/flight/model.ts";
import { defaultReaderLimits } from "../../src/limits.ts";
import { HostPool } from "../../src/memory/host_pool.ts";
import { grpcMessage, join } from "../support/bytes.ts";
import { assertDipcError } from "../support/assert.ts";
import { seed, seededRandom } from "../support/random.ts";

const MiB = 2 ** 20;
const LIMITS: FrameDecoderOptions = { maxMetadataBytes: 16 * MiB, maxBodyBytes: 4 * 2 ** 30 };

function decode(bytes: Uint8Array, options: FrameDecoderOptions = LIMITS, cut: () => number = () => bytes.byteLength) {
  const decoder = new FrameDecoder(options);
  for (let at = 0; at < bytes.byteLength;) {
    const end = Math.min(bytes.byteLength, at + cut());
    decoder.push(bytes.subarray(at, end));
    at = end;
  }
  const frames: FlightFrame[] = [];
  for (let frame; (frame = decoder.take()) !== null;) frames.push(frame);
  return { frames, decoder };
}

const plain = ({ descriptor, header, appMetadata, body }: FlightFrame) => ({
  descriptor,
  header: [...header],
  appMetadata: [...appMetadata],
  body: body === null ? [] : [...body.bytes()],
});

Deno.test(`frames are protobuf's bytes, and come back from any pieces (seed ${seed})`, () => {
  const random = seededRandom();
  const bytes = (most: number) => Uint8Array.from({ length: random.below(most) }, () => random.fraction() * 256);
  const pool = new HostPool();
  for (let round = 0; round < 200; round++) {
    const frame: OutgoingFrame = {
      descriptor: random.chance(0.3) ? { path: ["a", "ü", "x".repeat(random.fraction() * 200)] } : null,
      header: bytes(300),
      appMetadata: bytes(20),
      body: bytes(random.chance(0.1) ? 40_000 : 400),
    };
    const ours = join(...encodeFrame(frame));
    const theirs = toBinary(
      FlightDataSchema,
      create(FlightDataSchema, {
        flightDescriptor: frame.descriptor ? descriptorToProto(frame.descriptor) : undefined,
        dataHeader: frame.header,
        appMetadata: frame.appMetadata!,
        dataBody: frame.body!,
      }),
    );
    assertEquals(ours, grpcMessage(theirs));
    const twice = join(ours, ours);
    const pieces = random.chance(0.5) ? () => 1 : () => 1 + random.below(3000);
    const { frames, decoder } = decode(twice, { ...LIMITS, pool: random.chance(0.5) ? pool : undefined }, pieces);
    assert(decoder.isWhole, "the decoder waits for more");
    assertEquals(frames.length, 2);
    for (const found of frames) {
      assertEquals(plain(found), {
        descriptor: frame.descriptor ?? null,
        header: [...frame.header!],
        appMetadata: [...frame.appMetadata!],
        body: [...frame.body!],
      });
      found.body?.release();
    }
  }
  assertEquals(pool.stats.blocksOut, 0);
});

Deno.test("unknown fields are skipped, any order is taken, and the last of two counts", () => {
  // deno-fmt-ignore -- one field a line: tag, then length or value (protobuf's encoding)
  const message = Uint8Array.of(
    0xc2, 0x3e, 2, 1, 2,                    // data_body (1000): 1 2
    0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, // 4: varint, 2^64 - 1
    0x1a, 1, 9,                             // app_metadata (3): 9
    0x29, 1, 2, 3, 4, 5, 6, 7, 8,           // 5: fixed64
    0x12, 3, 7, 7, 7,                       // data_header (2): 7 7 7
    0x35, 1, 2, 3, 4,                       // 6: fixed32
    0x3a, 2, 0, 0,                          // 7: bytes
    0x3a, 0,                                // 7: no bytes
    0xc2, 0x3e, 3, 4, 5, 6,                 // data_body again
    0x12, 1, 8,                             // data_header again
  );
  const { frames } = decode(grpcMessage(message));
  assertEquals(frames.map(plain), [{ descriptor: null, header: [8], appMetadata: [9], body: [4, 5, 6] }]);
  // The same rules by protobuf-es.
  const { dataHeader, dataBody } = fromBinary(FlightDataSchema, message);
  assertEquals([[...dataHeader], [...dataBody]], [[8], [4, 5, 6]]);
});

Deno.test("a PutResult is application metadata alone", () => {
  const result = toBinary(PutResultSchema, create(PutResultSchema, { appMetadata: Uint8Array.of(1, 2, 3) }));
  const more = join(result, Uint8Array.of(0x12, 2, 5, 5));
  const { frames } = decode(join(grpcMessage(more), grpcMessage(new Uint8Array(0))), { ...LIMITS, isPutResults: true });
  assertEquals(frames.map(plain).map(({ appMetadata, header }) => [appMetadata, header]), [[[1, 2, 3], []], [[], []]]);
});

Deno.test("malformed messages and those over a limit are refused", () => {
  const small: FrameDecoderOptions = { maxMetadataBytes: 8, maxBodyBytes: 16 };
  const cases: [what: string, bytes: Uint8Array, code: DipcErrorCode, part: string][] = [
    ["compressed", grpcMessage(new Uint8Array(1), 1, 1), "protocol", "compressed"],
    ["a strange flag", grpcMessage(new Uint8Array(1), 1, 0x80), "protocol", "flag byte is 128"],
    ["4 GiB announced", grpcMessage(new Uint8Array(0), 2 ** 32 - 1), "limit_exceeded", "4294967295"],
    ["a body over the limit", grpcMessage(Uint8Array.of(0xc2, 0x3e, 17), 40), "limit_exceeded", "maxBodyBytes"],
    ["a header over the limit", grpcMessage(Uint8Array.of(0x12, 9), 40), "limit_exceeded", "maxMetadataBytes"],
    ["a field longer than the message", grpcMessage(Uint8Array.of(0x12, 5, 1)), "protocol", "longer than the message"],
    ["an unknown field longer than the message", grpcMessage(Uint8Array.of(0x3a, 5, 1)), "protocol", "longer"],
    ["a fixed64 cut off", grpcMessage(Uint8Array.of(0x29, 1)), "protocol", "longer than the message"],
    ["an end inside a tag", grpcMessage(Uint8Array.of(0xc2)), "protocol", "ends inside"],
    ["an end inside a length", grpcMessage(Uint8Array.of(0x12)), "protocol", "ends inside"],
    ["a tag of six bytes", grpcMessage(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 1)), "protocol", "too long"],
    [
      "a varint of eleven bytes",
      grpcMessage(new Uint8Array(12).fill(0xff, 1).fill(0x20, 0, 1)),
      "protocol",
      "too long",
    ],
    ["a group", grpcMessage(Uint8Array.of(0x0b)), "protocol", "wire type 3"],
    ["field 0", grpcMessage(Uint8Array.of(0x02, 0)), "protocol", "number 0"],
    ["a malformed descriptor", grpcMessage(Uint8Array.of(0x0a, 2, 0x1a, 5)), "protocol", "descriptor"],
  ];
  for (const [what, bytes, code, part] of cases) {
    for (const cut of [() => bytes.byteLength, () => 1]) {
      assertDipcError(code, part, () => decode(bytes, small, cut), what);
    }
  }
  assertEquals(decode(grpcMessage(Uint8Array.of(0x12, 1, 1)).subarray(0, 7), small).decoder.isWhole, false);
});

Deno.test("a body that is announced and does not come takes no memory", () => {
  const before = Deno.memoryUsage();
  const decoders = Array.from({ length: 8 }, () => {
    const decoder = new FrameDecoder({ ...LIMITS, pool: new HostPool() });
    decoder.push(grpcMessage(Uint8Array.of(0xc2, 0x3e, 0x80, 0x80, 0x80, 0x80, 0x0f), 4 * 2 ** 30 - 100));
    decoder.push(new Uint8Array(1000));
    return decoder;
  });
  const after = Deno.memoryUsage();
  // 8 × 3.75 GiB were announced.
  assertLess(after.rss - before.rss, 64 * MiB);
  assertLess(after.external - before.external, 256 * MiB);
  for (const decoder of decoders) decoder.close();
});

Deno.test(`messages of small calls come back from any pieces, taken early or late (seed ${seed})`, () => {
  const random = seededRandom();
  for (let round = 0; round < 100; round++) {
    const most = random.chance(0.2) ? 100_000 : 300;
    const sent = Array.from(
      { length: random.below(60) },
      () => Uint8Array.from({ length: random.chance(0.2) ? 0 : random.below(most) }, () => random.fraction() * 256),
    );
    const bytes = join(...sent.map((message) => grpcMessage(message)));
    const decoder = new MessageDecoder(most);
    const taken: Uint8Array[] = [];
    const eagerness = random.fraction();
    for (let at = 0; at < bytes.byteLength;) {
      const end = Math.min(bytes.byteLength, at + 1 + random.below(random.chance(0.1) ? 50_000 : most));
      decoder.push(bytes.subarray(at, end));
      at = end;
      while (random.chance(eagerness)) {
        const message = decoder.take();
        if (message === null) break;
        taken.push(message);
      }
    }
    assert(decoder.isWhole, "the decoder waits for more");
    for (let message; (message = decoder.take()) !== null;) taken.push(message);
    assertEquals(decoder.queuedBytes, 0);
    assertEquals(taken, sent);
  }
});

Deno.test("a small call's message that is compressed, too long or half there is refused after those before it", () => {
  const good = grpcMessage(Uint8Array.of(1, 2, 3));
  for (
    const [bad, code, words] of [
      [grpcMessage(new Uint8Array(1), 1, 1), "protocol", "compressed"],
      [grpcMessage(new Uint8Array(1), 1, 7), "protocol", "flag byte is 7"],
      [grpcMessage(new Uint8Array(0), 11), "limit_exceeded", "11 bytes are announced, maxMessageBytes is 10"],
      [grpcMessage(new Uint8Array(0), 2 ** 32 - 1), "limit_exceeded", "4294967295 bytes"],
    ] as const
  ) {
    const decoder = new MessageDecoder(10);
    assertDipcError(code, words, () => decoder.push(join(good, bad)));
    assertEquals(decoder.take(), Uint8Array.of(1, 2, 3));
    assertEquals(decoder.take(), null);
  }
  const decoder = new MessageDecoder(10);
  decoder.push(join(good, grpcMessage(new Uint8Array(2), 3)));
  assertEquals(decoder.isWhole, false);
  assertEquals(decoder.queuedBytes, good.byteLength);
  decoder.close();
  assertEquals(decoder.take(), null);
});

Deno.test("messages keep header, body and application metadata; a frame that does not fit its header is refused", async () => {
  const dataset = await fromTable(
    new Table({ w: vectorFromArray(["a", "b"], new Dictionary(new Utf8(), new Int32())) }),
  );
  const run = await dataset.open();
  const pieces: Uint8Array[] = [...encodeFrame({ header: dataset.schema.bytes })];
  const sent: [string, number][] = [];
  for (let message; (message = await run.next()) !== null;) {
    sent.push([message.header.kind, message.header.bodyLength]);
    pieces.push(...encodeFrame(frameOfMessage(message, { appMetadata: Uint8Array.of(sent.length) })));
  }
  const verifier = new FrameVerifier(defaultReaderLimits);
  const found = decode(join(...pieces)).frames.map((frame) => verifier.verify(frame)!);
  assertEquals(found.map(({ header }) => [header.kind, header.bodyLength]), [["schema", 0], ...sent]);
  assertEquals(found.slice(1).map(({ appMetadata }) => [...appMetadata!]), sent.map((_, i) => [i + 1]));
  assertEquals(sent.map(([kind]) => kind), ["dictionary", "batch"]);

  const [schema, , last] = decode(join(...pieces)).frames;
  const wrong: [FlightFrame, string][] = [
    [{ ...last, body: null }, "announces a body of"],
    [{ ...last, header: new Uint8Array(0) }, "but no header"],
    [{ ...last, header: Uint8Array.of(1, 2, 3, 4) }, ""],
    [schema, "a second schema"],
  ];
  for (const [frame, part] of wrong) {
    const fresh = new FrameVerifier(defaultReaderLimits);
    fresh.verify({ ...schema, body: null });
    assertDipcError("invalid_data", part, () => fresh.verify(frame));
  }
  const withBody = new FrameVerifier(defaultReaderLimits);
  assertThrows(() => withBody.verify({ ...schema, body: last.body }), DipcError, "announces a body of 0 bytes");
  const none = { descriptor: null, header: new Uint8Array(0), appMetadata: Uint8Array.of(1), body: null };
  assertEquals(new FrameVerifier(defaultReaderLimits).verify(none), null);
  await dataset.close();
});
