#!/usr/bin/env bash
# A web worker of Deno that has made a `Deno.UnsafeCallback` and ends without closing it leaves two file descriptors behind (an
# eventfd and an epoll instance) until the process ends, although it was terminated and its thread is gone. A library that gives
# native code a callback which must stay valid for as long as the isolate lives (calling a closed one crashes the process) has
# nobody to close it for it.
#
# Bites: programs that start workers again and again, each of which uses a native library with a callback: a service reaches the
# limit of descriptors (`ulimit -n`, often 1,024) after some 500 workers.
#
# Seen: 2026-11-29, Deno 2.9.6, Linux x86-64. Not reported yet.
#
# Expected: the end of a worker releases everything that belongs to it, with or without an open callback.
# Seen (2, 39 and 2, of which two are of the last worker, which ends a moment later):
#   20 workers without a callback: a few descriptors more
#   20 workers with an open callback: about 40 descriptors more
#   20 workers with a closed callback: a few descriptors more
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export DENO_DIR="$folder/cache"

cat > worker.ts <<'TYPESCRIPT'
self.onmessage = ({ data }) => {
  if (data !== "without a") {
    const callback = new Deno.UnsafeCallback({ parameters: [], result: "void" }, () => {});
    if (data === "with a closed") callback.close();
  }
  self.postMessage(null);
};
TYPESCRIPT
cat > main.ts <<'TYPESCRIPT'
const descriptors = () => [...Deno.readDirSync("/proc/self/fd")].length;
async function startAndEnd(kind: string): Promise<void> {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  await new Promise((resolve) => (worker.onmessage = resolve, worker.postMessage(kind)));
  worker.terminate();
  await new Promise((resolve) => setTimeout(resolve, 100));
}
await startAndEnd("without a"); // what is opened once
await startAndEnd("without a");
for (const kind of ["without a", "with an open", "with a closed"]) {
  const before = descriptors();
  for (let i = 0; i < 20; i++) await startAndEnd(kind);
  const more = descriptors() - before;
  const count = more <= 5 ? "a few" : more >= 35 && more <= 45 ? "about 40" : String(more);
  console.log(`20 workers ${kind} callback: ${count} descriptors more`);
}
TYPESCRIPT
seen=$(npx -y deno@2.9.6 run --no-check --no-lock --allow-all main.ts)
printf '%s\n' "$seen"
if [ "$seen" != "20 workers without a callback: a few descriptors more
20 workers with an open callback: about 40 descriptors more
20 workers with a closed callback: a few descriptors more" ]; then
  echo "this finding does not hold any more" >&2
  exit 1
fi
