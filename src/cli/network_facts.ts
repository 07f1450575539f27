/**
 * The network interfaces of this machine, and which of them UCX uses for an address.
 *
 * @module
 */
import { interfaceAddresses } from "../../ffi/interfaces.ts";
import { userSetting } from "../../ffi/ucx_settings.ts";
import { isGranted } from "../permissions.ts";

/** What `dipc doctor` reports about the network. */
export interface NetworkFacts {
  /** Addresses that a server can listen on. */
  readonly addresses: readonly { readonly name: string; readonly host: string }[];
  /** Which interfaces the data takes, as a sentence. */
  readonly choice: string;
}

/** Collects the facts; no addresses without `--allow-ffi`. */
export function networkFacts(): NetworkFacts {
  if (!isGranted({ name: "ffi" })) {
    return { addresses: [], choice: "interfaces unknown (needs --allow-ffi)" };
  }
  const addresses = interfaceAddresses().filter(({ host, isActive }) => isActive && !host.startsWith("fe80:"));
  const chosen = userSetting("UCX_NET_DEVICES");
  const choice = chosen === null
    ? "data takes the interface of the address that a server listens on or a client connects to"
    : `UCX_NET_DEVICES=${chosen} decides which interfaces data takes`;
  return { addresses: addresses.map(({ name, host }) => ({ name, host })), choice };
}

/** The facts as lines of text. */
export function networkLines({ addresses, choice }: NetworkFacts): string[] {
  const names = [...new Set(addresses.map(({ name }) => name))];
  const shown = names.map((name) =>
    `${name} (${addresses.filter((each) => each.name === name).map(({ host }) => host).join(", ")})`
  );
  return [...(shown.length === 0 ? [] : [shown.join(", ")]), choice];
}
