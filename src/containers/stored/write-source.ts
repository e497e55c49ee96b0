/** Tensors on their way into a file of weights. */

/** The chunks of `data` are exactly `bytes` long together; each is valid until the next is asked for. */
export interface SourceTensor {
  readonly name: string;
  /** By the names of safetensors. */
  readonly dtype: string;
  /** The last dimension varies fastest. */
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly data: () => Iterable<Uint8Array>;
}
