/** Tickets and what they are signed with, without a server. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { DipcError, type DipcErrorCode } from "../../flight.ts";
import { constantTimeEqual } from "../../src/bytes.ts";
import { Keyring } from "../../src/flight/signing.ts";
import { MAX_TICKET_BYTES, Tickets } from "../../src/serving/tickets.ts";
import { utf8 } from "../support/bytes.ts";
import { assertDipcError } from "../support/assert.ts";
import { seededRandom } from "../support/random.ts";

const KEY = Uint8Array.from({ length: 32 }, (_, i) => i);
/**
 * Made with Python's hmac, hashlib and base64 from KEY: good for one use, until 2,000,000,000,000 ms, nonce 0 to 15,
 * dataset "trips é".
 */
const GOLDEN =
  "dipc1.H_sjzIHUfMYBACBKqdEBAAAAAQIDBAUGBwgJCgsMDQ4PdHJpcHMgw6kD8Z7z7wrLGdC2dHw01XxBDL3w8GbPPtFJCTB-EdwlXA";

const key = (byte: number) => new Uint8Array(32).fill(byte);

async function assertRefused(verify: () => Promise<unknown>, code: DipcErrorCode = "permission_denied"): Promise<void> {
  await assertDipcError(code, "", verify);
}

Deno.test("a ticket made elsewhere with the same key says what was put in", async () => {
  const tickets = await Tickets.open({ keys: [KEY], now: () => 1_999_999_999_999 });
  assertEquals(await tickets.verify(utf8(GOLDEN), "both"), {
    dataset: "trips é",
    expiresAtMs: 2_000_000_000_000,
    once: true,
    nonce: "000102030405060708090a0b0c0d0e0f",
  });
  const late = await Tickets.open({ keys: [KEY], now: () => 2_000_000_000_000 });
  await assertRefused(() => late.verify(utf8(GOLDEN), "both"));
});

Deno.test("of 10,000 mutated tickets none is accepted", async () => {
  const random = seededRandom();
  const tickets = await Tickets.open();
  const good = [await tickets.issue("trips"), await tickets.issue("other", { once: true })].map(({ ticket }) => ticket);
  const alphabet = utf8("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=. \n");
  let tried = 0;
  while (tried < 10_000) {
    const ticket = good[random.below(2)];
    let mutant = ticket.slice();
    for (let n = 1 + random.below(3); n > 0; n--) {
      const at = random.below(mutant.byteLength);
      const kind = random.below(6);
      if (kind === 0) mutant[at] ^= 1 << random.below(8);
      else if (kind === 1) mutant[at] = alphabet[random.below(alphabet.byteLength)];
      else if (kind === 2) mutant = mutant.slice(0, at);
      else if (kind === 3) {
        const added = alphabet.subarray(0, 1 + random.below(3)).slice();
        mutant = Uint8Array.from([...mutant.subarray(0, at), ...added, ...mutant.subarray(at)]);
      } else if (kind === 4) mutant = Uint8Array.from([...mutant.subarray(0, at), ...mutant.subarray(at + 1)]);
      // The beginning of one and the end of the other.
      else mutant = Uint8Array.from([...mutant.subarray(0, at), ...good[random.below(2)].subarray(at)]);
      if (mutant.byteLength === 0) break;
    }
    if (good.some((each) => constantTimeEqual(each, mutant))) continue;
    tried++;
    await assertRefused(() => tickets.verify(mutant, "both"));
  }
  for (const ticket of good) await tickets.verify(ticket, "both");
});

Deno.test("each bit of a ticket counts, and there is one text for each ticket", async () => {
  const tickets = await Tickets.open();
  // Lengths of all remainders by 3, so that base64 ends in all its ways.
  for (const name of ["", "a", "ab"]) {
    const { ticket } = await tickets.issue(name);
    for (let bit = 0; bit < ticket.byteLength * 8; bit++) {
      const mutant = ticket.slice();
      mutant[bit >> 3] ^= 1 << (bit & 7);
      await assertRefused(() => tickets.verify(mutant, "both"));
    }
    const text = new TextDecoder().decode(ticket);
    for (const other of [`${text}=`, `${text}==`, `${text} `, `${text}\n`, ` ${text}`, text.toUpperCase(), ""]) {
      await assertRefused(() => tickets.verify(utf8(other), "both"));
    }
  }
});

Deno.test("a ticket and a text of another kind, signed with the same key, do not pass for each other", async () => {
  const keyring = await Keyring.open([KEY]);
  const content = crypto.getRandomValues(new Uint8Array(64));
  const text = await keyring.sign("dipc1.", content);
  assertEquals(await keyring.verify("dipc1.", text, 4096), content);
  assertEquals(await keyring.verify("dipct1.", text, 4096), null);
  const renamed = utf8(new TextDecoder().decode(text).replace("dipc1.", "dipct1."));
  assertEquals(await keyring.verify("dipct1.", renamed, 4096), null);
  assertEquals(await keyring.verify("dipc1.", text, text.byteLength - 1), null);
});

Deno.test("keys rotate: tickets of an accepted key stay good, those of a dropped one do not", async () => {
  const tickets = await Tickets.open({ keys: [key(1)] });
  const first = await tickets.issue("a");
  await tickets.keyring.rotate([key(2), key(1)]);
  const second = await tickets.issue("a");
  for (const { ticket } of [first, second]) await tickets.verify(ticket, "both");
  await tickets.keyring.rotate([key(2)]);
  await assertRefused(() => tickets.verify(first.ticket, "both"));
  await tickets.verify(second.ticket, "both");
  const other = await Tickets.open({ keys: [key(3), key(2)] });
  await other.verify(second.ticket, "both");
  await assertRefused(async () => await (await Tickets.open()).verify(second.ticket, "both"));
});

Deno.test("keys that are missing or short, and names that are too long, are refused", async () => {
  await assertRefused(() => Tickets.open({ keys: [] }), "invalid_argument");
  await assertRefused(() => Tickets.open({ keys: [new Uint8Array(31)] }), "invalid_argument");
  await assertRefused(() => Tickets.open({ lifetimeMs: 0 }), "invalid_argument");
  const tickets = await Tickets.open();
  await assertRefused(() => tickets.issue("x".repeat(2049)), "invalid_argument");
  const { ticket } = await tickets.issue("x".repeat(2048));
  assert(ticket.byteLength <= MAX_TICKET_BYTES, `${ticket.byteLength} bytes`);
  await tickets.verify(ticket, "both");
  await assertRefused(() => tickets.verify(new Uint8Array(2 ** 20), "both"));
});

Deno.test("a one-time ticket is good once for each half, or once for the whole", async () => {
  const tickets = await Tickets.open({ once: true });
  const claim = async (ticket: Uint8Array, role: "both" | "metadata" | "body") => {
    tickets.spend(await tickets.verify(ticket, role), role);
  };
  const halves = (await tickets.issue("a")).ticket;
  await claim(halves, "metadata");
  await claim(halves, "body");
  for (const role of ["metadata", "body", "both"] as const) await assertRefused(() => claim(halves, role));

  const whole = (await tickets.issue("a")).ticket;
  await claim(whole, "both");
  for (const role of ["metadata", "body", "both"] as const) await assertRefused(() => claim(whole, role));

  // The bodies never went out, so that the client takes the other route.
  const fallback = (await tickets.issue("a")).ticket;
  await claim(fallback, "metadata");
  await claim(fallback, "both");
  await assertRefused(() => claim(fallback, "body"));

  // Checking alone costs nothing; of two that were checked before either began the second one is refused.
  const raced = (await tickets.issue("a")).ticket;
  const [one, two] = [await tickets.verify(raced, "both"), await tickets.verify(raced, "both")];
  tickets.spend(one, "both");
  assertThrows(() => tickets.spend(two, "both"), DipcError, "has been used");
});

Deno.test("a ticket that was cancelled is refused, also to those that were let in before", async () => {
  const tickets = await Tickets.open();
  const { ticket } = await tickets.issue("a");
  const claims = await tickets.verify(ticket, "both");
  tickets.spend(claims, "both");
  tickets.revoke(claims);
  for (const role of ["metadata", "body", "both"] as const) await assertRefused(() => tickets.verify(ticket, role));
  assertThrows(() => tickets.spend(claims, "both"), DipcError, "was cancelled");
});

Deno.test("used tickets are remembered until they expire, and no more of them than allowed", async () => {
  let now = 1_000_000;
  const tickets = await Tickets.open({ once: true, maxSpent: 3, lifetimeMs: 1000, now: () => now });
  const spend = async () => {
    const claims = await tickets.verify((await tickets.issue("a")).ticket, "both");
    tickets.spend(claims, "both");
  };
  for (let i = 0; i < 3; i++) await spend();
  await assertRefused(spend, "busy");
  assertEquals(tickets.spentCount, 3);
  now += 1001;
  await spend();
  assertEquals(tickets.spentCount, 1);
});

Deno.test("bytes are compared whole, wherever they differ", () => {
  const secret = crypto.getRandomValues(new Uint8Array(32));
  for (const at of [null, 0, 15, 31]) {
    const given = secret.slice();
    if (at !== null) given[at] ^= 1;
    let reads = 0;
    const counted = new Proxy(secret, {
      get(target, name) {
        if (typeof name === "string" && /^\d+$/.test(name)) reads++;
        return Reflect.get(target, name, target);
      },
    });
    assertEquals(constantTimeEqual(counted, given), at === null);
    assertEquals(reads, 32);
  }
  assert(!constantTimeEqual(secret, secret.subarray(1)));
  assert(!constantTimeEqual(secret.subarray(1), secret));
  assert(constantTimeEqual(new Uint8Array(), new Uint8Array()));
});
