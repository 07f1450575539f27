/**
 * The exit statuses of the command.
 *
 * @module
 */

/** Exit status of a command that succeeded. */
export const EXIT_OK = 0;
/** Exit status of a command that failed. */
export const EXIT_FAILURE = 1;
/** Exit status of a command line that cannot be understood. */
export const EXIT_USAGE = 2;
/** Exit status after Ctrl-C. */
export const EXIT_INTERRUPTED = 130;

/** Exit status when the reader of standard output went away, as that of a program that SIGPIPE ends. */
export const EXIT_OUTPUT_CLOSED = 141;

/**
 * The part of `--help` that lists them.
 *
 * @param done What status 0 means
 */
export function exitCodes(done: string): string {
  return `Exit status
  0    ${done}
  1    failed; standard error has a line "error[code]: what, why, what to do"
  2    the command line cannot be understood
  130  ended by Ctrl-C
  141  the reader of standard output went away`;
}

/** The same for most commands. */
export const EXIT_CODES: string = exitCodes("done");
