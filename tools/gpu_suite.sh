#!/bin/bash
# Runs everything that needs a GPU, on a machine that has the driver and the repository with the kit that
# `deno task gpu:kit` made, and neither network nor anything else:
#
#     tools/gpu_suite.sh [RESULTS]              on the machine's own driver
#     tools/gpu_suite.sh --rehearse [RESULTS]   on the simulated driver, to try the suite out; no figures
#
# Writes into RESULTS (default: gpu-results) the facts of the machine, what doctor says, the tests, the benchmark, memory read by
# another process (CUDA IPC) and the comparison of values, and summary.txt. Exit status: 0 all was done and is good, 1 something failed, 3 no GPU.
set -uo pipefail
cd "$(dirname "$0")/.."

rehearse=false
if [ "${1:-}" = --rehearse ]; then rehearse=true; shift; fi
results=${1:-gpu-results}
kit=$PWD/.gpu-kit
mkdir -p "$results"
results=$(cd "$results" && pwd)
: > "$results/summary.txt"
status=0

say() { printf '%s\n' "$*" | tee -a "$results/summary.txt"; }
fail() { say "FAILED   $*"; status=1; }
stop() { say "STOPPED  $1"; exit "$2"; }

# What an archive of the kit holds, whichever program can unpack it.
unxz_to_stdout() {
  if command -v xz > /dev/null; then xz -dc "$1"
  elif command -v python3 > /dev/null; then
    python3 -c 'import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.argv[1]), sys.stdout.buffer)' "$1"
  else return 127; fi
}

[ -f "$kit/manifest.json" ] || stop "there is no kit in $kit: run \`deno task gpu:kit\` on a machine with a network" 1
# The kit is unpacked here; DIPC_GPU_WORK names a folder that is kept.
if [ -n "${DIPC_GPU_WORK:-}" ]; then work=$DIPC_GPU_WORK
else work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT; fi
mkdir -p "$work/deno-dir"
unxz_to_stdout "$kit/deno.xz" > "$work/deno" || stop "the kit cannot be unpacked: xz and python3 are both missing" 1
chmod +x "$work/deno"
unxz_to_stdout "$kit/npm.tar.xz" | tar -x -C "$work/deno-dir" || stop "the npm packages cannot be unpacked" 1
for name in libucx-cu12 libucx-cu13; do
  mkdir -p "$work/$name"
  unxz_to_stdout "$kit/$name.tar.xz" | tar -x -C "$work/$name" || stop "$name cannot be unpacked" 1
done
export DENO_DIR=$work/deno-dir DENO_NO_UPDATE_CHECK=1 NO_COLOR=1
deno=$work/deno
# Nothing is fetched: what the kit lacks is an error.
run=("$deno" run -A --quiet --no-prompt --cached-only --no-check)

{
  date -u; uname -a
  nvidia-smi 2>&1 || echo "nvidia-smi: not there"
  grep -m1 'model name' /proc/cpuinfo; free -g 2> /dev/null | head -2
  "$deno" --version; cat "$kit/manifest.json"
} > "$results/machine.txt"

if $rehearse; then
  say "REHEARSAL on the simulated driver: nothing that follows says anything about a GPU"
  export DIPC_LIBCUDA
  DIPC_LIBCUDA=$("${run[@]}" tools/build_cuda_sim.ts) || stop "the simulated driver cannot be built (C compiler, cuda.h)" 1
  ucx=libucx-cu12
else
  unset DIPC_LIBCUDA
  facts=$("${run[@]}" tools/gpu_facts.ts 2> "$results/driver-error.txt") ||
    stop "no GPU: $(head -1 "$results/driver-error.txt" | sed 's/; do one of these:$//')" 3
  rm -f "$results/driver-error.txt"
  say "GPU      $facts"
  # UCX for CUDA 13 needs a driver of CUDA 13.
  case $facts in *"CUDA 1"[3-9]*) ucx=libucx-cu13 ;; *) ucx=libucx-cu12 ;; esac
fi
export DIPC_LIBUCP=$work/$ucx/libucx/lib/libucp.so.0
export DIPC_PERFTEST=$work/$ucx/libucx/bin/ucx_perftest
say "UCX      $ucx"
LD_LIBRARY_PATH=$work/$ucx/libucx/lib "$work/$ucx/libucx/bin/ucx_info" -v -d > "$results/ucx_info.txt" 2>&1 ||
  fail "ucx_info (see ucx_info.txt)"

if "${run[@]}" cli.ts doctor --json > "$results/doctor.json" 2> "$results/doctor.txt"; then say "done     doctor"
else fail "doctor (see doctor.json)"; fi
"${run[@]}" cli.ts doctor >> "$results/doctor.txt" 2>&1

# The tests of device memory on this driver; what needs other peers is skipped, aloud. Never as in CI: there a skipped test is a failure.
unset CI
for gold in "$PWD/shared/data/arrow-gold" "$PWD/../shared/data/arrow-gold"; do
  [ -z "${DIPC_GOLD:-}" ] && [ -d "$gold" ] && export DIPC_GOLD=$gold
done
$rehearse || export DIPC_CUDA_TESTS=real
"$deno" test -A --quiet --no-prompt --cached-only --no-check \
  tests/device/*_test.ts tests/ffi/cuda*_test.ts tests/memory/cuda*_test.ts tests/serving/shared_stranger_test.ts \
  > "$results/tests.txt" 2>&1
tests=$?
line=$(grep -E 'passed \|' "$results/tests.txt" | tail -1)
skipped=$(grep -c SKIPPED "$results/tests.txt")
if [ $tests -eq 0 ]; then say "done     tests: $line, $skipped skipped (see tests.txt)"
else fail "tests: ${line:-none ran} (see tests.txt)"; fi

benchmark=(bench/gpu.ts --out "$results/bench.json")
$rehearse && benchmark+=(--rehearse)
if "${run[@]}" "${benchmark[@]}" > "$results/bench.txt" 2>&1; then say "done     benchmark (see bench.txt)"
else fail "benchmark: $(tail -1 "$results/bench.txt")"; fi
sed 's/^/         /' "$results/bench.txt" | head -40 | tee -a "$results/summary.txt"

"${run[@]}" tools/gpu_ipc.ts > "$results/ipc.txt" 2>&1
case $? in
  0) say "done     CUDA IPC: $(head -1 "$results/ipc.txt")" ;;
  77) say "skipped  CUDA IPC: $(tail -1 "$results/ipc.txt")" ;;
  *) fail "CUDA IPC: $(tail -1 "$results/ipc.txt")" ;;
esac

"${run[@]}" tools/gpu_values.ts > "$results/values.txt" 2>&1
case $? in
  0) say "done     values: $(head -1 "$results/values.txt")" ;;
  77) say "skipped  values: $(tail -1 "$results/values.txt")" ;;
  *) fail "values: $(tail -1 "$results/values.txt")" ;;
esac

if [ $status -eq 0 ]; then say "all is good: $results"; else say "something failed: $results"; fi
exit $status
