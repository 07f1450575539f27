/**
 * Gives back what streams leave for those that follow.
 *
 * @module
 */
import { releaseTransports as releaseUcx } from "../wire/ucx/shared.ts";
import { forgetSources } from "./early_connection.ts";
import { idleSessions } from "./idle_sessions.ts";

/**
 * Releases what `connect` keeps for the next stream: contexts, warm workers, connections, memory of servers that is mapped here, file
 * descriptors. For a program that runs on for long without streams; close all readers before.
 */
export async function releaseTransports(): Promise<void> {
  idleSessions.drop();
  forgetSources();
  await releaseUcx();
}
