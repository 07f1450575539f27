/**
 * The mappings of servers' memory that wait for another stream, which then needs no new one, and takes no page faults again.
 *
 * @module
 */
import { IdlePool, type Keepable } from "../wire/idle_pool.ts";

/** Most mappings of all servers together. */
const MAX_IDLE = 32;

/** What waits, by the name of the server's socket and the ticket. */
export const idleSessions: IdlePool<Keepable> = new IdlePool(MAX_IDLE);
