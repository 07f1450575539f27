/**
 * `deno run -A tools/burst.ts [--route ucx|flight] [--clients N] [--limit N] [--rounds N]`: that many clients at once at a server
 * with room for `--limit`. Exactly the others must hear `busy`, in each round.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { burst, burstServer } from "../tests/support/burst.ts";

const options = parseArgs(Deno.args, {
  string: ["route", "clients", "limit", "rounds"],
  default: { route: "ucx", clients: "300", limit: "256", rounds: "1" },
});
const [count, limit, rounds] = [options.clients, options.limit, options.rounds].map(Number);
const route = options.route as "ucx" | "flight";
const served = Math.min(count, limit);
let right = 0;
{
  await using server = await burstServer(route, limit);
  for (let i = 0; i < rounds; i++) {
    const { answers, ends, seconds } = await burst(server.uri, route, count);
    console.log(`after ${seconds.toFixed(1)} s ${JSON.stringify(answers)}, then ${JSON.stringify(ends)}`);
    if (answers.served === served && (answers.busy ?? 0) === count - served && ends.whole === served) right++;
  }
}
console.log(`${route}: exactly ${served} of ${count} clients served in ${right} of ${rounds} rounds`);
Deno.exit(right === rounds ? 0 : 1);
