/** The tokens a constraint leaves, for whoever samples. */
export interface AllowedTokens {
  /** Bit id % 32 of word id / 32 = may come; where they are few, made when asked for. @shape [ceil(vocab / 32)] */
  readonly bits: Uint32Array;
  readonly count: number;
  /** The same, ascending, where they are few. */
  readonly ids: Int32Array | undefined;
  /** Memory held, estimated. */
  readonly bytes: number;
  has(id: number): boolean;
  /** 1 = may not come: made by whoever scans a row with it. @shape [vocab] */
  banned?: Uint8Array;
}
