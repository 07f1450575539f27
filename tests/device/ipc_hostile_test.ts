/** What a server can answer to a client that receives into a GPU, and what the client makes of it: an error, and nothing is left. */
import { assert, assertEquals } from "@std/assert";
import { memoryOn } from "../../src/device/lent_memory.ts";
import { openGpu } from "../../src/device/devices.ts";
import type { DipcErrorCode } from "../../src/errors.ts";
import { HeaderReader, type VerifiedHeader } from "../../src/ipc/header.ts";
import type { Body } from "../../src/memory/block.ts";
import { DeviceBody } from "../../src/memory/cuda/device_block.ts";
import { uuidBytes } from "../../src/memory/cuda/device_info.ts";
import { addressListBytes, writeAddressList } from "../../src/protocol/address_list.ts";
import { encodeGranted, MAX_HELLO_BYTES, type SharedMemoryFacts } from "../../src/protocol/share_handshake.ts";
import { SharedSession } from "../../src/routes/shared.ts";
import { copyToHost } from "../../src/device/record_batch.ts";
import { LocalSocket, MessageReceiver } from "../../src/wire/local_socket.ts";
import { Neighbour } from "../ffi/support/cuda_neighbour.ts";
import { int64Messages } from "../support/arrow_messages.ts";
import { assertDipcError } from "../support/assert.ts";
import { cuda, needsSimulator } from "../support/cuda_sim.ts";
import { until } from "../support/time.ts";
import { deviceTest } from "./support/device_tests.ts";

const BLOCK = 2 << 20;

/** A server's socket that answers a hello with what the test says, and takes in what is freed. */
class Lender implements Disposable {
  readonly name = `dipc-lender-${crypto.randomUUID()}`;
  readonly #listening = LocalSocket.listen(this.name);
  #guest: LocalSocket | null = null;

  /** Gets the memory as a client does that does not mind whose process it is. */
  async open(answer: Uint8Array<ArrayBuffer>): Promise<SharedSession | string> {
    this.#guest?.close();
    this.#guest = null;
    const memory = { ...memoryOn(openGpu("cuda:0")), sameProcess: "" };
    const opening = SharedSession.open(this.name, { ticket: new Uint8Array(1), timeoutMs: 5_000, memory })
      .catch((error: Error) => error.message);
    this.#guest = await until(() => this.#listening.accept(), (guest) => guest !== null);
    this.#guest!.send(answer);
    return await opening;
  }

  /** Addresses that came back since the last call; `null` once the connection is over. */
  freed(): bigint[] | null {
    const freed: bigint[] = [];
    const receiver = new MessageReceiver(MAX_HELLO_BYTES);
    for (let message; (message = this.#guest!.receive(receiver)) !== null;) {
      if (message === "gone") return freed.length > 0 ? freed : null;
      if (message.bytes[0] === 0x44) continue; // the hello
      freed.push(...new BigUint64Array(message.bytes.slice().buffer));
    }
    return freed;
  }

  [Symbol.dispose](): void {
    this.#guest?.close();
    this.#listening.close();
  }
}

/** Memory of another process that is filled with 7. */
async function shared(neighbour: Neighbour): Promise<Handles> {
  const handles = await neighbour.share(7);
  await neighbour.tell({ what: "work" });
  return handles;
}

interface Handles {
  readonly memory: Uint8Array;
  readonly event: Uint8Array;
}

function factsFor({ memory, event }: Handles): SharedMemoryFacts & { cuda: NonNullable<SharedMemoryFacts["cuda"]> } {
  const gpu = uuidBytes(openGpu("cuda:0").info.uuid);
  return { generation: 1n, base: 0n, byteLength: BLOCK, cuda: { memory, event, gpu } };
}

const imports = (): number => cuda!.control!.live("imports");

deviceTest("memory that is not what the server says it is is not used", async () => {
  await using neighbour = new Neighbour();
  const handles = await shared(neighbour);
  using lender = new Lender();
  const facts = factsFor(handles);
  const noise = crypto.getRandomValues(new Uint8Array(64));
  const with_ = (cuda: Partial<typeof facts.cuda>, more: Partial<SharedMemoryFacts> = {}) =>
    encodeGranted({ ...facts, ...more, cuda: { ...facts.cuda, ...cuda } });
  const good = encodeGranted(facts);
  const cases: [about: string, answer: Uint8Array<ArrayBuffer>, reason: string][] = [
    ["a handle of nothing", with_({ memory: noise }), "cannot open memory of another process on cuda:0"],
    ["a handle of an event", with_({ memory: handles.event }), "cannot open memory of another process"],
    [
      "longer than it is",
      with_({}, { byteLength: 2 * BLOCK }),
      `is said to have ${2 * BLOCK} bytes in cuda:0, and has not`,
    ],
    ["far longer", with_({}, { byteLength: 2 ** 52 }), "and has not"],
    ["an event of nothing", with_({ event: noise }), "cannot wait for an event of another process"],
    ["memory for an event", with_({ event: handles.memory }), "cannot wait for an event of another process"],
    [
      "another GPU",
      with_({ gpu: new Uint8Array(16) }),
      "it lies on the GPU GPU-00000000-0000-0000-0000-000000000000, cuda:0 is",
    ],
    ["a memfd", encodeGranted({ generation: 1n, base: 4096n, byteLength: 4096 }), "the server lends a memfd"],
    ["cut short", good.slice(0, good.byteLength - 1), "expected 0 and 176, or 1"],
    ["another kind", good.with(6, 2) as Uint8Array<ArrayBuffer>, "its kind is 2, expected 0 or 1"],
    ["no bytes", with_({}, { byteLength: 0 }), "memory of 0 bytes at 0 cannot be"],
  ];
  for (const [about, answer, reason] of cases) {
    const outcome = await lender.open(answer);
    assert(typeof outcome === "string" && outcome.includes(reason), `${about}: ${JSON.stringify(outcome)}`);
    assertEquals([imports(), cuda!.control!.complaints], [0, []], about);
  }
  const session = await lender.open(good);
  assert(typeof session !== "string", String(session));
  session.close();
  assertEquals(imports(), 0);
  await until(() => lender.freed() === null);
}, [needsSimulator]);

/** Metadata of a batch of one int64 column that has as many rows as a block can hold. */
function header(rows = BLOCK / 8): VerifiedHeader {
  const reader = new HeaderReader();
  const [schema, batch] = int64Messages(1, rows);
  reader.read(schema.metadata);
  return reader.read(batch.metadata) as VerifiedHeader;
}

/** The list of a body that begins at an address. */
function listOf({ buffers }: VerifiedHeader, address: bigint): BigUint64Array<ArrayBuffer> {
  const list = new Uint8Array(addressListBytes(buffers.length / 2));
  writeAddressList(list, address, buffers as Float64Array);
  return new BigUint64Array(list.buffer);
}

const bytesOf = (list: BigUint64Array<ArrayBuffer>) => new Uint8Array(list.buffer);

deviceTest("lists that point outside, overlap or do not add up are errors before the GPU is asked", async () => {
  await using neighbour = new Neighbour();
  using lender = new Lender();
  const session = await lender.open(encodeGranted(factsFor(await shared(neighbour))));
  assert(typeof session !== "string", String(session));
  const batch = header(1024);
  const good = listOf(batch, 0n);
  const last = good.length - 2;
  const cases: [about: string, change: (list: BigUint64Array<ArrayBuffer>) => void, text: string][] = [
    ["one byte past the end", (list) => list[last] = BigInt(BLOCK - 8184), "is not inside 0 to 2097152"],
    ["far outside", (list) => list[last] = 1n << 63n, "is not inside"],
    ["wrapping round", (list) => list[last] = (1n << 64n) - 8n, "is not inside"],
    ["misaligned", (list) => list[last] = 4n, "not aligned"],
    ["another length", (list) => list[last + 1] = 8n, "the metadata has 8192"],
    ["another total", (list) => list[0] = 1n, "its total is 1 bytes"],
    ["another count", (list) => list[1] = 1n << 32n, "is for 4294967296 buffers"],
  ];
  const calls = cuda!.control!.calls;
  for (const [about, change, text] of cases) {
    const list = good.slice();
    change(list);
    assertDipcError("protocol" satisfies DipcErrorCode, text, () => session.bodyOf(bytesOf(list), batch), about);
  }
  assertEquals(cuda!.control!.calls, calls);
  session.close();
  assertEquals(imports(), 0);
}, [needsSimulator]);

/** What a body holds once everything that fills it is done. */
async function valuesOf(body: Body): Promise<Uint8Array> {
  const filled = body instanceof DeviceBody ? body.filled : null;
  const host = await copyToHost(openGpu("cuda:0"), body, filled, { timeoutMs: 20_000 });
  const bytes = host.bytes().slice();
  host.release();
  return bytes;
}

deviceTest("memory that the server still fills is waited for, but not for long", async () => {
  await using neighbour = new Neighbour();
  using lender = new Lender();
  const answer = encodeGranted(factsFor(await neighbour.share(7, 1_000_000)));
  const late = await lender.open(answer);
  assert(typeof late === "string" && late.includes("cannot wait for an event of another process"), String(late));
  assertEquals(imports(), 0);
  const opening = lender.open(answer);
  await neighbour.tell({ what: "work" });
  const session = await opening;
  assert(typeof session !== "string", String(session));
  const batch = header();
  const body = session.bodyOf(bytesOf(listOf(batch, 0n)), batch) as DeviceBody;
  assertEquals(body.filled, null);
  assert((await valuesOf(body)).every((byte) => byte === 7), "it was read before it was filled");
  body.release();
  session.close();
  assertEquals(imports(), 0);
}, [needsSimulator]);

deviceTest("addresses go back, and memory is closed, after the copies that read it", async () => {
  await using neighbour = new Neighbour();
  using lender = new Lender();
  const session = await lender.open(encodeGranted(factsFor(await shared(neighbour))));
  assert(typeof session !== "string", String(session));
  const batch = header();
  const body = session.bodyOf(bytesOf(listOf(batch, 0n)), batch) as DeviceBody;
  const { pinned, copies } = openGpu("cuda:0");
  const target = pinned.acquire(BLOCK);
  cuda!.control!.setDelay(1_000_000);
  const copy = copies.copyToHost(target.address, body.address, BLOCK, { uses: [body, target] });
  cuda!.control!.setDelay(1);
  body.release();
  session.close();
  session.flush();
  assertEquals([lender.freed(), imports(), copy.isFinished()], [[], 1, false]);
  openGpu("cuda:0").withContext(() => openGpu("cuda:0").symbols.cuCtxSynchronize());
  await until(() => imports() === 0);
  assertEquals([lender.freed(), lender.freed()], [[0n], null]);
  assertEquals([target.bytes()[0], target.bytes()[BLOCK - 1]], [7, 7]);
  target.release();
}, [needsSimulator]);

deviceTest("buffers that lie apart become one body", async () => {
  await using neighbour = new Neighbour();
  using lender = new Lender();
  const session = await lender.open(encodeGranted(factsFor(await shared(neighbour))));
  assert(typeof session !== "string", String(session));
  // Its one buffer lies inside; with the padding after it the body would not.
  const { buffers } = header(1001);
  const batch = { buffers, bodyLength: 8064 } as VerifiedHeader;
  const list = listOf(batch, BigInt(BLOCK - 8008));
  const body = session.bodyOf(bytesOf(list), batch);
  const bytes = await valuesOf(body);
  assertEquals(bytes.byteLength, 8064);
  const [at, length] = [buffers[buffers.length - 2], buffers[buffers.length - 1]];
  assert(bytes.subarray(at, at + length).every((byte) => byte === 7));
  assert(bytes.subarray(at + length).every((byte) => byte === 0), "padding");
  session.close();
  await until(() => imports() === 0);
  assertEquals(await until(() => lender.freed(), (freed) => freed === null || freed.length > 0), [list.at(-2)!]);
  body.release();
}, [needsSimulator]);
