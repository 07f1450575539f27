/**
 * An isolate that holds connections of a server: a web worker with a UCX context, listener and progress loop of its own.
 *
 * @module
 */
import { asDipcError, DipcError, LocalError } from "../../errors.ts";
import { hostPool } from "../../memory/host_pool.ts";
import type { StreamRole } from "../../protocol/role.ts";
import { textOf } from "../../text.ts";
import type { Transport } from "../../wire/transport.ts";
import { transportOf } from "../../wire/ucx/loaded.ts";
import { closeCallbacks } from "../../wire/ucx/callbacks.ts";
import { closeProgressLoop } from "../../wire/ucx/loop.ts";
import type { ServerEventDetail } from "../options.ts";
import type { StreamEventType } from "../stream_plane.ts";
import { SharedPlane } from "../shared_plane.ts";
import { UcxPlane } from "../ucx_plane.ts";
import { Link } from "./link.ts";
import type { FromIsolate, IsolateStart, ToIsolate } from "./messages.ts";
import { fromPortable, toPortable } from "./portable_error.ts";
import { PostedAdmission } from "./posted_admission.ts";
import { SharedCounter } from "./shared_counter.ts";

/** How often the main isolate learns what clients have of shared memory, in milliseconds. */
const REPORT_MS = 50;

/** The part of a worker's global scope that is used. */
interface WorkerScope {
  postMessage(message: FromIsolate): void;
  addEventListener(type: "message", listener: (event: MessageEvent<ToIsolate>) => void): void;
  addEventListener(type: "error", listener: (event: ErrorEvent) => void): void;
  addEventListener(type: "unhandledrejection", listener: (event: PromiseRejectionEvent) => void): void;
}

const scope = globalThis as unknown as WorkerScope;
const link = new Link((message) => scope.postMessage(message));
const stop = new AbortController();
let running: RunningIsolate | null = null;
let isEnding = false;

/** What runs in the isolate once it listens. */
interface RunningIsolate {
  readonly plane: UcxPlane;
  readonly transport: Transport;
  readonly admission: PostedAdmission;
}

scope.addEventListener("message", ({ data }) => {
  switch (data.op) {
    case "start":
      void begin(data.start);
      break;
    case "admitted":
    case "answer":
    case "messages":
      link.receive(data);
      break;
    case "stop accepting":
      void stopAccepting();
      break;
    case "abort":
      stop.abort(fromPortable(data.reason));
      break;
    case "close":
      void end();
      break;
    case "ping":
      link.post({ op: "pong" });
      break;
    default:
      throw new DipcError("internal", `cannot go on: there is no message ${JSON.stringify(data satisfies never)}`);
  }
});

// An error that nothing has caught leaves the isolate in a state that nobody knows. Without these handlers it would end the whole
// process; with them its connections are cut, and the main isolate starts another one.
scope.addEventListener("error", (event) => {
  event.preventDefault();
  crash(event.error ?? event.message);
});
scope.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  crash(event.reason);
});

async function begin(start: IsolateStart): Promise<void> {
  try {
    const transport = await transportOf(start.library);
    const { settings, wantData, share } = start;
    const admission = new PostedAdmission(link, settings.sharing.arenaBytes);
    const counter = new SharedCounter(start.counters, start.index);
    const sharing = {
      settings,
      admission: { admit: (ticket: Uint8Array, role: StreamRole) => admission.look(ticket, role) },
      memoryOf: (name: string) => admission.memoryOf(name),
      emit,
    };
    const openShared = share === undefined ? undefined : () => new SharedPlane(sharing, share);
    const host = { settings, admission, counter, stop: stop.signal, emit, openShared };
    const plane = new UcxPlane(transport, host, wantData);
    running = { plane, transport, admission };
    await plane.listen();
    if (share !== undefined) reportSharing(() => counter.lent({ ...plane.sharing!, arenaBytes: admission.arenaBytes }));
    link.post({ op: "listening", port: running.plane.port });
  } catch (error) {
    await end({ op: "not started", error: toPortable(asDipcError(error)) });
  }
}

/** Lets the main isolate know what clients have, soon after it changes. */
function reportSharing(report: () => void): void {
  Deno.unrefTimer(setInterval(report, REPORT_MS) as unknown as number);
}

function emit(type: StreamEventType, { connection, dataset, totals, error }: ServerEventDetail): void {
  const portable = error === undefined ? undefined : toPortable(error);
  link.post({ op: "event", event: { type, connection, dataset, totals, error: portable } });
}

async function stopAccepting(): Promise<void> {
  await running?.plane.stopAccepting();
  link.post({ op: "not accepting" });
}

/** Cuts every connection and ends. */
function crash(error: unknown): void {
  if (stop.signal.aborted && isEnding) return;
  link.post({ op: "crashed", error: toPortable(error) });
  stop.abort(new LocalError("internal", `cannot complete the stream: its isolate failed: ${textOf(error)}`));
  void end();
}

/** Releases all native memory, then has the main isolate terminate this one. */
async function end(last?: FromIsolate): Promise<void> {
  if (isEnding) return;
  isEnding = true;
  try {
    await running?.plane.stopAccepting();
    await running?.plane.idle();
    await running?.plane.close();
    await running?.admission.close();
    await running?.transport.close();
    await closeProgressLoop();
    closeCallbacks();
    hostPool()._unmapIdle();
  } finally {
    if (last !== undefined) link.post(last);
    link.post({ op: "ended" });
  }
}
