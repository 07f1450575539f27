/**
 * The file beside a target that is written until the target is complete. One that a killed process has left is replaced.
 *
 * @module
 */
import { isGranted } from "../permissions.ts";

/** Files of this many processes that write one target concurrently have short names; further ones have random names. */
const MAX_NAMES = 64;
/** Mode of a new file, of which the process's mask is taken away. */
const NEW_MODE = 0o666;

/**
 * A new, empty file beside a target. It is locked (see flock(2)) as long as this process writes it, which is how another one knows
 * that it is not a leftover.
 */
export class TemporaryFile {
  /** Its path: that of the target with a dot before the name and `.part` after it. */
  readonly path: string;
  /** Holds the lock; null if the file system has none, or a random name makes it unnecessary. */
  readonly #lock: Deno.FsFile | null;

  private constructor(path: string, lock: Deno.FsFile | null) {
    this.path = path;
    this.#lock = lock;
  }

  /**
   * Makes the file; a leftover of the same name is removed before.
   *
   * @param target Path of the target
   * @param mode Mode of the file; default: as of any new file
   * @throws {Error} what Deno throws if it cannot be made
   */
  static create(target: string, mode: number = NEW_MODE): TemporaryFile {
    const slash = target.lastIndexOf("/") + 1;
    const pathOf = (number: string): string => `${target.slice(0, slash)}.${target.slice(slash)}${number}.part`;
    for (let n = 1; n <= MAX_NAMES && isGranted({ name: "read", path: pathOf("") }); n++) {
      const made = claim(pathOf(n === 1 ? "" : `.${n}`), mode);
      if (made !== null) return new TemporaryFile(made.path, made.lock);
    }
    const path = pathOf(`.${crypto.randomUUID().slice(0, 8)}`);
    Deno.openSync(path, { write: true, createNew: true, mode }).close();
    return new TemporaryFile(path, null);
  }

  /** Releases the lock, after the file was renamed or removed. */
  close(): void {
    this.#lock?.close();
  }
}

/** Makes the file of a name and locks it; `null` if another process has it. */
function claim(path: string, mode: number): { path: string; lock: Deno.FsFile | null } | null {
  let file = openNew(path, mode);
  if (file === null && removeLeftover(path)) file = openNew(path, mode);
  if (file === null) return null;
  const isLocked = tryLock(file);
  if (isLocked === null) {
    file.close();
    return { path, lock: null };
  }
  // Another process may have taken the new file for a leftover before it was locked.
  if (isLocked && isFileAt(path, file)) return { path, lock: file };
  file.close();
  return null;
}

/** A new file, or `null` if there is one already. */
function openNew(path: string, mode: number): Deno.FsFile | null {
  try {
    return Deno.openSync(path, { write: true, createNew: true, mode });
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return null;
    throw error;
  }
}

/** Removes a file that no process has locked. @returns whether it is gone */
function removeLeftover(path: string): boolean {
  try {
    // Not through a link, and not a pipe, whose opening would wait.
    if (!Deno.lstatSync(path).isFile) return false;
    using file = Deno.openSync(path, { write: true });
    if (tryLock(file) !== true || !isFileAt(path, file)) return false;
    Deno.removeSync(path);
    return true;
  } catch (error) {
    return error instanceof Deno.errors.NotFound;
  }
}

/** Whether the lock was taken; `null` if the file system has no locks. */
function tryLock(file: Deno.FsFile): boolean | null {
  try {
    return file.tryLockSync(true);
  } catch {
    return null;
  }
}

/** Whether a path names an open file, and not another one by now. */
function isFileAt(path: string, file: Deno.FsFile): boolean {
  try {
    const [there, open] = [Deno.lstatSync(path), file.statSync()];
    return there.isFile && there.dev === open.dev && there.ino === open.ino;
  } catch {
    return false;
  }
}
