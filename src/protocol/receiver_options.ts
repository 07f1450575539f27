/**
 * Limits of the receiving side of a stream, and their defaults.
 *
 * @module
 */
import { MIB } from "../bytes.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { integerIn } from "../options.ts";
import { MAX_ERROR_BYTES } from "./envelope.ts";
import { checkSequence } from "./sequence.ts";

/** Limits and settings of a `ReceiverState`. */
export interface ReceiverLimits {
  /**
   * Largest metadata of one message, in bytes.
   *
   * @default 16 MiB
   */
  maxMetadataBytes?: number;
  /**
   * Largest body of one message, in bytes.
   *
   * @default 4 GiB
   */
  maxBodyBytes?: number;
  /**
   * Bytes of bodies that may be posted or waiting at once; a single larger body is admitted when there is nothing else.
   *
   * @default 64 MiB
   */
  maxInFlightBytes?: number;
  /**
   * Receives that may be posted at once.
   *
   * @default 256
   */
  maxPosted?: number;
  /**
   * Messages announced and not yet taken by `next()`, at most.
   *
   * @default 768
   */
  maxAnnounced?: number;
  /**
   * How far a metadata frame may run ahead of the next expected one, in sequence numbers.
   *
   * @default 256
   */
  reorderWindow?: number;
  /**
   * Bytes of frames held because an earlier one is missing, at most.
   *
   * @default 16 MiB
   */
  maxHeldBytes?: number;
  /**
   * Bytes of metadata read and not yet taken by `next()`, above which no further frame is taken. Equal metadata for
   * which `readHeader` returns the same header counts once.
   *
   * @default 32 MiB
   */
  maxPendingMetadataBytes?: number;
  /**
   * How far a body may run ahead of the metadata, in sequence numbers.
   *
   * @default 65536
   */
  bodyWindow?: number;
  /**
   * Whether error messages were requested; if not, they are an unknown type.
   *
   * @default true
   */
  errorMessages?: boolean;
  /**
   * Whether bodies of type 1, lists of addresses, were requested; if not, they are an error.
   *
   * @default false
   */
  addresses?: boolean;
  /**
   * Largest error message, in bytes.
   *
   * @default 4096
   */
  maxErrorBytes?: number;
  /**
   * Sequence number of the schema. 0 by the protocol; tests start elsewhere to make the number wrap.
   *
   * @default 0
   */
  firstSequence?: number;
}

/** Options of a `ReceiverState`: its limits, and how it reads metadata. */
export interface ReceiverOptions extends ReceiverLimits {
  /**
   * Verifies metadata and returns its header. Called once per message, in sequence order, the schema first; the bytes are
   * valid during the call only.
   */
  readHeader(metadata: Uint8Array): MessageHeader;
}

/**
 * Fills in defaults.
 *
 * @throws {DipcError} `invalid_argument` if a limit is not an integer in its range
 */
export function receiverLimits(options: ReceiverLimits): Required<ReceiverLimits> {
  return {
    maxMetadataBytes: integerIn("maxMetadataBytes", options.maxMetadataBytes ?? 16 * MIB, 1),
    maxBodyBytes: integerIn("maxBodyBytes", options.maxBodyBytes ?? 4096 * MIB, 0),
    maxInFlightBytes: integerIn("maxInFlightBytes", options.maxInFlightBytes ?? 64 * MIB, 1),
    maxPosted: integerIn("maxPosted", options.maxPosted ?? 256, 1, 65536),
    maxAnnounced: integerIn("maxAnnounced", options.maxAnnounced ?? 768, 1, 65536),
    reorderWindow: integerIn("reorderWindow", options.reorderWindow ?? 256, 1, 65536),
    maxHeldBytes: integerIn("maxHeldBytes", options.maxHeldBytes ?? 16 * MIB, 0),
    maxPendingMetadataBytes: integerIn("maxPendingMetadataBytes", options.maxPendingMetadataBytes ?? 32 * MIB, 1),
    bodyWindow: integerIn("bodyWindow", options.bodyWindow ?? 65536, 1, 2 ** 31 - 1),
    errorMessages: options.errorMessages ?? true,
    addresses: options.addresses ?? false,
    maxErrorBytes: integerIn("maxErrorBytes", options.maxErrorBytes ?? MAX_ERROR_BYTES, 0),
    firstSequence: checkSequence(options.firstSequence ?? 0),
  };
}
