/**
 * Unix sockets and shared memory: the layouts are those of the C library, a descriptor arrives, and the seals hold.
 *
 * @module
 */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { EAGAIN } from "../../ffi/files.ts";
import { libc } from "../../ffi/libc.ts";
import {
  addSeals,
  createMemory,
  effectiveUser,
  isPlainMemory,
  mapDescriptor,
  MEMORY_CONSTANTS,
  reopenForReading,
  sealsOf,
  sizeOfDescriptor,
  STATFS_LAYOUT,
  unmap,
} from "../../ffi/shared_memory.ts";
import { RUSAGE_LAYOUT } from "../../ffi/page_faults.ts";
import { mappingOf, segmentFacts, SHMID_LAYOUT, SYSV_CONSTANTS } from "../../ffi/sysv_memory.ts";
import {
  acceptUnix,
  connectUnix,
  listenUnix,
  MessageReceiver,
  peerCredentials,
  readable,
  sendDescriptor,
  sendUnix,
  SOCKET_CONSTANTS,
  SOCKET_LAYOUT,
} from "../../ffi/unix_sockets.ts";
import { findPeers, PEER_ADVICE } from "../../tools/peers.ts";
import { utf8 } from "../support/bytes.ts";
import { testNeeding } from "../support/needs.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { descriptors } from "../support/proc.ts";

const { compiler } = findPeers();
const MEMORY_BYTES = 1 << 20;

testNeeding(
  [{ what: "a C compiler", present: compiler !== null, how: PEER_ADVICE.compiler }],
  "the layouts and constants of sockets and shared memory are those of the C library's headers",
  async () => {
    using folder = new TemporaryFolder();
    const program = folder.file("socket_layout");
    const args = ["-Wall", "-o", program, `${ROOT}/native/socket_layout.c`];
    const compiled = await new Deno.Command(compiler!, { args }).output();
    assert(compiled.success, new TextDecoder().decode(compiled.stderr));
    const printed = JSON.parse(new TextDecoder().decode((await new Deno.Command(program).output()).stdout));
    const { end: _, ...theirs } = printed;
    assertEquals({
      ...{ ...SOCKET_LAYOUT, statfs: STATFS_LAYOUT, shmid_ds: SHMID_LAYOUT, rusage: RUSAGE_LAYOUT },
      ...{ ...SOCKET_CONSTANTS, ...MEMORY_CONSTANTS, ...SYSV_CONSTANTS },
    }, theirs);
  },
);

/** Both ends of a connection. */
function connected(name: string): { ends: [client: number, server: number]; close: () => void } {
  const listening = listenUnix(name);
  assert(listening >= 0, `listen failed: ${listening}`);
  const client = connectUnix(name);
  const server = acceptUnix(listening);
  assert(client >= 0 && server >= 0, `no connection: ${client} ${server}`);
  return { ends: [client, server], close: () => [client, server, listening].forEach((fd) => libc().close(fd)) };
}

for (const kind of ["a name in the abstract namespace", "a path"]) {
  Deno.test(`messages keep their bounds over a socket with ${kind}, and a descriptor arrives with one`, async () => {
    using folder = new TemporaryFolder();
    const before = descriptors("self");
    const { ends: [client, server], close } = connected(
      kind === "a path" ? folder.file("socket") : `dipc-test-${crypto.randomUUID()}`,
    );
    const receiver = new MessageReceiver(64);
    const text = () => {
      const message = receiver.receive(server);
      return typeof message === "number" ? message : new TextDecoder().decode(message.bytes);
    };
    assertEquals(text(), -EAGAIN);
    assertEquals(await readable(server, 1), false);
    assertEquals([sendUnix(client, utf8("one")), sendUnix(client, utf8("two"))], [3, 3]);
    assertEquals(await readable(server, 10_000), true);
    assertEquals([text(), text(), text()], ["one", "two", -EAGAIN]);
    sendUnix(client, new Uint8Array(65));
    const cut = receiver.receive(server);
    assert(typeof cut === "object" && cut.isCut && cut.bytes.byteLength === 64);

    const memory = createMemory("dipc-test", MEMORY_BYTES);
    assertEquals(sendDescriptor(client, utf8("here"), memory), 4);
    const message = receiver.receive(server);
    assert(typeof message === "object" && !message.isCut);
    assertEquals([new TextDecoder().decode(message.bytes), message.descriptors.length], ["here", 1]);
    assertNotEquals(message.descriptors[0], memory);
    assertEquals(sizeOfDescriptor(message.descriptors[0]), MEMORY_BYTES);
    assertEquals(peerCredentials(server), { pid: Deno.pid, uid: effectiveUser() });
    for (const fd of [memory, ...message.descriptors]) libc().close(fd);
    libc().close(client);
    assertEquals(text(), "", "the end of the connection");
    close();
    assertEquals(descriptors("self"), before);
  });
}

Deno.test("sealed memory can be written to by its maker alone, and keeps its size; a file is not sealed memory", async () => {
  const { F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE } = MEMORY_CONSTANTS;
  const fd = createMemory("dipc-test", MEMORY_BYTES);
  const own = mapDescriptor(fd, MEMORY_BYTES, "writable")!;
  assertEquals(addSeals(fd, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE), 0);
  const readOnly = reopenForReading(fd);
  assertEquals([sealsOf(readOnly), isPlainMemory(readOnly)], [22, true]);
  assertEquals(mapDescriptor(fd, MEMORY_BYTES, "writable"), null, "another writable mapping");
  assertEquals(mapDescriptor(readOnly, MEMORY_BYTES, "writable"), null);
  assertEquals([libc().ftruncate(fd, 0n), libc().ftruncate(fd, BigInt(2 * MEMORY_BYTES))], [-1, -1]);
  const theirs = mapDescriptor(readOnly, MEMORY_BYTES, "readable")!;
  const view = (address: bigint) =>
    new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(address)!, MEMORY_BYTES));
  view(own)[4097] = 7;
  assertEquals(view(theirs)[4097], 7);
  for (const address of [own, theirs]) unmap(address, MEMORY_BYTES);
  for (const descriptor of [fd, readOnly]) libc().close(descriptor);

  const path = await Deno.makeTempFile();
  const file = await Deno.open(path);
  const plain = [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => Number(name))
    .find((fd) => {
      try {
        return Deno.readLinkSync(`/proc/self/fd/${fd}`) === path;
      } catch {
        return false;
      }
    })!;
  assert(sealsOf(plain) < 0 || !isPlainMemory(plain));
  file.close();
  await Deno.remove(path);
});

Deno.test("the kernel says what is mapped at an address, and that there is no segment of a wrong number", () => {
  const fd = createMemory("dipc-mapping-test", MEMORY_BYTES);
  const address = mapDescriptor(fd, MEMORY_BYTES, "writable")!;
  const last = mappingOf(address + BigInt(MEMORY_BYTES - 1))!;
  assert(last.start <= address && last.end >= address + BigInt(MEMORY_BYTES));
  assert(last.name.startsWith("/memfd:dipc-mapping-test"), last.name);
  unmap(address, MEMORY_BYTES);
  libc().close(fd);
  assert(mappingOf(address)?.name !== last.name);
  assertEquals([mappingOf(0n), segmentFacts(-1), segmentFacts(2 ** 31 - 1)], [null, null, null]);
});
