/**
 * Ctrl-C, SIGTERM and SIGHUP as an AbortSignal; a second signal ends the process at once.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { EXIT_FAILURE, EXIT_INTERRUPTED } from "./exit_codes.ts";

/** Signals that end a command. */
export type EndSignal = "SIGINT" | "SIGTERM" | "SIGHUP";

const SIGNALS: readonly EndSignal[] = ["SIGINT", "SIGTERM", "SIGHUP"];

/** Listens for signals until disposed. */
export interface Interrupt extends Disposable {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** The first signal, once it has come. */
  readonly caught: EndSignal | null;
  /** Runs, synchronously, before a second signal ends the process at once. */
  beforeForcedExit: (() => void) | null;
}

/** What a command throws that a signal has ended. */
export class Interrupted extends DipcError {
  /** Exit status of the process. */
  readonly status: number;
  /** @param signal The signal */
  constructor(signal: EndSignal) {
    super("cancelled", endText(signal));
    this.status = exitStatusOf(signal);
  }
}

/** How a command says that a signal has ended it. */
export function endText(signal: EndSignal): string {
  return `ended by ${signal === "SIGINT" ? "Ctrl-C" : signal}`;
}

/** Exit status of a command that a signal ended: 130 after Ctrl-C, else 1. */
function exitStatusOf(signal: EndSignal): number {
  return signal === "SIGINT" ? EXIT_INTERRUPTED : EXIT_FAILURE;
}

/**
 * Starts to listen. The first signal aborts `signal`; a second one ends the process at once.
 *
 * @param onFirst Called with the first signal, for a message
 */
export function catchInterrupt(onFirst?: (signal: EndSignal) => void): Interrupt {
  const controller = new AbortController();
  const handlers = new Map<EndSignal, () => void>();
  const interrupt = {
    signal: controller.signal,
    caught: null as EndSignal | null,
    beforeForcedExit: null as (() => void) | null,
    [Symbol.dispose](): void {
      for (const [name, handler] of handlers) Deno.removeSignalListener(name, handler);
      handlers.clear();
    },
  };
  for (const name of SIGNALS) {
    const handler = (): void => {
      if (interrupt.caught !== null) {
        try {
          interrupt.beforeForcedExit?.();
        } finally {
          Deno.exit(exitStatusOf(name));
        }
      }
      interrupt.caught = name;
      onFirst?.(name);
      controller.abort(new DOMException(`ended by ${name}`, "AbortError"));
    };
    handlers.set(name, handler);
    Deno.addSignalListener(name, handler);
  }
  return interrupt;
}
