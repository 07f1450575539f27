/**
 * Fuzz targets for gRPC: how messages are framed, and what an answer's status says.
 *
 * @module
 */
import { GRPC_PREFIX_BYTES } from "../../../src/grpc/framing.ts";
import { decodeStatusText, errorOfHttpStatus, isGrpcType } from "../../../src/grpc/answer_status.ts";
import { MessageDecoder } from "../../../src/grpc/message_decoder.ts";
import { errorOfGrpcStatus, grpcStatusOf } from "../../../src/grpc/status.ts";
import { grpcMessage, join } from "../../support/bytes.ts";
import { check, encode, fromLatin1, inPieces, latin1 } from "../support/checks.ts";
import type { FuzzTarget } from "../target.ts";

const MAX_MESSAGE_BYTES = 1000;
const PIECES = [0, 1, 2, 5, 7, 100];

/** Decodes messages, some of them taken while others are still coming. */
function decode(bytes: Uint8Array, pieceBytes: number, takesAtOnce: boolean): Uint8Array {
  const decoder = new MessageDecoder(MAX_MESSAGE_BYTES);
  const found: Uint8Array[] = [];
  const take = () => {
    for (let message; (message = decoder.take()) !== null;) found.push(grpcMessage(message));
    check("nothing waits once everything was taken", decoder.queuedBytes === 0);
  };
  try {
    inPieces(bytes, pieceBytes, (piece) => {
      decoder.push(piece);
      if (takesAtOnce) take();
    });
    take();
    const all = join(...found);
    check("messages come out as they went in", all.every((byte, i) => byte === bytes[i]));
    check("what is missing is the end of a message", decoder.isWhole === (all.byteLength === bytes.byteLength));
    return all;
  } finally {
    decoder.close();
  }
}

const messages: FuzzTarget = {
  name: "grpc/messages",
  files: ["src/grpc/message_decoder.ts"],
  maxInputBytes: 2000,
  seeds: () => [
    join(Uint8Array.of(0), grpcMessage(encode("one")), grpcMessage(encode("two"))),
    join(Uint8Array.of(9), grpcMessage(new Uint8Array(0)), grpcMessage(new Uint8Array(900))),
    join(Uint8Array.of(3), grpcMessage(encode("cut")).subarray(0, 6)),
  ],
  mutate(input, random) {
    const length = random.pick([0, 1, 3, 200, MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES + 1, 2 ** 31, 2 ** 32 - 1]);
    const content = new Uint8Array(random.chance(0.7) ? Math.min(length, 300) : random.below(20));
    const at = random.chance(0.7) ? input.byteLength : random.below(input.byteLength + 1);
    const flag = random.chance(0.9) ? 0 : random.below(4);
    return join(input.subarray(0, at), grpcMessage(content, length, flag), input.subarray(at));
  },
  run(input) {
    const mode = input[0] ?? 0;
    const bytes = input.subarray(1);
    return decode(bytes, PIECES[(mode >> 1) % PIECES.length], (mode & 1) !== 0).byteLength >= GRPC_PREFIX_BYTES;
  },
};

const status: FuzzTarget = {
  name: "grpc/status",
  files: ["src/grpc/answer_status.ts", "src/grpc/status.ts"],
  maxInputBytes: 300,
  // A status of gRPC or of HTTP, then a text or a content type.
  seeds: () => [
    join(Uint8Array.of(5), encode("no%20dataset%0A%C3%BC")),
    join(Uint8Array.of(0), encode("%zz%")),
    join(Uint8Array.of(200), encode("application/grpc+proto")),
    join(Uint8Array.of(203), encode("text/html; charset=utf-8")),
  ],
  run(input) {
    const number = input[0] ?? 0;
    const text = latin1(input.subarray(1));
    const isHttp = number >= 128;
    const decoded = decodeStatusText(text);
    check("a text grows at most by what is not UTF-8", decoded.length <= text.length);
    const plain = fromLatin1(text).every((byte) => byte !== 0x25 && byte < 128);
    check("plain text stays as it is", !plain || decoded === text);
    if (isHttp) return !isGrpcType(text) || errorOfHttpStatus(number + 300, text, "DoGet").code !== "internal";
    const error = errorOfGrpcStatus(number, decoded, "DoGet");
    check("a status is kept", grpcStatusOf(error) === number && error.foreign?.text === decoded);
    return error.code !== "internal";
  },
};

const targets: FuzzTarget[] = [messages, status];
export default targets;
