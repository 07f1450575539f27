/**
 * The two ways of bodies in device memory: direct if the transport supports such memory and a transfer proves it, staged
 * otherwise; the user learns which, and why; and UCX without CUDA never gets an address of a GPU.
 */
import { assert, assertEquals, assertGreater, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { connect, type Dataset, DipcError, fromTable, openPath, serve, type ServerEventDetail } from "../../mod.ts";
import { connectCuda } from "../../cuda.ts";
import { cudaLines } from "../../src/cli/device_facts.ts";
import { openGpu } from "../../src/device/devices.ts";
import { copyToHost } from "../../src/device/record_batch.ts";
import { deviceAccess } from "../../src/device/staging.ts";
import { deviceResident } from "../../src/device/upload.ts";
import { type Channel, FAILED } from "../../src/wire/transport.ts";
import { ucxTransport } from "../../src/wire/ucx/transport.ts";
import { assertDipcError } from "../support/assert.ts";
import { cuda } from "../support/cuda_sim.ts";
import { type CopiedMessage, copyMessage, readMessages, rowsOf, smallTable } from "../support/datasets.ts";
import { deviceSpaces, deviceTest } from "./support/device_tests.ts";
import { deviceTransport } from "./support/device_transport.ts";
import { goldFolder, needsGold, needsUcx, needsUcx113, testNeeding, ucx113 } from "../support/needs.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { dipc, serve as serveProcess } from "../support/processes.ts";
import { tripsBytes } from "../support/cli_data.ts";
import { pump } from "../support/ucx_pair.ts";

const memory = "cuda:0";

deviceTest(
  "a transport that takes device memory gets it straight, on both sides, and every gold stream arrives",
  async () => {
    const device = openGpu(memory);
    const inner = await ucxTransport();
    const { transport, traffic } = deviceTransport(inner, device);
    const folder = `${goldFolder}/1.0.0-littleendian`;
    const files = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => name.endsWith(".stream"))
      .sort();
    const sources = Object.fromEntries(files.map((name) => [name, { source: `${folder}/${name}`, memory }]));
    {
      await using server = await serve({ datasets: sources, transport });
      for (const { name, uris, staged, stagingReason } of server.datasets) {
        assertEquals(staged, false);
        assertMatch(stagingReason!, /says so; \d+ bytes went from GPU to GPU/);
        await using stream = await connectCuda(uris, { memory, transport });
        const got: CopiedMessage[] = [];
        for await (const { header, body } of stream.messages()) {
          if (body === null) continue;
          got.push(copyMessage({ header, body: await copyToHost(device, body, null) }));
          body.release();
        }
        assertEquals(stream.stats.staged, false);
        const dataset = await openPath(`${folder}/${name}`);
        assertEquals(got, await readMessages(dataset), name);
        await dataset.close();
      }
    }
    assert(traffic.sent > 50 && traffic.received === traffic.sent, JSON.stringify(traffic));
    await inner.close();
  },
  [needsGold],
);

deviceTest("without staging a batch needs no event, and compressed bodies are decompressed by the CPU", async () => {
  const inner = await ucxTransport();
  const { transport } = deviceTransport(inner, openGpu(memory));
  const path = `${goldFolder}/2.0.0-compression/generated_zstd.stream`;
  {
    await using server = await serve({ datasets: { small: smallTable(), zstd: path }, transport });
    const [small, zstd] = server.datasets;
    {
      await using stream = await connectCuda(small.uris, { memory, transport });
      for await (using batch of stream) assertEquals(batch.event, null);
      assertEquals([stream.stats.staged, stream.stats.decompressedOnHost], [false, 0]);
    }
    await using stream = await connectCuda(zstd.uris, { memory, transport });
    const table = await stream.toTable();
    assertEquals([stream.stats.staged, stream.stats.decompressedOnHost], [false, 2]);
    await using host = await connect(zstd.uris, { transport });
    assertEquals(rowsOf(table), rowsOf(await host.toTable()));
  }
  await inner.close();
}, [needsGold]);

deviceTest("if the transfer from device to device fails, bodies are staged, and the reason is reported", async () => {
  const inner = await ucxTransport();
  const { transport, traffic } = deviceTransport(inner, openGpu(memory), { damageFrom: 1 << 20 });
  {
    await using server = await serve({ datasets: { small: smallTable() }, transport });
    const { uris } = server.datasets[0];
    await using stream = await connectCuda(uris, { memory, transport });
    assertEquals((await stream.toTable()).numRows, 15);
    assertEquals([stream.stats.staged, traffic.received], [true, 2]);
    assertMatch(
      stream.stats.stagingReason,
      /transfer from GPU to GPU failed: of 4194304 bytes, byte 2097152 arrived as/,
    );
    await assertDipcError(
      "unsupported",
      /cannot move bodies directly .*staging: "never" requests: .* failed: of 4194304 bytes/,
      () => connectCuda(uris, { memory, transport, staging: "never" }),
    );
  }
  await inner.close();
});

deviceTest("staging can be requested or forbidden, and when it is forbidden and needed that is an error", async () => {
  await using server = await serve({ datasets: { d: { source: smallTable(), memory } }, staging: "always" });
  const [{ uris, staged, stagingReason }] = server.datasets;
  assertEquals([staged, stagingReason], [true, 'requested by staging: "always"']);
  await using stream = await connectCuda(uris, { memory, staging: "always" });
  assertEquals((await stream.toTable()).numRows, 15);
  assertEquals(stream.stats.stagingReason, 'requested by staging: "always"');
  const wrong = await assertRejects(() => connectCuda(uris, { memory, staging: "fast" as never }), DipcError);
  assertStringIncludes(wrong.message, 'cannot use staging: it is "fast"; give "auto", "never" or "always"');
});

deviceTest("UCX without CUDA: staged, and the reason names the library and what it lacks", async () => {
  if (cuda!.isReal) return console.log("SKIPPED on a real driver: there UCX may have CUDA");
  await using server = await serve({ datasets: { d: { source: smallTable(), memory } } });
  const [{ uris, staged, stagingReason }] = server.datasets;
  assertEquals(staged, true);
  assertMatch(
    stagingReason!,
    /^UCX \d+\.\d+\.\d+ \(.*libucp\S*\) (could not load its CUDA module|was built without CUDA)/,
  );
  await using stream = await connectCuda(uris, { memory });
  assertEquals((await stream.toTable()).numRows, 15);
  assertEquals([stream.stats.staged, stream.stats.stagingReason], [true, stagingReason]);
  for (
    const attempt of [
      () => connectCuda(uris, { memory, staging: "never" }),
      () => serve({ datasets: { d: { source: smallTable(), memory } }, staging: "never" }),
    ]
  ) {
    await assertDipcError(
      "unsupported",
      'cannot move bodies directly to and from cuda:0, as staging: "never" requests: UCX ',
      attempt as () => Promise<unknown>,
    );
  }
});

deviceTest("UCX without CUDA is given no address of a GPU, whoever asks for it", async () => {
  if (cuda!.isReal) return console.log("SKIPPED on a real driver: there UCX may have CUDA");
  const device = openGpu(memory);
  const block = device.pool.acquire(1 << 20);
  const body = device.pool.acquire(1 << 20).toBody(1 << 20);
  for (const access of [undefined, deviceAccess(device)]) {
    const transport = await ucxTransport({ device: access });
    const accepted: Channel[] = [];
    const onChannel = (channel: Channel) => {
      accepted.push(channel);
      pump(channel);
    };
    const listener = await transport.listen({ host: "127.0.0.1", port: 0, onChannel });
    const channel = await transport.connect(listener.address, null, { timeoutMs: 10_000 });
    for (
      const operation of [channel.sendTagged(7n, body, true), channel.receive(7n, 7n, block, 1 << 20)]
    ) {
      assertEquals([operation?.poll(), operation?.error?.code], [FAILED, "unsupported"]);
      assertMatch(operation!.error!.message, /cannot give UCX memory of cuda:0, because it would crash: /);
    }
    await channel.close();
    for (const each of accepted) await each.close();
    await listener.close();
    await transport.close();
  }
  block.release();
  body.release();
});

testNeeding(
  [needsUcx],
  "UCX is called with the GPU's context current; a driver that refuses it ends that connection alone",
  async () => {
    let depth = 0, entered = 0;
    let broken = false;
    const device = {
      space: memory,
      driver: "/nowhere/libcuda.so.1",
      enter() {
        if (broken) throw new DipcError("cuda", "the driver refuses");
        depth++;
        entered++;
      },
      leave: () => void depth--,
    };
    const transport = await ucxTransport({ device });
    const plain = await ucxTransport();
    const accepted: Channel[] = [];
    const onChannel = (channel: Channel) => {
      accepted.push(channel);
      pump(channel);
    };
    const listeners = [];
    const channels = [];
    for (const each of [transport, plain]) {
      const listener = await plain.listen({ host: "127.0.0.1", port: 0, onChannel });
      listeners.push(listener);
      channels.push(await each.connect(listener.address, null, { timeoutMs: 10_000 }));
    }
    assertGreater(entered, 4);
    assertEquals(depth, 0);
    const waits = channels.map((channel) => channel.until(() => false, { timeoutMs: 500 }));
    broken = true;
    channels[0].progress();
    assertEquals((await assertRejects(() => waits[0], DipcError)).message, "the driver refuses");
    assertEquals(await waits[1], false);
    for (const channel of [...channels, ...accepted]) await channel.close();
    for (const listener of listeners) await listener.close();
    await transport.close();
    await plain.close();
    assertEquals(depth, 0);
  },
);

deviceTest(
  "a dataset that hides that its bodies are in device memory fails its stream, and the server goes on",
  async () => {
    if (cuda!.isReal) return console.log("SKIPPED on a real driver: there UCX may have CUDA");
    const honest = await deviceResident(await fromTable(smallTable()), memory);
    const hiding: Dataset = { schema: honest.schema, readOnce: false, open: () => honest.open(), close() {} };
    await using server = await serve({ datasets: { hiding, honest } });
    const failures: DipcError[] = [];
    server.addEventListener("error", (event) => failures.push((event as CustomEvent<ServerEventDetail>).detail.error!));
    const [first, second] = server.datasets;
    const error = await assertRejects(async () => (await connect(first.uris)).toTable(), DipcError);
    // The client learns the code alone; the server's own event says what is wrong with its dataset.
    assertEquals(error.code, "unsupported");
    await using stream = await connect(second.uris);
    assertEquals((await stream.toTable()).numRows, 15);
    assertEquals(failures.map(({ code }) => code), ["unsupported"]);
    assertStringIncludes(failures[0].message, "cannot give UCX memory of cuda:0, because it would crash");
    await honest.close();
  },
);

deviceTest("memory spaces that are none, and GPUs that are not there, are named", async () => {
  await using server = await serve({ datasets: { d: smallTable() } });
  const { uris } = server.datasets[0];
  await assertDipcError(
    "not_found",
    "cannot open cuda:99: there is no such GPU, the driver shows cuda:0",
    () => connectCuda(uris, { memory: "cuda:99" }),
  );
  for (const wrong of ["gpu", "cuda:-1", "cuda", "cuda:01"]) {
    await assertDipcError("invalid_argument", "", () => connectCuda(uris, { memory: wrong as typeof memory }), wrong);
    const placed = { source: smallTable(), memory: wrong };
    await assertDipcError("invalid_argument", "", () => serve({ datasets: { d: placed } }));
  }
  const untyped = { source: smallTable(), memory: 3 as never };
  const error = await assertRejects(() => serve({ datasets: { d: untyped } }), DipcError);
  assertStringIncludes(error.message, 'cannot use the memory of the dataset "d": it is 3; give "host"');
});

/** A program that uses the library without a driver. */
const WITHOUT_DRIVER = `
import { connect, DipcError, serve } from "${ROOT}/mod.ts";
import { connectCuda, cudaDevice } from "${ROOT}/cuda.ts";
import { tableFromArrays } from "apache-arrow";
await using server = await serve({ datasets: { n: tableFromArrays({ n: Int32Array.of(1, 2, 3) }) } });
const { uris } = server.datasets[0];
await using stream = await connect(uris);
const rows = (await stream.toTable()).numRows;
const failures = [];
for (const attempt of [
  () => connectCuda(uris, { memory: "cuda:0" }),
  () => serve({ datasets: { n: { source: tableFromArrays({ n: [1] }), memory: "cuda:0" } } }),
  () => cudaDevice("cuda:0"),
]) {
  try {
    await attempt();
  } catch (error) {
    failures.push([error instanceof DipcError, error.code, error.message]);
  }
}
console.log(JSON.stringify({ rows, failures }));
`;

testNeeding(
  [needsUcx],
  "without libcuda everything in host memory works, and device memory says what was tried",
  async () => {
    using folder = new TemporaryFolder();
    Deno.writeTextFileSync(folder.file("program.ts"), WITHOUT_DRIVER);
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "-q", "--config", `${ROOT}/deno.json`, folder.file("program.ts")],
      env: { DIPC_LIBCUDA: "/nowhere/libcuda.so.1", NO_COLOR: "1" },
    }).output();
    assert(success, new TextDecoder().decode(stderr));
    const { rows, failures } = JSON.parse(new TextDecoder().decode(stdout));
    assertEquals([rows, failures.length], [3, 3]);
    for (const [isOurs, code, message] of failures) {
      assertEquals([isOurs, code], [true, "library_not_found"]);
      assertMatch(message, /device memory is not available without it/);
      assertMatch(message, /Tried:\n {2}\/nowhere\/libcuda\.so\.1: /);
      assertStringIncludes(message, "install the NVIDIA driver");
    }
  },
);

deviceTest("over Debian's UCX: staged in two processes, and --json and the text say why", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("trips.arrow");
  Deno.writeFileSync(path, tripsBytes("file"));
  const env = { ...cuda!.env, ...ucx113!.env };
  await using server = await serveProcess(["trips=" + path, "--memory", memory], { env });
  const [{ staged, stagingReason }] = server.info.datasets as unknown as { staged: boolean; stagingReason: string }[];
  assertEquals(staged, true);
  assertMatch(
    stagingReason,
    /^UCX 1\.13\.1 \(.*\) was built without CUDA, or its module .*libuct_cuda\.so\.0 is not installed/,
  );
  const json = await dipc(["get", server.uri("trips"), "--memory", memory, "--json"], { env });
  const totals = JSON.parse(json.stdout);
  assertEquals([json.code, totals.memory, totals.staged, totals.stagingReason], [0, memory, true, stagingReason]);
  assertEquals(totals.complete, true);
  const text = await dipc(["get", server.uri("trips"), "--memory", memory], { env });
  assertStringIncludes(text.stdout, `into cuda:0\nstaged: UCX 1.13.1 (`);
  const refused = await dipc(["get", server.uri("trips"), "--memory", memory, "--staging", "never"], { env });
  assertEquals(refused.code, 1);
  assertStringIncludes(refused.stderr, "error[unsupported]: cannot move bodies directly to and from cuda:0");
}, [needsUcx113]);

deviceTest(
  "doctor names the driver, each GPU, whether bodies are staged and why, and the speed of copies",
  async () => {
    const { code, stdout } = await dipc(["doctor", "--json"], { env: cuda!.env });
    const facts = JSON.parse(stdout);
    assertEquals([code, facts.ok, facts.cuda.error], [0, true, undefined]);
    assertMatch(facts.cuda.driver, /^\d+\.\d+$/);
    assertEquals(facts.cuda.library, cuda!.library);
    assertEquals(facts.cuda.devices.map(({ space }: { space: string }) => space).slice(0, 2), deviceSpaces());
    for (const device of facts.cuda.devices) {
      assert(
        device.copies.hostToDevice > 0 && device.copies.deviceToHost > 0 && device.copies.withinDevice > 0,
        JSON.stringify(device.copies),
      );
      assert(
        device.freeBytes > 0 && device.memoryBytes >= device.freeBytes,
        `${device.freeBytes} of ${device.memoryBytes} free`,
      );
      assert(typeof device.staged === "boolean" && device.stagingReason.startsWith("UCX "), device.stagingReason);
    }
    const text = cudaLines(facts.cuda).map((line) => line.join(" ")).join("\n");
    assertMatch(text, /^cuda +driver for CUDA \d+\.\d+ at /m);
    assertMatch(text, /^cuda:0 +\S.*compute capability/m);
    assertMatch(text, /copies: to the GPU .*\/s, from it .*\/s, within it .*\/s/);
    assertMatch(text, /UCX sees it by .*; bodies (direct|staged): UCX /);
  },
);

testNeeding([needsUcx], "doctor without libcuda says what was tried, and is well", async () => {
  const { code, stdout } = await dipc(["doctor", "--json"], { env: { DIPC_LIBCUDA: "/nowhere/libcuda.so.1" } });
  const facts = JSON.parse(stdout);
  assertEquals([code, facts.ok], [0, true]);
  assertEquals([facts.cuda.library, facts.cuda.devices, facts.cuda.error.code], [null, [], "library_not_found"]);
  assertEquals(cudaLines(facts.cuda).map(([label]) => label), ["cuda", ""]);
  const [[, what], [, cause]] = cudaLines(facts.cuda);
  assertEquals(what, "cannot open the libcuda that DIPC_LIBCUDA names: device memory is not available without it");
  assertStringIncludes(cause, "/nowhere/libcuda.so.1: cannot open shared object file");
});

for (
  const [args, text] of [
    [
      ["serve", "x.arrow", "--memory", "gpu"],
      'cannot use --memory: it is "gpu"; give host, or the memory of a GPU such as cuda:0',
    ],
    [["get", "ucx://h:1/x?want_data=1", "--staging", "never"], "add --memory cuda:0"],
    [
      ["get", "ucx://h:1/x?want_data=1", "--memory", "cuda:0", "--staging", "fast"],
      'cannot use --staging: it is "fast"; give "auto", "never" or "always"',
    ],
  ] as const
) {
  Deno.test(`dipc ${args[0]} ${args.slice(2).join(" ")} is a mistake of the command line`, async () => {
    const { code, stderr } = await dipc(args);
    assertEquals(code, 2);
    assertStringIncludes(stderr, text);
  });
}
