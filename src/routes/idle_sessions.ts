/**
 * The mappings of servers' memory that wait for another stream: it then needs no new one, and finds its pages where they are.
 *
 * @module
 */
import { IdlePool, type Keepable } from "../wire/idle_pool.ts";

/** Most mappings of all servers together. */
const MAX_IDLE = 32;

/** What waits, by the name of the server's socket and the ticket. */
export const idleSessions: IdlePool<Keepable> = new IdlePool(MAX_IDLE);
