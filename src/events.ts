/**
 * An EventTarget whose events have types: a listener gets the detail of its event without a cast.
 *
 * @module
 */

/** Dispatches the events of `Events`, an interface with the class of each event by its type. */
export class TypedEventTarget<Events> extends EventTarget {
  /**
   * Listens for an event.
   *
   * @param type Type of the event
   * @param listener Called with each event; what it throws is reported as uncaught
   * @param options As for every EventTarget
   */
  override addEventListener<K extends keyof Events & string>(
    type: K,
    listener: ((event: Events[K]) => void) | { handleEvent(event: Events[K]): void } | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  /** Listens for an event whose type is not known to the compiler. */
  override addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  override addEventListener(type: string, listener: unknown, options?: boolean | AddEventListenerOptions): void {
    super.addEventListener(type, listener as EventListenerOrEventListenerObject | null, options);
  }

  /**
   * Ends what {@linkcode addEventListener} began.
   *
   * @param type Type of the event
   * @param listener The same as there
   * @param options The same as there
   */
  override removeEventListener<K extends keyof Events & string>(
    type: K,
    listener: ((event: Events[K]) => void) | { handleEvent(event: Events[K]): void } | null,
    options?: boolean | EventListenerOptions,
  ): void;
  /** The same for an event whose type is not known to the compiler. */
  override removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
  override removeEventListener(type: string, listener: unknown, options?: boolean | EventListenerOptions): void {
    super.removeEventListener(type, listener as EventListenerOrEventListenerObject | null, options);
  }
}
