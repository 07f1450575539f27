/** Memory and events of the simulated driver between processes: it does what a driver does, and complains of what is left undefined. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { addressOf } from "../../ffi/libc.ts";
import { needsSimulator } from "../support/cuda_sim.ts";
import { testNeeding } from "../support/needs.ts";
import { RawCuda } from "./support/cuda_raw.ts";
import { Neighbour } from "./support/cuda_neighbour.ts";

const INVALID_VALUE = 1,
  INVALID_CONTEXT = 201,
  MAP_FAILED = 205,
  PEER_ACCESS = 217,
  INVALID_HANDLE = 400,
  NOT_READY = 600;
const BLOCK = 2 << 20;
/** The only flag of cuIpcOpenMemHandle. */
const LAZY = 1;

function simTest(name: string, fn: () => Promise<void>): void {
  testNeeding([needsSimulator], `simulated driver: ${name}`, fn);
}

function open(raw: RawCuda, handle: Uint8Array): [result: number, address: bigint] {
  const out = new BigUint64Array(1);
  return [raw.symbols.cuIpcOpenMemHandle_v2(out, handle as Uint8Array<ArrayBuffer>, LAZY), out[0]];
}

function openEvent(raw: RawCuda, handle: Uint8Array): [result: number, event: bigint] {
  const out = new BigUint64Array(1);
  return [raw.symbols.cuIpcOpenEventHandle(out, handle as Uint8Array<ArrayBuffer>), out[0]];
}

function assertOne(complaints: string[], kind: string, text: RegExp): void {
  assertEquals(complaints.length, 1, complaints.join("\n"));
  assert(complaints[0].startsWith(`${kind}: `), complaints[0]);
  assertMatch(complaints[0], text);
}

simTest("memory of another process is opened once, read, written and closed as often as it was opened", async () => {
  await using neighbour = new Neighbour();
  const { memory } = await neighbour.share(7);
  await neighbour.tell({ what: "work" });
  using raw = new RawCuda();
  const { symbols, control } = raw;
  const [result, address] = open(raw, memory);
  assertEquals([result, open(raw, memory)], [0, [0, address]]);
  const host = new Uint8Array(BLOCK);
  raw.fine(symbols.cuMemcpyDtoH_v2(addressOf(host), address, BigInt(BLOCK)));
  assert(host.every((byte) => byte === 7));
  const [base, size] = [new BigUint64Array(1), new BigUint64Array(1)];
  raw.fine(symbols.cuMemGetAddressRange_v2(base, size, address + 5n));
  assertEquals([base[0], size[0], control.live("imports")], [address, BigInt(BLOCK), 1]);
  assertOne(
    raw.complaintsOf(() => symbols.cuMemcpyDtoH_v2(addressOf(host), address + 8n, BigInt(BLOCK))),
    "past the end",
    /8 bytes past/,
  );
  assertOne(raw.complaintsOf(() => symbols.cuMemFree_v2(address)), "unknown pointer", /memory of another process/);
  assertOne(raw.complaintsOf(() => symbols.cuIpcGetMemHandle(new Uint8Array(64), address)), "argument", /of another/);
  raw.fine(symbols.cuMemsetD8_v2(address, 9, 8n), symbols.cuIpcCloseMemHandle(address));
  raw.fine(symbols.cuMemcpyDtoH_v2(addressOf(host), address, 16n), symbols.cuIpcCloseMemHandle(address));
  assertEquals([host[7], host[8], control.live("imports")], [9, 7, 0]);
  assertOne(raw.complaintsOf(() => symbols.cuIpcCloseMemHandle(address)), "double free", /no memory of another/);
  assertOne(
    raw.complaintsOf(() => symbols.cuMemcpyDtoH_v2(addressOf(host), address, 8n)),
    "freed pointer",
    /was freed/,
  );
  // It is there for others, and what was written stays.
  assertEquals(open(raw, memory)[0], 0);
  const again = open(raw, memory)[1];
  raw.fine(symbols.cuMemcpyDtoH_v2(addressOf(host), again, 16n));
  assertEquals([host[7], host[8]], [9, 7]);
  raw.fine(symbols.cuIpcCloseMemHandle(again), symbols.cuIpcCloseMemHandle(again));
  await neighbour.tell({ what: "free" });
  await neighbour.tell({ what: "destroy" });
  assertEquals(await neighbour.end(), { code: 0, errors: "" });
});

simTest("handles that are wrong, of this process, of another device or of freed memory open nothing", async () => {
  await using neighbour = new Neighbour();
  const { memory, event } = await neighbour.share(7);
  using raw = new RawCuda();
  const { symbols } = raw;
  const changed = (at: number): Uint8Array => memory.with(at, memory[at] ^ 0x40) as Uint8Array;
  const own = new Uint8Array(64);
  raw.fine(symbols.cuIpcGetMemHandle(own, raw.allocate(BLOCK)));
  const cases: [about: string, handle: Uint8Array, result: number][] = [
    ["zeros", new Uint8Array(64), INVALID_VALUE],
    ["noise", crypto.getRandomValues(new Uint8Array(64)), INVALID_VALUE],
    ["another process", changed(33), INVALID_VALUE],
    ["another number", changed(9), MAP_FAILED],
    ["a longer one", changed(30), INVALID_VALUE],
    ["another device", changed(40), PEER_ACCESS],
    ["an event", event, INVALID_VALUE],
    ["its own", own, INVALID_CONTEXT],
  ];
  for (const [about, handle, result] of cases) assertEquals(open(raw, handle)[0], result, about);
  assertEquals([raw.control.complaints, raw.control.live("imports")], [[], 0]);
  await neighbour.tell({ what: "free" });
  assertEquals(open(raw, memory)[0], MAP_FAILED);
  assertOne(
    raw.complaintsOf(() => symbols.cuIpcOpenMemHandle_v2(new BigUint64Array(1), memory as Uint8Array<ArrayBuffer>, 0)),
    "argument",
    /flags 0/,
  );
  const part = raw.allocate(1000);
  assertOne(raw.complaintsOf(() => symbols.cuIpcGetMemHandle(own, part + 8n)), "unknown pointer", /no memory begins/);
  assertOne(raw.complaintsOf(() => symbols.cuIpcGetMemHandle(own, part)), "argument", /whole blocks/);
});

simTest("memory that its process frees while it is open elsewhere is reported on both sides", async () => {
  await using neighbour = new Neighbour();
  const { memory } = await neighbour.share(7);
  await neighbour.tell({ what: "work" });
  using raw = new RawCuda();
  const address = open(raw, memory)[1];
  await neighbour.tell({ what: "free" });
  assertOne(
    raw.complaintsOf(() => raw.symbols.cuMemsetD8_v2(address, 1, 1n)),
    "freed pointer",
    /freed by the process that it is of/,
  );
  raw.fine(raw.symbols.cuIpcCloseMemHandle(address));
  await neighbour.tell({ what: "destroy" });
  const { code, errors } = await neighbour.end();
  assertEquals(code, 86);
  assertMatch(errors, /open elsewhere: cuMemFree_v2 of 0x\w+, which another process has not closed/);
});

simTest("memory of a process that was killed stays readable, and is closed as any other", async () => {
  await using neighbour = new Neighbour();
  const { memory } = await neighbour.share(7);
  await neighbour.tell({ what: "work" });
  using raw = new RawCuda();
  const address = open(raw, memory)[1];
  await neighbour.kill();
  const host = new Uint8Array(128);
  raw.fine(raw.symbols.cuMemcpyDtoH_v2(addressOf(host), address, 128n));
  assertEquals([host[0], host[127]], [7, 7]);
  raw.fine(raw.symbols.cuIpcCloseMemHandle(address));
  assertEquals(open(raw, memory)[0], INVALID_VALUE);
});

simTest("an event of another process is waited for: asked, by a stream, and by the host", async () => {
  await using neighbour = new Neighbour();
  const { memory, event: handle } = await neighbour.share(7, 1_000_000);
  using raw = new RawCuda();
  const { symbols } = raw;
  const address = open(raw, memory)[1], [result, event] = openEvent(raw, handle);
  assertEquals([result, symbols.cuEventQuery(event)], [0, NOT_READY]);
  const stream = raw.stream(), pinned = raw.pin(BLOCK);
  raw.fine(
    symbols.cuStreamWaitEvent(stream, event, 0),
    symbols.cuMemcpyDtoHAsync_v2(pinned, address, BigInt(BLOCK), stream),
  );
  for (let i = 0; i < 10; i++) assertEquals(symbols.cuStreamQuery(stream), NOT_READY);
  const before = new Uint8Array(8);
  symbols.cuMemcpyDtoH_v2(addressOf(before), address, 8n);
  assertEquals(before[0], 0xa5, "who does not wait reads what was there before");
  // It may be destroyed while the stream waits for it.
  raw.fine(symbols.cuEventDestroy_v2(event));
  const finished = neighbour.tell({ what: "work" });
  raw.fine(symbols.cuStreamSynchronize(stream));
  assert(raw.view(pinned, BLOCK).every((byte) => byte === 7));
  await finished;
  const [, late] = openEvent(raw, handle);
  raw.fine(symbols.cuEventQuery(late), symbols.cuEventSynchronize(late), symbols.cuIpcCloseMemHandle(address));
  await neighbour.tell({ what: "destroy" });
  assertOne(raw.complaintsOf(() => symbols.cuEventQuery(late)), "destroyed handle", /by the process that made it/);
  symbols.cuEventDestroy_v2(late);
});

simTest("only events without timing that were made for it go to other processes", async () => {
  await using neighbour = new Neighbour();
  const { memory, event } = await neighbour.share(7);
  using raw = new RawCuda();
  const { symbols } = raw;
  assertOne(raw.complaintsOf(() => symbols.cuEventCreate(new BigUint64Array(1), 4)), "argument", /without timing/);
  const handle = new Uint8Array(64);
  assertOne(
    raw.complaintsOf(() => symbols.cuIpcGetEventHandle(handle, raw.event(2))),
    "argument",
    /not made for several/,
  );
  raw.fine(symbols.cuIpcGetEventHandle(handle, raw.event(2 | 4)));
  const changed = event.with(8, event[8] + 1) as Uint8Array;
  const results = [new Uint8Array(64), memory, changed, handle].map((each) => openEvent(raw, each)[0]);
  assertEquals(results, [INVALID_HANDLE, INVALID_HANDLE, INVALID_HANDLE, INVALID_CONTEXT]);
  assertEquals(raw.control.complaints, []);
});

simTest("memory of another process that is still open when a context is released is a leak", async () => {
  await using neighbour = new Neighbour();
  const { memory } = await neighbour.share(7);
  const raw = new RawCuda();
  open(raw, memory);
  const { symbols, control } = raw;
  assertOne(
    raw.complaintsOf(() => symbols.cuDevicePrimaryCtxRelease_v2(0)),
    "leak",
    /were not closed when its context/,
  );
  symbols.cuCtxPopCurrent_v2(new BigUint64Array(1));
  assertEquals(control.live("imports"), 0);
});
