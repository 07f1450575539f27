/**
 * The options and the `--help` text of `dipc gateway`.
 *
 * @module
 */
import type { Command } from "./args.ts";
import { EXIT_CODES } from "./exit_codes.ts";

/** `dipc gateway`. */
export const gateway: Command = {
  name: "gateway",
  summary: "pass calls on to a Flight server, and offer its data over UCX",
  flags: ["json", "help", "no-ucx", "share", "trust-locations", "one-fetch"],
  values: [
    ...["flight-port", "port", "address", "advertise", "tls-cert", "tls-key", "client-ca"],
    ...["engine-ca", "engine-cert", "engine-key", "ticket-lifetime", "keep-results", "max-kept"],
    ...["max-connections", "request-timeout", "idle-timeout", "trace"],
  ],
  short: { h: "help" },
  help: `dipc gateway URI [options]
dipc gateway NAME=URI... [options]

Stands between clients and a Flight server, the engine: passes every call of Flight and Flight SQL on to it, with
headers, credentials, cookies and deadlines. What a query or a flight yields can then be fetched over UCX too, and in
shared memory with --share. The engine needs no change. Of several engines a call names one by the header dipc-engine,
or by the first step of its path; otherwise it is for the first.

Options
  --flight-port P      port to listen on by Flight (default 0: any free one)
  --port P             port to listen on by UCX (default 0: any free one)
  --address ADDRESS    address to listen on (default 127.0.0.1, reachable from this machine only)
  --advertise HOST     host that locations name (default: the address)
  --share              let clients on this machine read the data in the gateway's memory instead of receiving it
  --one-fetch          clients that request the same ticket while it is fetched get it from one fetch
  --keep-results TIME  and for so long after it has come, without the engine (with --one-fetch; default: not)
  --max-kept SIZE      most bytes kept for that, with K, M, G (with --one-fetch; default 128M)
  --tls-cert FILE      the gateway's certificate in PEM, with --tls-key FILE; the scheme is grpc+tls then
  --client-ca FILE     accepts only clients with a certificate of this authority
  --engine-ca FILE     authorities that the engines' certificates are checked against (PEM), with grpc+tls:
  --engine-cert FILE   the gateway's certificate for engines that require one (PEM), with --engine-key FILE
  --trust-locations    sends clients' credentials to other hosts too that an engine names as locations of its data
  --ticket-lifetime T  how long tickets are good, unless the engine says less (default 1h)
  --max-connections N  clients at the same time, by UCX and by Flight each; others hear that it is busy (default 256)
  --request-timeout T  longest wait for the request of a client that has connected (default 4s)
  --idle-timeout T     ends a stream whose client accepts nothing for so long (default 5m)
  --no-ucx             passes calls on alone
  --trace FILE         write a trace of what happens when, for Perfetto
  --json               one JSON object as the first line: {"pid","address","flight","ucxPort","engines":{NAME:URI}};
                       the name of a single engine is ""
  -h, --help           this text

Ctrl-C or SIGTERM stops the gateway once running streams have ended, after 10 s at the latest; a second Ctrl-C at once.
Exit status 0 after SIGTERM.

Examples
  dipc gateway grpc://127.0.0.1:50051 --flight-port 8815 --share
  dipc gateway sail=grpc://10.0.0.5:50051 files=grpc://10.0.0.6:8815 --address 0.0.0.0 --flight-port 8815

${EXIT_CODES}
`,
};
