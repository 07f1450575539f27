/**
 * Fuzz targets for the parsers of the protocol: what they accept must come out the same when it is written again.
 *
 * @module
 */
import { encodeError, encodeRequest, parseError, parseRequest, peerError } from "../../../src/protocol/envelope.ts";
import { encodeFrame, frameSequence, frameType, METADATA, PREFIX_BYTES } from "../../../src/protocol/prefix.ts";
import { bodyTag, encodeTag, formatTag, tagBodyType, tagSequence } from "../../../src/protocol/tag.ts";
import { formatUri, groupLocations, parseUri } from "../../../src/protocol/uri.ts";
import type { Random } from "../../support/random.ts";
import { check, encode, fromLatin1, latin1, same } from "../support/checks.ts";
import type { FuzzTarget } from "../target.ts";

const prefix: FuzzTarget = {
  name: "protocol/prefix",
  files: ["src/protocol/prefix.ts"],
  maxInputBytes: 64,
  seeds: () => [encodeFrame(METADATA, 1, encode("metadata")), encodeFrame(0, 0xFFFFFFFF), encodeFrame(255, 0x80000000)],
  run(input) {
    if (input.byteLength < PREFIX_BYTES) return false;
    const type = frameType(input), sequence = frameSequence(input);
    check("a sequence number is a u32", sequence >= 0 && sequence <= 0xFFFFFFFF && Number.isInteger(sequence));
    same("a frame", encodeFrame(type, sequence, input.subarray(PREFIX_BYTES)), input);
    return true;
  },
};

const tag: FuzzTarget = {
  name: "protocol/tag",
  files: ["src/protocol/tag.ts"],
  maxInputBytes: 8,
  seeds: () => [new Uint8Array(8), new Uint8Array(8).fill(255), Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 1)],
  run(input) {
    if (input.byteLength < 8) return false;
    const value = new DataView(input.buffer, input.byteOffset).getBigUint64(0, true);
    const sequence = tagSequence(value), type = tagBodyType(value);
    check("the sequence number is in bits 0 to 31", BigInt(sequence) === (value & 0xFFFFFFFFn));
    check("the type is in bits 56 to 63", BigInt(type) === value >> 56n);
    check(
      "a tag comes out the same but for reserved bits",
      encodeTag(sequence, type) === (value & 0xFF000000FFFFFFFFn),
    );
    check("both encoders agree", bodyTag(sequence) === encodeTag(sequence, 0));
    check("a tag is written with 16 digits", BigInt(formatTag(value)) === value && formatTag(value).length === 18);
    return true;
  },
};

const URIS = [
  "ucx://127.0.0.1:39297?want_data=18446741783881759408",
  "ucx://127.0.0.1:39297?want_data=15302358252208",
  "ucx://[2001:db8::1]:65535/trips%20a?want_data=1&free_data=2&remote_handle=+/+/&role=metadata&dipc=1",
  "ucx://[::ffff:1.2.3.4]:1/a/b?x=y&want_data=0&role=body",
  "ucx://node-1.example.org:13337/%C3%BC?want_data=1&role=both",
];
const PIECES = [
  ...[
    "want_data=",
    "free_data=",
    "remote_handle=",
    "role=both",
    "role=body",
    "role=metadata",
    "dipc=1",
    "&",
    "?",
    "/",
    "#",
    "@",
    ":",
  ],
  ...[
    "[",
    "]",
    "::",
    "%",
    "%2",
    "%2F",
    "%00",
    "%ff",
    "18446744073709551616",
    "9007199254740993",
    "0",
    "-1",
    "ucx://",
    "+",
    "=",
    ".",
  ],
];

function mutateText(input: Uint8Array, random: Random): Uint8Array {
  const text = latin1(input);
  const at = random.below(text.length + 1);
  const cut = random.pick([0, 0, 1, 4, 16]);
  return fromLatin1(text.slice(0, at) + random.pick(PIECES) + text.slice(at + cut));
}

const uri: FuzzTarget = {
  name: "protocol/uri",
  files: ["src/protocol/uri.ts"],
  maxInputBytes: 300,
  seeds: () => URIS.map(encode),
  mutate: mutateText,
  run(input) {
    const text = latin1(input);
    const parsed = parseUri(text);
    check("want_data is a u64", parsed.wantData >= 0n && parsed.wantData < 1n << 64n);
    check("a port is a u16", parsed.port >= 1 && parsed.port <= 65535);
    if (parsed.ticket !== null && /^\.{1,2}$/.test(latin1(parsed.ticket))) return true; // cannot be written
    const again = parseUri(formatUri(parsed));
    same("the ticket", parsed.ticket, again.ticket);
    same("the handle", parsed.remoteHandle, again.remoteHandle);
    for (const key of ["host", "port", "wantData", "freeData", "role", "dipc"] as const) {
      check(`${key} changed on the way`, parsed[key] === again[key]);
    }
    return true;
  },
};

const locations: FuzzTarget = {
  name: "protocol/locations",
  files: ["src/protocol/uri.ts"],
  maxInputBytes: 600,
  seeds:
    () => [encode(URIS.slice(0, 2).join("\n")), encode(URIS.slice(2, 4).join("\n")), encode(`${URIS[4]}\ngrpc://h:1`)],
  mutate: (input, random) =>
    random.chance(0.2) ? encode(`${latin1(input)}\n${random.pick(URIS)}`) : mutateText(input, random),
  run(input) {
    const texts = latin1(input).split("\n");
    const alternatives = groupLocations(texts);
    const used = alternatives.reduce((sum, { body }) => sum + (body === null ? 1 : 2), 0);
    check("every ucx: location is used once", used === texts.filter((text) => /^ucx:/i.test(text)).length);
    for (const { metadata, body } of alternatives) {
      check("the roles fit", metadata.role === null || metadata.role === (body === null ? "both" : "metadata"));
      check("the roles fit", body === null || body.role === null || body.role === "body");
    }
    return alternatives.length > 0;
  },
};

const envelope: FuzzTarget = {
  name: "protocol/envelope",
  files: ["src/protocol/envelope.ts"],
  maxInputBytes: 400,
  seeds: () => [
    encodeRequest(encode("trips"), 1),
    encodeRequest(new Uint8Array(0), 0xFFFF, [{ type: 1, bytes: encode("entry") }, {
      type: 65535,
      bytes: new Uint8Array(0),
    }]),
    encode("a bare ticket"),
  ],
  run(input) {
    const request = parseRequest(input);
    if (request.enveloped) same("a request", encodeRequest(request.ticket, request.flags, request.entries), input);
    else same("a bare ticket", request.ticket, input);
    return request.enveloped;
  },
};

const error: FuzzTarget = {
  name: "protocol/error",
  files: ["src/protocol/envelope.ts"],
  maxInputBytes: 400,
  seeds: () => [
    encodeError("not_found", "no dataset"),
    encodeError("io", '\u001b[2J\n"é😀'),
    encode('{"code":"x","message":""}'),
  ],
  run(input) {
    const { code, message } = peerError(parseError(input));
    // deno-lint-ignore no-control-regex
    check("nothing in a message steers a terminal", !/[\u0000-\u001f\u007f-\u009f]/.test(message));
    const again = encodeError(code, message);
    check("an error message has at most 4096 bytes", again.byteLength <= 4096);
    parseError(again);
    return true;
  },
};

const targets: FuzzTarget[] = [prefix, tag, uri, locations, envelope, error];
export default targets;
