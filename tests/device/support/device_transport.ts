/**
 * A transport that takes device memory, as a UCX with CUDA does, over one that does not: it copies each body at the moment at
 * which UCX would begin to read it, and each received one when UCX would be done writing it. The simulated driver then
 * complains where memory is not ready, or is used by others.
 *
 * @module
 */
import type { DipcError } from "../../../src/errors.ts";
import { addressOf } from "../../../ffi/libc.ts";
import type { Gpu } from "../../../src/memory/cuda/device.ts";
import type { Block, Body } from "../../../src/memory/block.ts";
import { hostPool } from "../../../src/memory/host_pool.ts";
import { FailedOperation } from "../../../src/wire/ucx/operations.ts";
import {
  type Channel,
  DONE,
  FAILED,
  type Operation,
  type Receive,
  type Transport,
} from "../../../src/wire/transport.ts";

/** What became of device memory. */
export interface DeviceTraffic {
  /** Bodies sent from device memory. */
  sent: number;
  /** Bodies received into device memory. */
  received: number;
}

/** Options of {@linkcode deviceTransport}. */
export interface DeviceTransportOptions {
  /** Flips one bit of each body received that is at least so long. */
  damageFrom?: number;
}

/** Wraps a transport. The device's memory alone is taken. */
export function deviceTransport(
  inner: Transport,
  device: Gpu,
  options: DeviceTransportOptions = {},
): { transport: Transport; traffic: DeviceTraffic } {
  const traffic: DeviceTraffic = { sent: 0, received: 0 };
  const wrap = (channel: Channel): Channel => wrapChannel(channel, device, traffic, options);
  return {
    traffic,
    transport: {
      connect: async (...args) => wrap(await inner.connect(...args)),
      listen: (listen) => inner.listen({ ...listen, onChannel: (channel) => listen.onChannel(wrap(channel)) }),
      supports: (space) => ({ supported: space === device.space, reason: "the transport of the test says so" }),
      close: () => inner.close(),
    },
  };
}

function wrapChannel(
  channel: Channel,
  device: Gpu,
  traffic: DeviceTraffic,
  options: DeviceTransportOptions,
): Channel {
  return new Proxy(channel, {
    get(target, name) {
      if (name === "sendTagged") {
        return (tag: bigint, body: Body, synchronous: boolean, ...role: []): Operation | null => {
          if (body.space !== device.space) return target.sendTagged(tag, body, synchronous, ...role);
          traffic.sent++;
          const copy = hostPool().acquire(body.byteLength).toBody(body.byteLength);
          try {
            device.withContext(() =>
              device.driver.check(
                device.symbols.cuMemcpyDtoH_v2(addressOf(copy.bytes()), body.address, BigInt(body.byteLength)),
                "sending from device memory",
              )
            );
          } catch (error) {
            return new FailedOperation(error as DipcError);
          }
          return target.sendTagged(tag, copy, synchronous, ...role);
        };
      }
      if (name === "receive") {
        return (tag: bigint, mask: bigint, block: Block, byteLength: number): Receive => {
          if (block.space !== device.space) return target.receive(tag, mask, block, byteLength);
          return new DeviceReceive(target, [tag, mask], block, byteLength, device, traffic, options);
        };
      }
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

class DeviceReceive implements Receive {
  readonly #staging: Block;
  readonly #inner: Receive;
  #copied = false;
  #failure: DipcError | null = null;

  constructor(
    channel: Channel,
    [tag, mask]: [bigint, bigint],
    readonly block: Block,
    byteLength: number,
    readonly device: Gpu,
    readonly traffic: DeviceTraffic,
    readonly options: DeviceTransportOptions,
  ) {
    this.#staging = hostPool().acquire(byteLength);
    this.#inner = channel.receive(tag, mask, this.#staging, byteLength);
  }

  get error(): DipcError | null {
    return this.#failure ?? this.#inner.error;
  }

  get tag(): bigint {
    return this.#inner.tag;
  }

  get byteLength(): number {
    return this.#inner.byteLength;
  }

  cancel(): void {
    this.#inner.cancel();
  }

  poll(): 0 | 1 | 2 {
    const state = this.#inner.poll();
    if (state === DONE && !this.#copied) {
      this.#copied = true;
      const { byteLength } = this.#inner;
      // What stands for an empty body is sent from host memory.
      if (byteLength > 0) this.traffic.received++;
      const bytes = this.#staging.bytes();
      if (byteLength >= (this.options.damageFrom ?? Infinity)) bytes[byteLength >> 1] ^= 1;
      if (byteLength > 0) {
        try {
          this.device.withContext(() =>
            this.device.driver.check(
              this.device.symbols.cuMemcpyHtoD_v2(this.block.address, addressOf(bytes), BigInt(byteLength)),
              "receiving into device memory",
            )
          );
        } catch (error) {
          this.#failure = error as DipcError;
        }
      }
    }
    return this.#failure === null ? state : FAILED;
  }
}
