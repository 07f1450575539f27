/** The simulated driver itself: it does what a driver does, and each of its complaints can be had. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { addressOf } from "../../ffi/libc.ts";
import { RawCuda } from "./support/cuda_raw.ts";
import { cuda, needsSimulator } from "../support/cuda_sim.ts";
import { testNeeding } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";

const INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_CONTEXT = 201, INVALID_HANDLE = 400, NOT_READY = 600;
/** A multiple of the page size of every machine. */
const PAGE = 65_536;

function simTest(name: string, fn: () => void | Promise<void>): void {
  testNeeding([needsSimulator], `simulated driver: ${name}`, fn);
}

/** One complaint, and of one kind. */
function assertOne(complaints: string[], kind: string, text: RegExp): void {
  assertEquals(complaints.length, 1, complaints.join("\n"));
  assert(complaints[0].startsWith(`${kind}: `), complaints[0]);
  assertMatch(complaints[0], text);
}

simTest("copies are right: host to device, on the device, back, and fills", () => {
  using raw = new RawCuda();
  const { symbols } = raw;
  const [a, b] = [raw.allocate(1000), raw.allocate(1000)];
  const source = crypto.getRandomValues(new Uint8Array(1000));
  const target = new Uint8Array(1000);
  raw.fine(
    symbols.cuMemcpyHtoD_v2(a, addressOf(source), 1000n),
    symbols.cuMemcpyDtoD_v2(b, a, 1000n),
    symbols.cuMemsetD8_v2(b + 10n, 7, 5n),
    symbols.cuMemcpyDtoH_v2(addressOf(target), b, 1000n),
  );
  source.fill(7, 10, 15);
  assertEquals(target, source);
});

simTest("work is done late: after some queries, or in a wait", () => {
  using raw = new RawCuda();
  const { symbols, control } = raw;
  control.setDelay(3);
  const [memory, stream, event] = [raw.allocate(PAGE), raw.stream(), raw.event()];
  const pinned = raw.pin(PAGE);
  raw.view(pinned, PAGE).fill(1);
  raw.fine(
    symbols.cuMemcpyHtoDAsync_v2(memory, pinned, BigInt(PAGE), stream),
    symbols.cuEventRecord(event, stream),
  );
  assertEquals(control.peek(memory, 1)![0], 0xa5, "the copy has not been made");
  const results = Array.from({ length: 4 }, () => symbols.cuEventQuery(event));
  assertEquals(results, [NOT_READY, NOT_READY, NOT_READY, 0]);
  assertEquals(control.peek(memory, 1)![0], 1);
  control.setDelay(1_000_000);
  raw.fine(symbols.cuMemsetD8Async(memory, 2, 1n, stream));
  assertEquals(symbols.cuStreamQuery(stream), NOT_READY);
  raw.fine(symbols.cuStreamSynchronize(stream), symbols.cuStreamQuery(stream));
  assertEquals(control.peek(memory, 1)![0], 2);
  raw.fine(
    symbols.cuMemsetD8Async(memory, 3, 1n, stream),
    symbols.cuEventRecord(event, stream),
    symbols.cuEventSynchronize(event),
  );
  assertEquals(control.peek(memory, 1)![0], 3);
});

simTest("work ordered by events and streams causes no complaint, and is done in order", () => {
  using raw = new RawCuda();
  const { symbols, control } = raw;
  control.setDelay(2);
  const memory = raw.allocate(PAGE), pinned = raw.pin(PAGE);
  const [up, down, last] = [raw.stream(), raw.stream(), raw.stream()];
  const [first, second] = [raw.event(), raw.event()];
  raw.view(pinned, PAGE).fill(9);
  raw.fine(
    symbols.cuMemcpyHtoDAsync_v2(memory, pinned, BigInt(PAGE), up),
    symbols.cuEventRecord(first, up),
    symbols.cuStreamWaitEvent(down, first, 0),
    symbols.cuMemsetD8Async(memory, 1, 8n, down),
    symbols.cuEventRecord(second, down),
    // The order is passed on: what waits for the second event waits for the first too.
    symbols.cuStreamWaitEvent(last, second, 0),
    symbols.cuMemcpyDtoHAsync_v2(pinned, memory, BigInt(PAGE), last),
    symbols.cuStreamSynchronize(last),
  );
  assertEquals([...raw.view(pinned, 10)], [1, 1, 1, 1, 1, 1, 1, 1, 9, 9]);
  assertEquals(control.live("unseen"), 0);
});

simTest("streams that were not made non-blocking and the default stream wait for each other", () => {
  using raw = new RawCuda();
  const { symbols } = raw;
  const memory = raw.allocate(PAGE), stream = raw.stream(0), target = new Uint8Array(PAGE);
  raw.fine(
    symbols.cuMemsetD8Async(memory, 4, BigInt(PAGE), stream),
    symbols.cuMemcpyDtoH_v2(addressOf(target), memory, BigInt(PAGE)),
  );
  assert(target.every((byte) => byte === 4), "some bytes were not set");
});

simTest("a call without a current context is reported", () => {
  const raw = new RawCuda();
  const { symbols } = raw;
  symbols.cuCtxPopCurrent_v2(new BigUint64Array(1));
  let result = 0;
  assertOne(
    raw.complaintsOf(() => result = symbols.cuMemAlloc_v2(new BigUint64Array(1), 1n)),
    "context",
    /cuMemAlloc_v2 without a current context/,
  );
  assertEquals(result, INVALID_CONTEXT);
  assertOne(
    raw.complaintsOf(() => symbols.cuCtxPopCurrent_v2(new BigUint64Array(1))),
    "context",
    /no context pushed/,
  );
  assertOne(raw.complaintsOf(() => symbols.cuCtxPushCurrent_v2(5n)), "context", /unknown context/);
  assertEquals(symbols.cuCtxPushCurrent_v2(raw.context), 0);
  raw[Symbol.dispose]();
  assertOne(raw.complaintsOf(() => symbols.cuCtxPushCurrent_v2(raw.context)), "context", /was released/);
  assertOne(
    raw.complaintsOf(() => symbols.cuDevicePrimaryCtxRelease_v2(0)),
    "context",
    /more often than it was retained/,
  );
});

simTest("a call in a context that was released meanwhile is reported", () => {
  const raw = new RawCuda();
  const { symbols } = raw;
  assertEquals(symbols.cuDevicePrimaryCtxRelease_v2(0), 0);
  assertOne(raw.complaintsOf(() => symbols.cuCtxSynchronize()), "context", /in a context that was released/);
  symbols.cuCtxPopCurrent_v2(new BigUint64Array(1));
});

simTest("the current context of this thread can be set and asked for", () => {
  using raw = new RawCuda();
  const { symbols, control } = raw;
  const current = () => raw.out((out) => symbols.cuCtxGetCurrent(out));
  assertEquals(current(), raw.context);
  raw.fine(symbols.cuCtxSetCurrent(0n));
  assertEquals([current(), control.depth], [0n, 0]);
  raw.fine(symbols.cuCtxSetCurrent(raw.context));
  assertEquals([current(), control.depth], [raw.context, 1]);
});

simTest("device memory that is unknown, freed, too short or of another device is reported", () => {
  using raw = new RawCuda();
  const { symbols } = raw;
  const memory = raw.allocate(1000), host = new Uint8Array(4096), at = addressOf(host);
  const read = (from: bigint, bytes: bigint) => () => {
    assertEquals(symbols.cuMemcpyDtoH_v2(at, from, bytes), INVALID_VALUE);
  };
  assertOne(raw.complaintsOf(read(16n, 8n)), "unknown pointer", /source 0x10 is not device memory/);
  assertOne(raw.complaintsOf(read(memory, 1001n)), "past the end", /of 1001 bytes goes 1 bytes past its allocation/);
  assertOne(raw.complaintsOf(read(memory + 999n, 2n)), "past the end", /1 bytes past/);
  const gone = raw.out((out) => symbols.cuMemAlloc_v2(out, 1000n));
  assertEquals(symbols.cuMemFree_v2(gone), 0);
  assertOne(raw.complaintsOf(read(gone + 5n, 8n)), "freed pointer", /was freed/);
  assertOne(raw.complaintsOf(() => symbols.cuMemFree_v2(gone)), "double free", /was freed before/);
  assertOne(raw.complaintsOf(() => symbols.cuMemFree_v2(at)), "unknown pointer", /not device memory/);
  assertOne(raw.complaintsOf(() => symbols.cuMemFree_v2(memory + 8n)), "unknown pointer", /inside an allocation/);
  assertOne(raw.complaintsOf(() => symbols.cuMemcpyDtoD_v2(memory, memory + 4n, 8n)), "argument", /overlap/);
  using other = new RawCuda(1);
  assertOne(other.complaintsOf(read(memory, 8n)), "wrong device", /memory of device 0, the context is of device 1/);
  assertOne(
    other.complaintsOf(() => symbols.cuMemFree_v2(memory)),
    "wrong device",
    /of device 0 in a context of device 1/,
  );
  raw.fine(symbols.cuMemcpyPeerAsync(other.allocate(8), other.context, memory, raw.context, 8n, other.stream()));
});

simTest("a device address where host memory is expected is reported, and the other way round", () => {
  using raw = new RawCuda();
  const { symbols } = raw;
  const [a, b] = [raw.allocate(1000), raw.allocate(1000)];
  assertOne(
    raw.complaintsOf(() => symbols.cuMemcpyHtoD_v2(a, b, 8n)),
    "unknown pointer",
    /source 0x\w+ is device memory/,
  );
  const host = new Uint8Array(100);
  assertOne(
    raw.complaintsOf(() => symbols.cuMemcpyDtoD_v2(a, addressOf(host), 8n)),
    "unknown pointer",
    /is not device memory/,
  );
});

simTest("pinned memory that is not pinned, freed, too short or registered twice is reported", () => {
  using raw = new RawCuda();
  const { symbols } = raw;
  const memory = raw.allocate(2 * PAGE), stream = raw.stream(), pinned = raw.pin(PAGE);
  const host = new Uint8Array(PAGE), at = addressOf(host);
  const copy = (from: bigint, bytes: number) => () =>
    void symbols.cuMemcpyHtoDAsync_v2(memory, from, BigInt(bytes), stream);
  assertOne(raw.complaintsOf(copy(at, 100)), "not pinned", /host memory at 0x\w+ is not pinned/);
  assertOne(raw.complaintsOf(copy(pinned, PAGE + 1)), "past the end", /past its pinned memory/);
  assertOne(raw.complaintsOf(() => symbols.cuMemFreeHost(at)), "unknown pointer", /not pinned/);
  assertOne(raw.complaintsOf(() => symbols.cuMemFreeHost(pinned + 8n)), "unknown pointer", /not made that way/);
  raw.fine(symbols.cuMemHostRegister_v2(at, BigInt(PAGE), 0));
  assertOne(raw.complaintsOf(() => symbols.cuMemHostRegister_v2(at, 8n, 0)), "registration", /registered already/);
  assertOne(raw.complaintsOf(() => symbols.cuMemFreeHost(at)), "unknown pointer", /not made that way/);
  copy(at, 100)();
  raw.fine(symbols.cuStreamSynchronize(stream), symbols.cuMemHostUnregister(at));
  assertOne(raw.complaintsOf(() => symbols.cuMemHostUnregister(at)), "double free", /freed before/);
  const gone = raw.out((out) => symbols.cuMemHostAlloc(out, BigInt(PAGE), 0));
  assertEquals(symbols.cuMemFreeHost(gone), 0);
  assertOne(raw.complaintsOf(copy(gone, 8)), "freed pointer", /was freed/);
});

simTest("a copy that reads what another stream has not been waited for is reported, and reads stale data", () => {
  using raw = new RawCuda();
  const { symbols } = raw;
  const memory = raw.allocate(PAGE), [up, down] = [raw.stream(), raw.stream()];
  const target = new Uint8Array(100), other = raw.pin(100);
  assertEquals(symbols.cuMemsetD8Async(memory, 7, 100n, up), 0);
  assertOne(
    raw.complaintsOf(() => symbols.cuMemcpyDtoHAsync_v2(other, memory, 100n, down)),
    "not waited for",
    /cuMemcpyDtoHAsync_v2 reads memory at 0x\w+ that cuMemsetD8Async on another stream writes/,
  );
  // A copy that blocks waits for the default stream, and not for ours.
  assertOne(
    raw.complaintsOf(() => symbols.cuMemcpyDtoH_v2(addressOf(target), memory, 100n)),
    "not waited for",
    /cuMemcpyDtoH_v2 reads/,
  );
  assertEquals(target[0], 0xa5, "stale");
  assertOne(
    raw.complaintsOf(() => symbols.cuMemsetD8Async(memory + 50n, 1, 10n, down)),
    "not waited for",
    /writes memory/,
  );
  assertEquals(raw.complaintsOf(() => symbols.cuMemsetD8Async(memory + 100n, 1, 10n, down)), [], "beside it");
});

simTest("work that is done but whose event nobody asked is still not waited for", () => {
  using raw = new RawCuda();
  const { symbols, control } = raw;
  const memory = raw.allocate(PAGE), stream = raw.stream(), [early, late] = [raw.event(), raw.event()];
  raw.fine(
    symbols.cuEventRecord(early, stream),
    symbols.cuMemsetD8Async(memory, 7, 100n, stream),
    symbols.cuEventRecord(late, stream),
  );
  while (symbols.cuEventQuery(early) === NOT_READY);
  assertEquals(control.peek(memory, 1)![0], 7, "it is done");
  const target = new Uint8Array(100);
  assertOne(
    raw.complaintsOf(() => symbols.cuMemcpyDtoH_v2(addressOf(target), memory, 100n)),
    "not waited for",
    /reads memory/,
  );
  while (symbols.cuEventQuery(late) === NOT_READY);
  raw.fine(symbols.cuMemcpyDtoH_v2(addressOf(target), memory, 100n));
});

simTest("the CPU reading or writing pinned memory that a copy uses is reported, once for each copy", () => {
  using raw = new RawCuda();
  const { symbols } = raw;
  const memory = raw.allocate(4 * PAGE), stream = raw.stream(), pinned = raw.pin(4 * PAGE);
  const view = raw.view(pinned, 4 * PAGE);
  view.fill(3);
  raw.fine(symbols.cuMemsetD8_v2(memory, 8, BigInt(4 * PAGE)));
  assertEquals(symbols.cuMemcpyDtoHAsync_v2(pinned, memory, BigInt(2 * PAGE), stream), 0);
  assertEquals(raw.complaintsOf(() => view[3 * PAGE]), [], "a page that no copy uses");
  assertOne(
    raw.complaintsOf(() => assertEquals(view[10] + view[PAGE + 10], 6, "stale")),
    "not waited for",
    /the CPU touches pinned memory at 0x\w+ while cuMemcpyDtoHAsync_v2 uses it/,
  );
  raw.fine(symbols.cuStreamSynchronize(stream));
  assertEquals([view[10], view[2 * PAGE]], [8, 3]);

  assertEquals(symbols.cuMemcpyHtoDAsync_v2(memory, pinned, BigInt(PAGE), stream), 0);
  assertEquals(raw.complaintsOf(() => view[0]), [], "reading what a copy reads");
  assertOne(raw.complaintsOf(() => view[0] = 1), "not waited for", /the CPU writes pinned memory/);
  raw.fine(symbols.cuStreamSynchronize(stream));
  assertEquals(raw.complaintsOf(() => view[0] = 2), []);
});

simTest("memory that is freed, and a context that is released, while work uses it are reported", () => {
  const raw = new RawCuda();
  const { symbols } = raw;
  const stream = raw.stream();
  const memory = raw.out((out) => symbols.cuMemAlloc_v2(out, 100n));
  const pinned = raw.out((out) => symbols.cuMemHostAlloc(out, 100n, 0));
  symbols.cuMemcpyHtoDAsync_v2(memory, pinned, 100n, stream);
  assertOne(
    raw.complaintsOf(() => symbols.cuMemFree_v2(memory)),
    "not waited for",
    /cuMemFree_v2 of device memory at 0x\w+ that cuMemcpyHtoDAsync_v2 uses/,
  );
  const again = raw.allocate(100);
  symbols.cuMemcpyHtoDAsync_v2(again, pinned, 100n, stream);
  assertOne(raw.complaintsOf(() => symbols.cuMemFreeHost(pinned)), "not waited for", /cuMemFreeHost of pinned memory/);
  symbols.cuMemsetD8Async(again, 0, 100n, stream);
  const complaints = raw.complaintsOf(() => symbols.cuDevicePrimaryCtxRelease_v2(0));
  assertMatch(
    complaints.join("\n"),
    /leak: 100 bytes of device 0 at 0x\w+ were not freed when its context was released/,
  );
  assertMatch(complaints.join("\n"), /leak: a stream of device 0 was not destroyed when its context was released/);
  assertMatch(complaints.join("\n"), /not waited for: cuDevicePrimaryCtxRelease_v2 while cuMemsetD8Async is under way/);
  assertEquals(Object.values(raw.control.all).every((count) => count === 0), true, JSON.stringify(raw.control.all));
  symbols.cuCtxPopCurrent_v2(new BigUint64Array(1));
});

simTest("memory that is freed in the order of a stream is gone for all others at once", () => {
  using raw = new RawCuda();
  const { symbols, control } = raw;
  const stream = raw.stream();
  const memory = raw.out((out) => symbols.cuMemAllocAsync!(out, 100n, stream));
  raw.fine(symbols.cuMemsetD8Async(memory, 1, 100n, stream), symbols.cuMemFreeAsync!(memory, stream));
  assertOne(raw.complaintsOf(() => symbols.cuMemsetD8Async(memory, 1, 1n, stream)), "freed pointer", /was freed/);
  assertOne(raw.complaintsOf(() => symbols.cuMemFree_v2(memory)), "double free", /freed before/);
  assertEquals(control.live("allocations"), 1);
  raw.fine(symbols.cuStreamSynchronize(stream));
  assertEquals(control.live("allocations"), 0);
});

simTest("destroyed, unknown and foreign handles are reported", () => {
  using raw = new RawCuda();
  const { symbols } = raw;
  const stream = raw.out((out) => symbols.cuStreamCreate(out, 1));
  const event = raw.out((out) => symbols.cuEventCreate(out, 2));
  raw.fine(symbols.cuStreamDestroy_v2(stream), symbols.cuEventDestroy_v2(event));
  const results: number[] = [];
  assertOne(raw.complaintsOf(() => results.push(symbols.cuStreamQuery(stream))), "destroyed handle", /was destroyed/);
  assertOne(raw.complaintsOf(() => results.push(symbols.cuEventQuery(event))), "destroyed handle", /was destroyed/);
  assertOne(
    raw.complaintsOf(() => results.push(symbols.cuEventDestroy_v2(event))),
    "destroyed handle",
    /was destroyed/,
  );
  assertOne(raw.complaintsOf(() => results.push(symbols.cuStreamQuery(8n))), "unknown handle", /is unknown/);
  const mine = raw.event(), myStream = raw.stream();
  {
    using other = new RawCuda(1);
    const theirs = other.stream();
    assertOne(
      other.complaintsOf(() => results.push(symbols.cuEventRecord(mine, theirs))),
      "wrong device",
      /the event is of device 0, the stream of device 1/,
    );
    assertOne(
      other.complaintsOf(() => results.push(symbols.cuStreamQuery(myStream))),
      "wrong device",
      /the stream is of device 0, the context of device 1/,
    );
  }
  assertEquals(results, [
    INVALID_HANDLE,
    INVALID_HANDLE,
    INVALID_HANDLE,
    INVALID_HANDLE,
    INVALID_HANDLE,
    INVALID_HANDLE,
  ]);
});

simTest("wrong arguments are reported", () => {
  using raw = new RawCuda();
  const { symbols } = raw;
  assertOne(raw.complaintsOf(() => symbols.cuMemAlloc_v2(new BigUint64Array(1), 0n)), "argument", /of 0 bytes/);
  assertOne(raw.complaintsOf(() => symbols.cuMemAlloc_v2(null, 8n)), "argument", /null as the place of a result/);
  assertOne(
    raw.complaintsOf(() => symbols.cuDeviceGet(new Int32Array(1), 99)),
    "device",
    /of device 99, of which there are/,
  );
  assertOne(
    raw.complaintsOf(() => symbols.cuPointerGetAttribute(new Uint8Array(128), 5, 0n)),
    "argument",
    /not simulated/,
  );
});

simTest("more streams than it has room for are reported", () => {
  using raw = new RawCuda();
  const complaints = raw.complaintsOf(() => {
    for (let i = 0; i < 64; i++) {
      const out = new BigUint64Array(1);
      if (raw.symbols.cuStreamCreate(out, 1) !== 0) return;
    }
  });
  assertOne(complaints, "limit", /more than 64 streams/);
});

simTest("a device has a size, and memory beyond it is refused", () => {
  using raw = new RawCuda();
  const { symbols, control } = raw;
  const [free, total] = [new BigUint64Array(1), new BigUint64Array(1)];
  raw.fine(symbols.cuMemGetInfo_v2(free, total));
  assertEquals([free[0], total[0]], [1n << 30n, 1n << 30n]);
  raw.allocate(1 << 20);
  assertEquals(symbols.cuMemAlloc_v2(new BigUint64Array(1), (1n << 30n) - 1000n), OUT_OF_MEMORY);
  raw.fine(symbols.cuMemGetInfo_v2(free, total));
  assertEquals(free[0], (1n << 30n) - (1n << 20n));
  assertEquals(control.live("bytes"), 1 << 20);
});

simTest("addresses come again late, and fresh memory is not zero", () => {
  using raw = new RawCuda();
  const { symbols, control } = raw;
  const seen = new Set<bigint>();
  for (let i = 0; i < 100; i++) {
    const memory = raw.out((out) => symbols.cuMemAlloc_v2(out, 4096n));
    assert(!seen.has(memory), `${memory} was given twice`);
    seen.add(memory);
    assertEquals([...control.peek(memory, 2)!], [0xa5, 0xa5]);
    raw.fine(symbols.cuMemFree_v2(memory));
  }
});

simTest("a chosen call fails, once or from then on", () => {
  using raw = new RawCuda();
  const { symbols, control } = raw;
  const memory = raw.allocate(8);
  control.failAfter(2, 700);
  const once = Array.from({ length: 3 }, () => symbols.cuMemsetD8_v2(memory, 0, 8n));
  assertEquals(once, [0, 700, 0]);
  control.failAfter(2, 719, true);
  const sticky = Array.from({ length: 4 }, () => symbols.cuMemsetD8_v2(memory, 0, 8n));
  assertEquals(sticky, [0, 719, 719, 719]);
  control.clear();
  raw.fine(symbols.cuMemsetD8_v2(memory, 0, 8n));
  assert(control.callsOf("cuMemsetD8_v2") >= 8, String(control.callsOf("cuMemsetD8_v2")));
});

/** Runs raw calls in a process of their own. */
async function child(body: string, env: Record<string, string> = {}) {
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(
      file,
      `import { openLibcuda } from "${ROOT}/ffi/cuda.ts";
const { symbols } = openLibcuda();
const out = new BigUint64Array(1);
function begin() {
  symbols.cuInit(0);
  symbols.cuDevicePrimaryCtxRetain(out, 0);
  symbols.cuCtxPushCurrent_v2(out[0]);
}
function end() { symbols.cuCtxPopCurrent_v2(out); symbols.cuDevicePrimaryCtxRelease_v2(0); }
${body}`,
    );
    const { code, signal, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "--quiet", file],
      cwd: ROOT,
      env: { ...cuda!.env, ...env },
    }).output();
    const [output, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    return { code, signal, output, errors };
  } finally {
    await Deno.remove(file);
  }
}

simTest("a process that leaves nothing behind ends as it would", async () => {
  const { code, errors } = await child("begin(); symbols.cuMemAlloc_v2(out, 8n); symbols.cuMemFree_v2(out[0]); end();");
  assertEquals([code, errors], [0, ""]);
});

simTest("leaks are reported at the end of a process, and end it with status 86", async () => {
  const { code, errors } = await child(
    "begin(); symbols.cuMemAlloc_v2(out, 100n); symbols.cuMemHostAlloc(out, 200n, 0); symbols.cuStreamCreate(out, 1); " +
      "symbols.cuEventCreate(out, 2);",
  );
  assertEquals(code, 86);
  for (
    const text of [
      "leak: 100 bytes of device 0",
      "leak: 200 bytes of pinned memory",
      "leak: a stream of device 0",
      "leak: an event of device 0",
      "leak: the primary context of device 0 was still retained",
      "cuda_sim: 5 complaints",
    ]
  ) assertStringIncludes(errors, text);
});

simTest("a status that the process chose is kept beside complaints", async () => {
  const { code, errors } = await child("begin(); Deno.exit(3);");
  assertEquals(code, 3);
  assertStringIncludes(errors, "still retained");
});

simTest("a call before cuInit is reported", async () => {
  const { code, errors } = await child("console.log(symbols.cuDeviceGetCount(new Int32Array(1)));");
  assertEquals(code, 86);
  assertMatch(errors, /init: cuDeviceGetCount before cuInit/);
});

simTest("a CPU that dereferences device memory dies, and the reason is printed", async () => {
  const { code, errors } = await child(
    "begin(); symbols.cuMemAlloc_v2(out, 100n); " +
      "console.log(Deno.UnsafePointerView.getCString(Deno.UnsafePointer.create(out[0])));",
  );
  assert(code !== 0 && code !== 86, String(code));
  assertMatch(errors, /the CPU dereferenced memory of device 0 at 0x/);
});

simTest("devices, their size, delay and failures come from the environment", async () => {
  const env = {
    CUDA_SIM_DEVICES: "3",
    CUDA_SIM_MEMORY: "65536",
    CUDA_SIM_FAIL_AT: "4",
    CUDA_SIM_FAIL_WITH: "CUDA_ERROR_NOT_SUPPORTED",
    CUDA_SIM_DELAY: "0",
  };
  const { output, code } = await child(
    `begin();
const results = [symbols.cuDeviceGetCount(new Int32Array(1))];
const count = new Int32Array(1);
symbols.cuDeviceGetCount(count);
results.push(symbols.cuMemAlloc_v2(out, 65537n), symbols.cuStreamQuery(0n));
console.log(JSON.stringify([results, count[0]]));
end();`,
    env,
  );
  assertEquals([JSON.parse(output), code], [[[801, 2, 0], 3], 0]);
  const none = await child("console.log(symbols.cuInit(0));", { CUDA_SIM_DEVICES: "0" });
  assertEquals(none.output.trim(), "100");
});
