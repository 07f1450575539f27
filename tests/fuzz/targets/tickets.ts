/**
 * Fuzz target for tickets: no text but one that was issued, and has neither expired nor been used, is accepted.
 *
 * @module
 */
import { MAX_TICKET_BYTES, Tickets } from "../../../src/serving/tickets.ts";
import { join } from "../../support/bytes.ts";
import { check, encode, latin1 } from "../support/checks.ts";
import type { FuzzTarget } from "../target.ts";

const KEY = new Uint8Array(32).fill(7), OTHER_KEY = new Uint8Array(32).fill(8);
const NOW = 1_700_000_000_000;
const ROLES = ["both", "metadata", "body"] as const;

const tickets = await Tickets.open({ keys: [KEY], now: () => NOW });
const others = await Tickets.open({ keys: [OTHER_KEY], now: () => NOW });
const issued = [
  (await tickets.issue("trips")).ticket,
  (await tickets.issue("übung/1", { once: true })).ticket,
  (await tickets.issue("")).ticket,
];
const used = (await tickets.issue("used", { once: true })).ticket;
tickets.spend(await tickets.verify(used, "both"), "both");
const expired =
  (await (await Tickets.open({ keys: [KEY], now: () => NOW - 10_000 })).issue("old", { lifetimeMs: 10_000 }))
    .ticket;
const foreign = (await others.issue("trips")).ticket;
const good = new Set(issued.map(latin1));

const target: FuzzTarget = {
  name: "serving/tickets",
  files: ["src/serving/tickets.ts", "src/flight/signing.ts"],
  maxInputBytes: MAX_TICKET_BYTES + 10,
  // The role, then the ticket.
  seeds: () =>
    [...issued, used, expired, foreign, encode("trips"), new Uint8Array(MAX_TICKET_BYTES + 1).fill(65)]
      .map((ticket, i) => join(Uint8Array.of(i), ticket)),
  mutate(input, random) {
    const ticket = random.pick([...issued, used, expired, foreign]).slice();
    const at = random.below(ticket.byteLength);
    switch (random.below(4)) {
      case 0:
        return join(Uint8Array.of(random.below(256)), ticket);
      case 1: // bits that base64 does not need
        ticket[ticket.byteLength - 1] = encode("ABCDEFGHIJKLMNOPQRSTUVWXYZ=")[random.below(27)];
        return join(Uint8Array.of(0), ticket);
      case 2: // the content of one, the signature of another
        return join(Uint8Array.of(0), ticket.subarray(0, at), input.subarray(1 + at));
      default:
        ticket[at] = encode("ABCwxyz019-_=+/ \n")[random.below(17)];
        return join(Uint8Array.of(0), ticket);
    }
  },
  async run(input) {
    const text = latin1(input.subarray(1));
    const claims = await tickets.verify(input.slice(1), ROLES[(input[0] ?? 0) % ROLES.length]);
    check("only what was issued is accepted", good.has(text));
    check("it has not expired", claims.expiresAtMs > NOW);
    return true;
  },
};

export default target;
