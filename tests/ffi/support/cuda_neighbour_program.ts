/**
 * A process that owns device memory and an event and hands them to others: does what each line of standard input says, one JSON
 * object, and answers with another.
 *
 * @module
 */
import { openLibcuda } from "../../../ffi/cuda.ts";

/** A line of its input: the memory, its byte, and what to do. */
export interface NeighbourTask {
  /** `share`: makes memory, fills it late and records the event after that; `work`: asks its streams until all is done. */
  readonly what: "share" | "work" | "free" | "destroy";
  /** Size of the memory in bytes. */
  readonly byteLength?: number;
  readonly fill?: number;
  /** Queries that the fill takes. */
  readonly delay?: number;
}

/** Its answer to `share`. */
export interface NeighbourHandles {
  readonly memory: number[];
  readonly event: number[];
}

if (import.meta.main) {
  const { symbols } = openLibcuda();
  const control = Deno.dlopen(Deno.env.get("DIPC_LIBCUDA")!, {
    cuda_sim_set_delay: { parameters: ["u64"], result: "void" },
  }).symbols;
  const out = new BigUint64Array(1);
  const made = (result: number): bigint => {
    if (result !== 0) throw new Error(`the driver reports ${result}`);
    return out[0];
  };
  made(symbols.cuInit(0));
  made(symbols.cuCtxPushCurrent_v2(made(symbols.cuDevicePrimaryCtxRetain(out, 0))));
  const stream = made(symbols.cuStreamCreate(out, 1));
  const event = made(symbols.cuEventCreate(out, 2 | 4));
  let memory = 0n;
  const run = ({ what, byteLength = 0, fill = 0, delay = 0 }: NeighbourTask): Partial<NeighbourHandles> => {
    if (what === "work") made(symbols.cuStreamSynchronize(stream));
    else if (what === "free") made(symbols.cuMemFree_v2(memory));
    else if (what === "destroy") made(symbols.cuEventDestroy_v2(event));
    if (what !== "share") return {};
    memory = made(symbols.cuMemAlloc_v2(out, BigInt(byteLength)));
    control.cuda_sim_set_delay(BigInt(delay));
    made(symbols.cuMemsetD8Async(memory, fill, BigInt(byteLength), stream));
    made(symbols.cuEventRecord(event, stream));
    const handles = { memory: new Uint8Array(64), event: new Uint8Array(64) };
    made(symbols.cuIpcGetMemHandle(handles.memory, memory));
    made(symbols.cuIpcGetEventHandle(handles.event, event));
    return { memory: [...handles.memory], event: [...handles.event] };
  };
  const reader = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
  let text = "";
  for await (const chunk of reader) {
    const lines = (text + chunk).split("\n");
    text = lines.pop()!;
    for (const line of lines) console.log(JSON.stringify(run(JSON.parse(line))));
  }
  symbols.cuStreamDestroy_v2(stream);
  symbols.cuCtxPopCurrent_v2(out);
  symbols.cuDevicePrimaryCtxRelease_v2(0);
}
